"""From what the layers of classifiers say to numbers: by arm, group of texts and layer.

An arm stands against a label-only arm on the same texts, seed by seed. Groups of texts are their
sources, or their gold labels where no source is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from infuse import statistics
from infuse.errors import UserError
from infuse.evaluation import Row
from infuse.files import LENS, TASK, read_table
from infuse.statistics import Crossed, Values
from infuse.tables import Table, percent

EVERY = "all texts"
Mask = npt.NDArray[np.bool_]


class Seen(NamedTuple):
    """What the layers of an arm's classifiers say; in the order of seeds and texts.

    Attributes:
        entropy: float [seeds, texts, layers + 1], as `activation_entropy`.
        ranks: int [seeds, texts, layers + 1, labels + 1]; first of the gold label, then of each.
        settled: int [seeds, texts]; -1: at no layer.
        sharpness: float [seeds, texts].
    """

    entropy: Values
    activation_entropy: Values
    ranks: npt.NDArray[np.int64]
    settled: npt.NDArray[np.int64]
    sharpness: Values


def read(
    files: Mapping[str, Sequence[Path]], labels: Sequence[str]
) -> tuple[list[int], dict[str, Seen]]:
    """The texts' ids, and what the classifiers of each arm say of them.

    Args:
        files: of each arm, one for each seed.

    Raises:
        UserError: a file is damaged, or is of other texts than the first.
    """
    ids: list[int] = []
    seen = {}
    for arm, paths in files.items():
        runs = []
        for path in paths:
            table = read_table(path, LENS)
            found = table["id"].to_pylist()
            ids = ids or found
            if found != ids:
                raise UserError(f"{path}: expected the texts of the other classifiers")
            runs.append(_run(table, labels))
        seen[arm] = Seen(*map(np.stack, zip(*runs, strict=True)))
    return ids, seen


def _run(table: pa.Table, labels: Sequence[str]) -> Seen:
    """What one classifier's layers say, without the axis of seeds."""
    texts = table.num_rows
    gold = np.array([labels.index(label) for label in table["label"].to_pylist()])
    every = _numbers(table, "ranks").reshape(texts, -1, len(labels))
    own = np.take_along_axis(every, gold[:, None, None], 2)
    return Seen(
        _numbers(table, "entropy").reshape(texts, -1).astype(float),
        _numbers(table, "activation_entropy").reshape(texts, -1).astype(float),
        np.concatenate([own, every], 2),
        _numbers(table, "settled"),
        _numbers(table, "sharpness").astype(float),
    )


def _numbers(table: pa.Table, column: str) -> npt.NDArray[Any]:
    """All numbers of a column, lists laid end to end."""
    values = table[column].combine_chunks()
    while pa.types.is_list(values.type):
        values = values.flatten()
    numbers: npt.NDArray[Any] = values.to_numpy()
    return numbers


def groups(test: Path, ids: Sequence[int], labels: Sequence[str]) -> dict[str, Mask]:
    """Which texts are in each group: all, then those of each source, or else of each gold label.

    Raises:
        UserError: the test split is damaged.
    """
    part = "source" if "source" in pq.read_schema(test).names else "label"
    schema = pa.schema([TASK.field("id"), pa.field(part, pa.string(), nullable=False)])
    table = read_table(test, schema).to_pydict()
    of = dict(zip(table["id"], table[part], strict=True))
    names = np.array([of[number] for number in ids])
    there = set(names)
    order = dict.fromkeys(names) if part == "source" else [name for name in labels if name in there]
    return {EVERY: np.ones(len(ids), bool)} | {str(name): names == name for name in order}


def largest(within: Mapping[str, Mask], most: int) -> list[str]:
    """The names of the group of all texts and of at most so many others, those with most texts."""
    others = sorted(set(within) - {EVERY}, key=lambda name: -within[name].sum())[:most]
    return [name for name in within if name == EVERY or name in others]


def reference(arms: Mapping[str, Row], arm: str) -> str | None:
    """The arm that another stands against: the first that learns labels alone, with a system
    message where the other has one; else the first at all; None where that is itself or nobody.
    """
    plain = [name for name, told in arms.items() if told["target"] == "label"]
    alike = [name for name in plain if _system(arms[name]) == _system(arms[arm])]
    found = next(iter(alike + plain), None)
    return None if found == arm else found


def _system(arm: Row) -> bool:
    return bool(arm.get("system", True))


def layer_rows(
    arms: Mapping[str, Row], seen: Mapping[str, Seen], within: Mapping[str, Mask]
) -> list[Row]:
    """One row for each arm, group of texts and layer; no difference where there is no reference."""
    rows = []
    for arm, ours in seen.items():
        other = reference(arms, arm)
        for group, texts in within.items():
            for layer in range(ours.entropy.shape[2]):
                entropy = ours.entropy[:, texts, layer]
                activation = ours.activation_entropy[:, texts, layer]
                settled = ours.settled[:, texts]
                row = {
                    "arm": arm, "group": group, "seeds": len(entropy), "texts": entropy.shape[1],
                    "layer": layer, "entropy": float(entropy.mean()),
                    "activation_entropy": float(activation.mean()),
                    "rank": float(np.median(ours.ranks[:, texts, layer, 0])),
                    "settled": float(((settled >= 0) & (settled <= layer)).mean()),
                    "against": other,
                }  # fmt: skip
                if other is not None:
                    theirs = seen[other]
                    against = theirs.entropy[:, texts, layer]
                    row |= {
                        "difference": over_both(entropy - against),
                        "ratio": ratio(entropy, against),
                        "activation_difference": over_both(
                            activation - theirs.activation_entropy[:, texts, layer]
                        ),
                    }
                rows.append(row)
    return rows


