"""Figures, from rows of numbers to matplotlib figures and files. No model is needed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from infuse.evaluation.scores import Row
from infuse.reporting.arm_tables import Point
from infuse.reporting.fonts import drawable
from infuse.reporting.rating_tables import Setting

MOST_COUNTS = 30  # columns of a confusion figure whose counts are written
# How the axis of a regime is called, and where on it the task's own training texts stand.
REGIMES = {
    "rows": ("share of the training texts", 1.0),
    "label_noise": ("share of wrong labels", 0.0),
    "imbalance": ("share left of rarer labels", 1.0),
    "cue": ("share of texts with a planted cue", 0.0),
}
LINES = ("#2f6f9f", "#c2571a", "#4d7c3a", "#7a4b94", "#8a6d1b", "#555555")
INK, ACCENT, PALE = "#1f2933", "#2f6f9f", "#e8f0f6"
plt.rcParams.update(
    {
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "pdf.fonttype": 42,
        "svg.hashsalt": "infuse",
        "text.parse_math": False,  # labels are a user's words
    }
)


def save(figure: Figure, path: Path) -> None:
    """Write PNG (200 dpi) and PDF, without the date that would make each file differ."""
    figure.savefig(path.with_suffix(".png"), dpi=200, metadata={"Software": None})
    figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    plt.close(figure)


def stages() -> Figure:
    """The two stages as a diagram (figure 1)."""
    figure, axes = plt.subplots(figsize=(7.2, 3.3), layout="constrained")
    axes.set(xlim=(-1, 101), ylim=(-4, 47))
    axes.axis("off")

    def box(x: float, y: float, width: float, text: str, filled: bool = False) -> None:
        shape = FancyBboxPatch(
            (x, y - 5), width, 10, boxstyle="round,pad=0.3,rounding_size=1.5", linewidth=1,
            edgecolor=ACCENT, facecolor=ACCENT if filled else PALE,
        )  # fmt: skip
        axes.add_patch(shape)
        color = "white" if filled else INK
        axes.text(x + width / 2, y, text, ha="center", va="center", color=color, fontsize=8)

    def arrow(start: tuple[float, float], end: tuple[float, float]) -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1})

    axes.text(0, 44, "Stage 1: learn to give reasons", fontweight="bold")
    box(0, 35, 24, "triples\nquestion, answer → reasoning")
    box(38, 35, 20, "reasoner", filled=True)
    arrow((25, 35), (37, 35))
    axes.text(0, 25, "Stage 2: learn to classify", fontweight="bold")
    box(0, 16, 24, "training texts\nwith gold labels")
    box(38, 16, 20, "text, reasoning, label")
    box(38, 2, 20, "text, label")
    box(72, 16, 28, "classifier Q→RA\nwrites reasoning, then label", filled=True)
    box(72, 2, 28, "classifier Q→A\nwrites the label", filled=True)
    arrow((25, 16), (37, 16))
    arrow((48, 29.4), (48, 21.8))
    arrow((25, 13), (37, 3.5))
    arrow((59, 16), (71, 16))
    arrow((59, 2), (71, 2))
    return figure


def confusion(rows: Sequence[Row], labels: Sequence[str], title: str) -> Figure:
    """Counts of true against predicted label, shaded by share of the true label's texts.

    The last column, "none", counts answers without a valid label.

    Args:
        rows: of one classifier, in the schema `CONFUSION`; no rows draw an empty frame.
    """
    shown, note = drawable(labels, "table 4")
    names = [*shown, "none"]
    counts = np.zeros((len(labels), len(names)), int)
    for row in rows:
        column = labels.index(row["predicted"]) if row["predicted"] else len(labels)
        counts[labels.index(row["label"]), column] = row["rows"]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = min(1.6 + 0.5 * len(names), 14.0)  # inches
    figure, axes = plt.subplots(figsize=(size, size - 0.6), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    readable = counts if len(names) <= MOST_COUNTS else counts[:0]
    for (line, column), count in np.ndenumerate(readable):
        color = "white" if shares[line, column] > 0.5 else INK
        axes.text(column, line, str(count), ha="center", va="center", color=color, fontsize=8)
    every = -(-len(names) // (2 * MOST_COUNTS))  # names that still can be read
    axes.set_xticks(
        range(0, len(names), every), names[::every], rotation=40, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(0, len(labels), every), shown[::every])
    axes.axvline(len(labels) - 0.5, color=INK, linewidth=0.8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel=f"predicted{note}", ylabel="true", title=title if rows else f"{title}: not run")
    return figure


def arms(classifiers: Sequence[Row], baselines: Sequence[Row]) -> Figure:
    """Accuracy of each classifier, best arm first; the floors as lines.

    Each seed has a dot for free generation, and a ring for the closed set.
    """
    groups: dict[str, list[Row]] = {}
    for row in classifiers:
        groups.setdefault(row["arm"], []).append(row)
    names = sorted(groups, key=lambda name: -np.mean([row["accuracy"] for row in groups[name]]))
    figure, axes = plt.subplots(figsize=(6.4, 1.3 + 0.3 * len(names)), layout="constrained")
    for row, style in zip(baselines, (":", "--"), strict=False):
        axes.axvline(100 * row["accuracy"], color=INK, linestyle=style, lw=1, label=row["baseline"])
    for place, name in enumerate(names):
        for measure, color, size, what in (
            ("closed_set_accuracy", "none", 7, "closed set"),
            ("accuracy", ACCENT, 4, "free generation"),
        ):
            reached = [100 * row[measure] for row in groups[name] if row[measure] is not None]
            axes.plot(
                reached, [place] * len(reached), "o", markersize=size, markerfacecolor=color,
                markeredgecolor=ACCENT, label=what if place == 0 else None,
            )  # fmt: skip
        steps = ", ".join(dict.fromkeys(str(row["steps"]) for row in groups[name] if row["steps"]))
        axes.annotate(
            f"{steps} steps" if steps else "untrained", (1, place), xytext=(4, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", color=PALE)
    axes.set_axisbelow(True)
    axes.set_xlabel("accuracy on the test texts, % (one dot and one ring for each seed)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def settings(
    floors: Mapping[Setting, float | None],
    reached: Mapping[str, Mapping[Setting, float]],
    bare: Collection[str],
) -> Figure:
    """Accuracy of each arm in each setting: a dot for an arm, hollow where it had no instruction.

    Args:
        floors: of each setting (source, dimension), the accuracy of its most frequent label, as a
            share of 1; None draws nothing.
        reached: of each arm, its accuracy in each setting, mean over seeds.
        bare: the arms without a system message.
    """
    places = list(floors)
    figure, axes = plt.subplots(figsize=(6.8, 1.6 + 0.42 * len(places)), layout="constrained")
    for line, place in enumerate(places):
        ends = [100 * accuracies[place] for accuracies in reached.values()]
        axes.plot([min(ends), max(ends)], [line] * 2, color="#d5dce2", lw=4, zorder=1)
    axes.plot(
        [math.nan if floor is None else 100 * floor for floor in floors.values()],
        range(len(places)), "|", color=INK,
        markersize=11, markeredgewidth=1.5, label="most frequent label", zorder=2,
    )  # fmt: skip
    for group in ([n for n in reached if n not in bare], [n for n in reached if n in bare]):
        for name, color in zip(group, LINES * len(group), strict=False):
            axes.plot(
                [100 * reached[name][place] for place in places], range(len(places)), "o",
                color=color, markerfacecolor="white" if name in bare else color, markersize=5.5,
                markeredgewidth=1.3, label=name, zorder=3,
            )  # fmt: skip
    names = [" · ".join(filter(None, place)) or "all" for place in places]
    shown, note = drawable(names, "table quality")
    axes.set_yticks(range(len(places)), shown)
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_xlabel("accuracy on the test texts, % (mean over seeds)")
    axes.set_ylabel(note.strip(" ()"))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    return figure


def regimes(classifiers: Sequence[Row], points: Sequence[Point]) -> Figure:
    """Accuracy of the compared arms along each regime: a dot for each seed, a line for the mean.

    Args:
        classifiers: of the task's own training texts, where every curve begins or ends.
    """
    kinds = [kind for kind in REGIMES if any(point.kind == kind for point in points)]
    arms = list(dict.fromkeys(row["arm"] for point in points for row in point.classifiers))
    figure, grid = plt.subplots(
        1, max(1, len(kinds)), figsize=(0.8 + 2.6 * max(1, len(kinds)), 3.2), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axes, kind in zip(grid[0], kinds, strict=False):
        title, own = REGIMES[kind]
        curve = [(point.value, point.classifiers) for point in points if point.kind == kind]
        _curves(axes, sorted([*curve, (own, classifiers)], key=lambda at: at[0]), arms)
        axes.set_xlabel(title)
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylabel("accuracy on the test texts, %")
    if kinds:
        handles, names = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    else:
        grid[0][0].set_title("no regimes")
    return figure


def _curves(axes: Axes, curve: Sequence[tuple[float, Sequence[Row]]], arms: Sequence[str]) -> None:
    for name, color in zip(arms, LINES * len(arms), strict=False):
        means = []
        for value, rows in curve:
            reached = [100 * row["accuracy"] for row in rows if row["arm"] == name]
            means.append(sum(reached) / len(reached))
            axes.plot([value] * len(reached), reached, "o", color=color, markersize=4, alpha=0.5)
        axes.plot([value for value, _ in curve], means, color=color, lw=1.5, label=name)
