"""Tables and figures of the layers come out as the differences that were put in."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infuse.config.arms import Arm
from infuse.core.errors import UserError
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import LOGIT_LENS, RATED, TASK
from infuse.evaluation import layers
from infuse.reporting import layer_plots, layer_tables
from infuse.workflow.compared_arms import arm_params
from stage_runner import Outcome, RunStage

LABELS = ["joy", "fear"]
TEXTS, LAYERS, SEEDS = 40, 3, [1, 2, 3]
ARMS = {
    "label": Arm(target="label"),
    "why": Arm(target="label_reason"),
    "bare": Arm(target="label", system=False),
    "bare_why": Arm(target="reason_label", system=False),
}
# Of entropy, activation entropy and confidence: what an arm has over the label alone.
OVER = {"label": (0.0, 0.0, 0.0), "why": (0.5, 0.25, 0.1), "bare": (1, 0, 0), "bare_why": (2, 0, 0)}


def gold(text: int) -> str:
    return LABELS[text % 4 == 0]


def run_of(arm: str, seed: int, noise: float = 0.1) -> list[dict[str, Any]]:
    """What the layers of one classifier say: the gold label's rank halves, the other's is 90."""
    drawn = np.random.default_rng([seed, *arm.encode()])
    more, active, sharp = OVER[arm]
    rows = []
    for text in range(TEXTS):
        rank = [8 // 2**layer for layer in range(LAYERS + 1)]
        ranks = [[own, 90] if gold(text) == "joy" else [90, own] for own in rank]
        level = 2 + text / TEXTS + more + noise * drawn.standard_normal(LAYERS + 1)
        rows.append(
            {
                "id": text, "label": gold(text), "predicted": "joy", "entropy": level.tolist(),
                "activation_entropy": [1 + active] * (LAYERS + 1), "ranks": ranks,
                "settled": (-1, 2, 3)[text % 3],
                "confidence": 0.5 + sharp + 0.01 * drawn.standard_normal(),
            }
        )  # fmt: skip
    return rows


def layers_of(
    run_stage: RunStage,
    root: Path,
    arms: Mapping[str, Arm] = ARMS,
    sources: list[str] | None = None,
) -> Outcome:
    task = root / "task"
    task.mkdir()
    rows = [{"id": text, "text": "a", "label": gold(text)} for text in range(TEXTS)]
    schema = TASK
    if sources:
        rated = {"rating": 1.0, "dimension": ""}
        rows = [
            row
            | rated
            | {"source": sources[row["id"] % len(sources)], "cluster": str(row["id"] // 2)}
            for row in rows
        ]
        schema = RATED
    write_rows(task / "test.parquet", rows, schema)
    write_json(task / "labels.json", LABELS)
    inputs = {"task": task}
    for arm in arms:
        for seed in SEEDS:
            inputs[f"logit_lens {arm}-seed{seed}"] = folder = root / f"{arm}-{seed}"
            folder.mkdir()
            write_rows(folder / "logit_lens.parquet", run_of(arm, seed), LOGIT_LENS)
    return run_stage("layers", {"arms": arm_params(arms), "seeds": SEEDS}, inputs)


def _group(inside: layers.Mask) -> layers.Group:
    """Texts that are each a cluster."""
    return layers.Group(inside, [str(at) for at in np.flatnonzero(inside)])


def lines(done: Outcome, name: str) -> list[dict[str, str]]:
    assert done.code == 0, done.stderr + done.log
    with (done.output / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_known_differences_come_out(run_stage: RunStage, tmp_path: Path) -> None:
    done = layers_of(run_stage, tmp_path)
    table = lines(done, "layers")
    assert len(table) == len(ARMS) * 3 * (LAYERS + 1)
    against = {"label": "", "why": "label", "bare": "", "bare_why": "bare"}
    assert {line["arm"]: line["against"] for line in table} == against
    for line in table:
        assert (line["seeds"], line["n"]) == (
            "3",
            {"all texts": "40", "joy": "30"}.get(line["group"], "10"),
        )
        assert float(line["gold rank"]) == 8 // 2 ** int(line["layer"])
        if not against[line["arm"]]:
            assert line["difference"] == line["ratio"] == ""
            continue
        more = OVER[line["arm"]][0] - OVER[line["against"]][0]
        base = float(line["entropy"]) - float(line["difference"])
        assert float(line["ratio"]) == pytest.approx(float(line["entropy"]) / base, abs=1e-3)
        for part, true in (("difference", more), ("ratio", 1 + more / base)):
            low, high = (float(line[f"{part} {end}"]) for end in ("low", "high"))
            assert low < float(line[part]) < high and high - low < 0.5
            assert low - 0.05 < true < high + 0.05
        active = OVER[line["arm"]][1]
        assert float(line["activation difference"]) == pytest.approx(active, abs=1e-4)
    settled = [line["settled %"] for line in table[: LAYERS + 1]]
    assert settled == ["0.00", "0.00", "32.50", "65.00"]


def test_the_output_has_one_line_for_each_arm_and_group(
    run_stage: RunStage, tmp_path: Path
) -> None:
    table = lines(layers_of(run_stage, tmp_path), "confidence")
    assert len(table) == len(ARMS) * 3
    line = next(line for line in table if line["arm"] == "why")
    assert float(line["confidence %"]) == pytest.approx(60, abs=1)
    low, high = float(line["difference low"]), float(line["difference high"])
    assert 8 < low < float(line["difference"]) < high < 12 and float(line["p"]) < 0.05
    assert (line["settled %"], line["settled layer"]) == ("65.00", "2.50")


def test_texts_with_sources_are_grouped_by_them(run_stage: RunStage, tmp_path: Path) -> None:
    names = ["CoQA", "a $\\frac$ source"]
    table = lines(layers_of(run_stage, tmp_path, sources=names), "confidence")
    assert [line["group"] for line in table[:3]] == ["all texts", *names]
    assert [line["n"] for line in table[:3]] == ["40", "20", "20"]


def test_ratings_without_a_source_are_grouped_by_label(run_stage: RunStage, tmp_path: Path) -> None:
    table = lines(layers_of(run_stage, tmp_path, sources=[""]), "confidence")
    assert {line["group"] for line in table} == {"all texts", *LABELS}


def test_figures_are_there_and_numbers_are_written_in_the_maps(
    run_stage: RunStage, tmp_path: Path
) -> None:
    done = layers_of(run_stage, tmp_path, arms={"label": ARMS["label"]})  # nothing to compare
    for name in ("entropy", "rankings"):
        assert (done.output / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")
        assert (done.output / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    maps = {("why", "all texts"): np.array([[12_345.0, 1_000, 999], [1, 1.5, 90]])}
    axes = layer_plots.rankings(maps, LABELS, ["all texts"]).axes[0]
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert said == {
        (0, 0): "12k",
        (1, 0): "1k",
        (2, 0): "999",
        (0, 1): "1",
        (1, 1): "2",
        (2, 1): "90",
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["gold", *LABELS]


def test_of_groups_of_one_size_the_first_are_drawn() -> None:
    names = [f"group {place}" for place in range(20)]
    within = {name: _group(np.ones(3, bool)) for name in [layers.EVERY, *names]}
    assert layers.largest(within, 4) == [layers.EVERY, *names[:4]]


def test_a_curve_goes_through_its_differences() -> None:
    readings = _readings(["label", "why"])
    within = {
        layers.EVERY: _group(np.ones(TEXTS, bool)), "half": _group(np.arange(TEXTS) < TEXTS // 2)
    }  # fmt: skip
    rows = layers.layer_rows(ARMS, readings, within)
    figure = layer_plots.entropy(rows, list(within))
    for axes, (texts, _) in zip(figure.axes, within.values(), strict=True):
        (curve,) = [line for line in axes.lines if line.get_label() == "why"]
        means = (readings["why"].entropy - readings["label"].entropy)[:, texts].mean((0, 1))
        assert list(curve.get_ydata()) == pytest.approx(means.tolist())


def _readings(arms: list[str]) -> dict[str, layers.LayerReadings]:
    """Arms as the stage reads them, without its files."""
    tables = {
        arm: [pa.Table.from_pylist(run_of(arm, seed), schema=LOGIT_LENS) for seed in SEEDS]
        for arm in arms
    }
    return {
        arm: layers.LayerReadings(*map(np.stack, zip(*of_seeds, strict=True)))
        for arm, of in tables.items()
        for of_seeds in [[layers._run(table, LABELS) for table in of]]
    }


def test_many_groups_arms_labels_and_layers_are_cut_to_a_page() -> None:
    groups = {layers.EVERY: _group(np.ones(9, bool))}
    groups |= {str(n): _group(np.arange(9) <= n) for n in range(9)}
    assert layers.largest(groups, 2) == [layers.EVERY, "7", "8"]
    names, labels = list(groups), [f"label {number}" for number in range(50)]
    maps = {(f"arm {arm}", name): np.ones((81, 51)) for arm in range(20) for name in names}
    figure = layer_plots.rankings(maps, labels, names)
    width, height = figure.get_size_inches()
    assert width < 24 and height < 24
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert ticks[0] == "0" and ticks[-1] == "80" and len(ticks) <= layer_plots.MOST_LAYERS


@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_a_ratio_knows_no_unit_and_its_interval_is_of_the_first_order(
    seed: int, unit: float
) -> None:
    drawn = np.random.default_rng(seed)
    theirs = 2 + drawn.random((3, 20))
    ours = theirs * (1.5 + 0.01 * drawn.standard_normal((3, 20)))
    alone = _group(np.ones(ours.shape[1], bool)).clusters
    estimate = layers.ratio(ours, theirs, alone)
    scaled = layers.ratio(unit * ours, unit * theirs, alone)
    assert estimate is not None and scaled is not None
    assert estimate.mean == pytest.approx(ours.mean() / theirs.mean())
    assert scaled == pytest.approx(estimate)
    assert estimate.low < estimate.mean < estimate.high < estimate.low + 0.1
    assert layers.ratio(ours, 0 * theirs, alone) is None
    exact = layers.ratio(3 * theirs, theirs, alone)
    assert exact is not None and exact.mean == pytest.approx(3) and np.isnan(exact.low)


def test_a_group_of_one_text_has_a_difference_without_interval() -> None:
    within = {"one": _group(np.arange(TEXTS) == 5)}
    rows = layers.layer_rows(ARMS, _readings(["label", "why"]), within)
    line = layer_tables.layer_table(rows)[-1]
    assert line["difference"] and line["difference low"] == line["ratio high"] == ""
    layer_plots.entropy(rows, ["one"])


def test_texts_that_a_classifier_lacks_are_left_out_for_all(
    run_stage: RunStage, tmp_path: Path
) -> None:
    layers_of(run_stage, tmp_path)
    path = tmp_path / "why-2/logit_lens.parquet"
    write_rows(path, run_of("why", 2)[1:], LOGIT_LENS)
    inputs = {"a": [tmp_path / "label-1/logit_lens.parquet", path]}
    ids, readings = layers.read(inputs, LABELS)
    whole, own = layers.read({"a": inputs["a"][:1]}, LABELS)
    assert ids == whole[1:]
    assert (readings["a"].ranks[0] == own["a"].ranks[0, 1:]).all()
    write_rows(path, [row | {"id": -1} for row in run_of("why", 2)[:1]], LOGIT_LENS)
    with pytest.raises(UserError, match="no text fits"):
        layers.read(inputs, LABELS)


def test_no_model_library_is_needed() -> None:
    code = "import layers, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    scripts = Path(__file__).parents[2] / "scripts"
    assert subprocess.run([sys.executable, "-c", code], cwd=scripts, check=False).returncode == 0