def output_rows(
    arms: Mapping[str, Row], seen: Mapping[str, Seen], within: Mapping[str, Mask]
) -> list[Row]:
    """One row for each arm and group of texts: how sure the output is, and from which layer on."""
    rows = []
    for arm, ours in seen.items():
        other = reference(arms, arm)
        for group, texts in within.items():
            sharpness, settled = ours.sharpness[:, texts], ours.settled[:, texts]
            row = {
                "arm": arm, "group": group, "seeds": len(sharpness), "texts": sharpness.shape[1],
                "sharpness": float(sharpness.mean()), "settled": float((settled >= 0).mean()),
                "settled_layer": float(settled[settled >= 0].mean()) if (settled >= 0).any()
                else None,
                "against": other,
            }  # fmt: skip
            if other is not None:
                found = over_both(sharpness - seen[other].sharpness[:, texts])
                low, high = np.clip(found[1:3], -1, 1).tolist()  # it is of shares
                row["difference"] = found._replace(low=low, high=high)
            rows.append(row)
    return rows


def over_both(values: Values) -> Crossed:
    """The mean with its 95 % interval over texts and seeds; of a single text, the mean alone.

    Args:
        values: float [seeds, texts].
    """
    if values.shape[1] < 2:
        return Crossed(float(values.mean()), math.nan, math.nan, math.nan, math.nan)
    return statistics.crossed(values)


def ratio(ours: Values, theirs: Values) -> Crossed | None:
    """mean(ours) / mean(theirs) with its 95 % interval over texts and seeds; None over zero.

    With r that ratio, the interval is of the mean of r + (ours - r theirs) / mean(theirs), to first
    order the ratio (the delta method; Cochran, Sampling Techniques, 1977, section 6.3).

    Args:
        ours: float [seeds, texts], as `theirs`.
    """
    base = float(theirs.mean())
    if not base:
        return None
    share = float(ours.mean()) / base
    return over_both(share + (ours - share * theirs) / base)


def rank_maps(
    seen: Mapping[str, Seen], within: Mapping[str, Mask]
) -> dict[tuple[str, str], Values]:
    """Median ranks over seeds and texts, by arm and group: float [layers + 1, labels + 1].

    The first column is of each text's gold label, the others are of the labels in their order.
    """
    return {
        (arm, group): np.median(ours.ranks[:, texts], (0, 1))
        for arm, ours in seen.items()
        for group, texts in within.items()
    }


def layer_table(rows: Sequence[Row]) -> Table:
    """`layer_rows` as text: entropies in nats, shares in percent."""
    return [
        {
            "arm": row["arm"], "group": row["group"], "layer": str(row["layer"]),
            "entropy": f"{row['entropy']:.4f}", "against": row["against"] or "",
            **_interval(row.get("difference"), "{:+.4f}", "difference"),
            **_interval(row.get("ratio"), "{:.4f}", "ratio"),
            "activation entropy": f"{row['activation_entropy']:.4f}",
            **_interval(row.get("activation_difference"), "{:+.4f}", "activation difference"),
            "gold rank": f"{row['rank']:g}", "settled %": percent(row["settled"]),
            "seeds": str(row["seeds"]), "n": str(row["texts"]),
        }
        for row in rows
    ]  # fmt: skip


def output_table(rows: Sequence[Row]) -> Table:
    """`output_rows` as text: shares in percent, their differences in points."""
    table = []
    for row in rows:
        found = row.get("difference")
        points = found and Crossed(*(100 * value for value in found))
        layer = row["settled_layer"]
        table.append(
            {
                "arm": row["arm"], "group": row["group"], "sharpness %": percent(row["sharpness"]),
                "against": row["against"] or "", **_interval(points, "{:+.2f}", "difference"),
                "p": "" if found is None or math.isnan(found.p) else f"{found.p:.2g}",
                "settled %": percent(row["settled"]),
                "settled layer": "" if layer is None else f"{layer:.2f}",
                "seeds": str(row["seeds"]), "n": str(row["texts"]),
            }
        )  # fmt: skip
    return table


def _interval(found: Crossed | None, form: str, name: str) -> dict[str, str]:
    """A mean and the two ends of its interval; empty where there is none."""
    told = (math.nan,) * 3 if found is None else found[:3]
    cells = ["" if math.isnan(value) else form.format(value) for value in told]
    return dict(zip((name, f"{name} low", f"{name} high"), cells, strict=True))
