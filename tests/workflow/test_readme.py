"""The README's table is that of the committed result files, and every link of a page leads on."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator

from infuse.synthetic import emotions
from trees import ROOT, committed

ROWS = {
    "Q->A": "Q->A: the label alone",
    "Q->A, equal steps": "Q->A, with as many steps as Q->RA",
    "Q->RA": "Q->RA: reasoning, then label",
}
LINEAR = "TF-IDF of words, logistic regression"
FLOORS = {"majority label": "the most frequent label", LINEAR: LINEAR}


def table() -> Iterator[str]:
    """The lines of the README's table."""
    yield "| generated diary lines | accuracy, % | by seed |"
    yield "|---|---|---|"
    for line in committed("default/table3.csv"):
        if line["model"] in ROWS:
            seeds = line["by seed"].replace(" ", ", ")
            yield f"| {ROWS[line['model']]} | {float(line['accuracy %']):.1f} | {seeds} |"
    for line in committed("default/baselines.csv"):
        if line["baseline"] in FLOORS:
            yield f"| {FLOORS[line['baseline']]} | {100 * float(line['accuracy']):.1f} | |"
    yield f"| the best that is possible | {100 * emotions.best_accuracy():.1f} | |"


def test_the_table_is_that_of_the_result_files() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\n".join(table()) in readme, "\n".join(table())


def pairs() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Of each line of the first table: a linear model, the label alone, with a reasoning, and the
    difference.
    """
    answer = {line["arm"]: line["accuracy %"] for line in committed("answer/primary-arms.csv")}
    words, difference = answer[LINEAR], committed("answer/primary-comparisons.csv")[0]
    yield words, answer["label"], answer["reason_label"], difference
    scratch = {
        line["arm"]: line["accuracy %"]
        for line in committed("findings/emotion-arms.csv")
        if line["budget"] == "adequate"
    }
    difference = committed("findings/emotion-comparisons.csv")[0]
    words = scratch["TF-IDF, logistic regression"]
    yield words, scratch["label_same_steps"], scratch["reason_label"], difference
    default = {line["model"]: line for line in committed("default/table3.csv")}
    difference = default["Q->RA minus Q->A, equal steps"]
    difference |= {"difference": difference["accuracy %"]}
    reached = [default[model]["accuracy %"] for model in ("Q->A, equal steps", "Q->RA")]
    [words] = (
        f"{100 * float(line['accuracy']):.2f}"
        for line in committed("default/baselines.csv")
        if line["baseline"] == LINEAR
    )
    yield words, reached[0], reached[1], difference


def test_the_first_table_is_that_of_the_result_files() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for words, label, reason, found in pairs():
        gain = f"{found['difference']} ({found['low']} to {found['high']})"
        assert f" | {words} | {label} | {reason} | {gain} |\n" in readme, gain


def test_what_guessing_reaches_is_as_derived() -> None:
    """Whoever knows every word, and guesses which cue of a contrast holds."""
    direct, contrast, ambiguous = emotions.SHARES
    right, flip = 1 - emotions.NOISE, emotions.NOISE / (len(emotions.LABELS) - 1)
    likelier = emotions.LIKELIER * right + (1 - emotions.LIKELIER) * flip
    reached = direct * right + contrast * (right + flip) / 2 + ambiguous * likelier
    for page in ("README.md", "docs/pipeline.md"):
        said = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert f"{100 * reached:.1f} %" in said, page


def test_what_processors_differ_by_is_as_measured() -> None:
    runs = [line for line in committed("processors.csv") if line["experiment"] == "diary"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    arms = {"label": "Q->A reaches", "label_same_steps": "equal steps", "reason_label": "Q->RA"}
    spreads = []
    by_run: dict[tuple[str, str], dict[str, float]] = {}
    for arm, name in arms.items():
        reached = [100 * float(run["accuracy"]) for run in runs if run["arm"] == arm]
        assert f"{name} {min(reached):.1f} to {max(reached):.1f} %" in readme
        spreads.append(f"{statistics.stdev(reached):.1f}")
    assert f"Standard deviations are {spreads[0]}, {spreads[1]} and {spreads[2]} points" in readme
    for run in runs:
        by_run.setdefault((run["processor"], run["seed"]), {})[run["arm"]] = float(run["accuracy"])
    assert f"ahead in each of the {len(by_run)} runs" in readme
    assert all(
        run["reason_label"] > max(run["label"], run["label_same_steps"]) for run in by_run.values()
    )


def test_controls_come_out_on_every_processor() -> None:
    runs = committed("processors.csv")
    gaps: dict[str, list[float]] = {"gain": [], "no_gain": []}
    reached = {
        (run["experiment"], run["processor"], run["seed"], run["arm"]): float(run["accuracy"])
        for run in runs
    }
    for (experiment, *place, arm), accuracy in reached.items():
        if experiment in gaps and arm == "reason_label":
            other = reached[experiment, place[0], place[1], "label_same_steps"]
            gaps[experiment].append(100 * (accuracy - other))
    assert [len(gap) for gap in gaps.values()] == [12, 12]
    page = " ".join((ROOT / "docs/arms.md").read_text(encoding="utf-8").split())
    assert f"The least gain of a seed was {min(gaps['gain']):.1f} points" in page
    assert f"differed by {max(map(abs, gaps['no_gain'])):.1f} points at most" in page


def test_what_a_pretrained_model_reached_is_as_measured() -> None:
    arms = {line["arm"]: line for line in committed("answer/primary-arms.csv")}
    first = committed("answer/primary-comparisons.csv")[0]
    assert (first["arm"], first["against"], first["measure"]) == (
        "reason_label",
        "label",
        "accuracy",
    )
    label, reason = (arms[arm]["accuracy %"] for arm in ("label", "reason_label"))
    differing, difference = float(first["discordant %"]), float(first["difference"])
    answers = int(first["n"]) * int(first["seeds"])
    only = [round((differing + sign * difference) / 200 * answers) for sign in (1, -1)]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert {arms[arm]["steps"] for arm in ("label", "reason_label")} == {"76"}
    controls = {
        line["arm"]: f"{line['difference']} points ({line['low']} to {line['high']})"
        for line in committed("answer/comparisons.csv")
        if (line["against"], line["measure"]) == ("label", "accuracy")
    }
    assert f"the difference is {controls['reason_label_weighted']}" in readme
    assert f"no reasonings, is {controls['label_prompt_loss']} against the plain one" in readme
    assert f"label alone reaches {label} % and Q->RA {reason} %" in readme
    assert (
        f"{answers:,} pairs of answers. In {only[0]} pairs Q->RA alone is right, "
        f"in {only[1]:,} the label alone." in readme
    )


def test_every_link_between_pages_leads_on() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_experiment_and_its_data_have_a_line() -> None:
    page = (ROOT / "experiments/README.md").read_text(encoding="utf-8")
    for file in (ROOT / "experiments").glob("*.yaml"):
        assert f"{file.name}`" in page or f"`{file.name} " in page, file.name
        for data in re.findall(r"data/(\w+/\w+\.parquet)", file.read_text(encoding="utf-8")):
            assert f"| `{data}` |" in page, data
