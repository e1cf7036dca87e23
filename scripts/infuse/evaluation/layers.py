"""From what the layers of classifiers say to numbers: by arm, group of texts and layer.

An arm stands against a label-only arm on the same texts, seed by seed. Groups of texts are their
sources, or their gold labels where no source is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from infuse.config.arms import AnyArm, plain_label
from infuse.core.errors import UserError
from infuse.core.files import read_table, read_task
from infuse.core.schemas import LOGIT_LENS
from infuse.evaluation import stats
from infuse.evaluation.scores import Row, clusters_of
from infuse.evaluation.stats import Interval, Values

EVERY = "all texts"
Mask = npt.NDArray[np.bool_]


class LayerReadings(NamedTuple):
    """What the layers of an arm's classifiers say; in the order of seeds and texts.

    Attributes:
        entropy: float [seeds, texts, layers + 1], as `activation_entropy`.
        ranks: int [seeds, texts, layers + 1, labels + 1]; first of the gold label, then of each.
        settled: int [seeds, texts]; -1: at no layer.
        confidence: float [seeds, texts].
    """

    entropy: Values
    activation_entropy: Values
    ranks: npt.NDArray[np.int64]
    settled: npt.NDArray[np.int64]
    confidence: Values


def read(
    files: Mapping[str, Sequence[Path]], labels: Sequence[str]
) -> tuple[list[int], dict[str, LayerReadings]]:
    """The texts' ids, and what the classifiers of each arm say of them.

    They are the texts that all classifiers have: one that is too long for a classifier is not
    looked at by it.

    Args:
        files: of each arm, one for each seed.

    Raises:
        UserError: a file is damaged, or the files have no text in common.
    """
    if not files:
        raise UserError("logit_lens: no arm has a vocabulary to look into")
    tables = {arm: [read_table(path, LOGIT_LENS) for path in paths] for arm, paths in files.items()}
    first, *others = (table["id"].to_pylist() for runs in tables.values() for table in runs)
    common = set(first).intersection(*others)
    if not common:
        raise UserError("logit_lens: no text fits into the positions of every classifier")
    ids = [number for number in first if number in common]
    readings = {}
    for arm, runs in tables.items():
        of_seeds = [_run(_only(run, ids), labels) for run in runs]
        readings[arm] = LayerReadings(*map(np.stack, zip(*of_seeds, strict=True)))
    return ids, readings


def _only(table: pa.Table, ids: Sequence[int]) -> pa.Table:
    """The rows of some texts, in their order."""
    places = {number: place for place, number in enumerate(table["id"].to_pylist())}
    return table.take([places[number] for number in ids])


def _run(table: pa.Table, labels: Sequence[str]) -> LayerReadings:
    """What one classifier's layers say, without the axis of seeds."""
    texts = table.num_rows
    gold = np.array([labels.index(label) for label in table["label"].to_pylist()])
    every = _numbers(table, "ranks").reshape(texts, -1, len(labels))
    own = np.take_along_axis(every, gold[:, None, None], 2)
    return LayerReadings(
        _numbers(table, "entropy").reshape(texts, -1).astype(float),
        _numbers(table, "activation_entropy").reshape(texts, -1).astype(float),
        np.concatenate([own, every], 2),
        _numbers(table, "settled"),
        _numbers(table, "confidence").astype(float),
    )


def _numbers(table: pa.Table, column: str) -> npt.NDArray[Any]:
    """All numbers of a column, lists laid end to end."""
    values = table[column].combine_chunks()
    while pa.types.is_list(values.type):
        values = values.flatten()
    numbers: npt.NDArray[Any] = values.to_numpy()
    return numbers


class Group(NamedTuple):
    """Some of the texts, and the cluster of each of them."""

    inside: Mask
    clusters: list[str]


def groups(test: Path, ids: Sequence[int], labels: Sequence[str]) -> dict[str, Group]:
    """All texts, then those of each source, or else of each gold label; texts of a task without a
    scale are each a cluster of their own.

    Raises:
        UserError: the test split is damaged.
    """
    rows = {row["id"]: row for row in read_task(test.parent, test.stem)}
    texts = [rows[number] for number in ids]
    part = "source" if any(row.get("source") for row in texts) else "label"
    names, clusters = np.array([row[part] for row in texts]), np.array(clusters_of(texts))
    there = set(names)
    order = dict.fromkeys(names) if part == "source" else [name for name in labels if name in there]
    masks = {EVERY: np.ones(len(ids), bool)} | {str(name): names == name for name in order}
    return {name: Group(inside, clusters[inside].tolist()) for name, inside in masks.items()}


def largest(within: Mapping[str, Group], most: int) -> list[str]:
    """The names of the group of all texts and of at most so many others, those with most texts; of
    equal ones, the first.
    """
    parts = [name for name in within if name != EVERY]
    others = sorted(parts, key=lambda name: -within[name].inside.sum())[:most]
    return [name for name in within if name == EVERY or name in others]


def layer_rows(
    arms: Mapping[str, AnyArm], readings: Mapping[str, LayerReadings], within: Mapping[str, Group]
) -> list[Row]:
    """One row for each arm, group of texts and layer; no difference where there is no reference."""
    rows = []
    for arm, reference, group, (texts, clusters) in _arms_in_groups(arms, readings, within):
        ours = readings[arm]
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
                "against": reference,
            }  # fmt: skip
            if reference is not None:
                theirs = readings[reference]
                against = theirs.entropy[:, texts, layer]
                row |= {
                    "difference": stats.mean_difference(entropy - against, clusters),
                    "ratio": ratio(entropy, against, clusters),
                    "activation_difference": stats.mean_difference(
                        activation - theirs.activation_entropy[:, texts, layer], clusters
                    ),
                }
            rows.append(row)
    return rows


def output_rows(
    arms: Mapping[str, AnyArm], readings: Mapping[str, LayerReadings], within: Mapping[str, Group]
) -> list[Row]:
    """One row for each arm and group of texts: how sure the output is, and from which layer on."""
    rows = []
    for arm, reference, group, (texts, clusters) in _arms_in_groups(arms, readings, within):
        confidence = readings[arm].confidence[:, texts]
        settled = readings[arm].settled[:, texts]
        row = {
            "arm": arm, "group": group, "seeds": len(confidence), "texts": confidence.shape[1],
            "confidence": float(confidence.mean()), "settled": float((settled >= 0).mean()),
            "settled_layer": float(settled[settled >= 0].mean()) if (settled >= 0).any() else None,
            "against": reference,
        }  # fmt: skip
        if reference is not None:
            against = readings[reference].confidence[:, texts]
            interval = stats.mean_difference(confidence - against, clusters)
            low, high = np.clip(interval[1:3], -1, 1).tolist()  # it is of shares
            row["difference"] = interval._replace(low=low, high=high)
        rows.append(row)
    return rows


def _arms_in_groups(
    arms: Mapping[str, AnyArm], readings: Mapping[str, LayerReadings], within: Mapping[str, Group]
) -> Iterator[tuple[str, str | None, str, Group]]:
    """Each arm, the label-only arm that it is held against, and each group of texts."""
    for arm in readings:
        reference = plain_label(arms, arm)
        for name, group in within.items():
            yield arm, reference, name, group


def ratio(ours: Values, theirs: Values, clusters: Sequence[str]) -> Interval | None:
    """mean(ours) / mean(theirs) with its interval; None over zero.

    With r that ratio, the interval is of the mean of r + (ours - r theirs) / mean(theirs), to first
    order the ratio (the delta method; Cochran, Sampling Techniques, 1977, section 6.3).

    Args:
        ours: float [seeds, texts], as `theirs`.
    """
    base = float(theirs.mean())
    if not base:
        return None
    share = float(ours.mean()) / base
    return stats.non_negative_mean(share + (ours - share * theirs) / base, clusters)


def rank_maps(
    readings: Mapping[str, LayerReadings], within: Mapping[str, Group]
) -> dict[tuple[str, str], Values]:
    """Median ranks over seeds and texts, by arm and group: float [layers + 1, labels + 1].

    The first column is of each text's gold label, the others are of the labels in their order.
    """
    return {
        (arm, group): np.median(ours.ranks[:, texts], (0, 1))
        for arm, ours in readings.items()
        for group, (texts, _) in within.items()
    }
