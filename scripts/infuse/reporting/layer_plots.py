"""Figures over a model's layers: relative entropy as curves, ranks of label tokens as maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from infuse.evaluation.scores import Row
from infuse.evaluation.stats import Values
from infuse.reporting.fonts import drawable
from infuse.reporting.plots import INK, LINES

MOST_GROUPS = 6  # panels beside that of all texts
MOST_MAPS = 3  # rows of maps beside that of all texts
MOST_ARMS = 6  # columns of maps
MOST_TOKENS = 8  # labels of a map
MOST_LAYERS = 24  # lines of a map
STYLES = ("-", "--", ":", "-.")  # once the colors are used up


def entropy(rows: Sequence[Row], groups: Sequence[str]) -> Figure:
    """Entropy of each layer's prediction, less the reference's: a panel for each group.

    Args:
        rows: of `layers.layer_rows`.
    """
    compared = [row for row in rows if "difference" in row]
    every = list(dict.fromkeys(row["group"] for row in rows))
    shown, note = drawable(every, "table layers")
    titles = dict(zip(every, shown, strict=True))
    arms = list(dict.fromkeys(row["arm"] for row in compared))
    columns = min(4, len(groups))
    lines = -(-len(groups) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(0.7 + 2.3 * columns, 0.9 + 2.1 * lines), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axes in grid.flat[len(groups) :]:
        axes.axis("off")
    for number, (axes, group) in enumerate(zip(grid.flat, groups, strict=False)):
        axes.axhline(0, color=INK, lw=0.8)
        for place, arm in enumerate(arms):
            curve = [row for row in compared if row["arm"] == arm and row["group"] == group]
            _curve(axes, curve, LINES[place % len(LINES)], STYLES[place // len(LINES) % 4])
        axes.set_title(titles[group], fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelbottom=number + columns >= len(groups))
    figure.supxlabel(f"layer (0: embeddings){note}", fontsize=9)
    figure.supylabel(
        "entropy less that of\nthe label alone, nats", fontsize=9, multialignment="center"
    )
    if arms:
        told_by = grid[0][0].get_legend_handles_labels()
        figure.legend(*told_by, loc="outside upper center", ncols=columns, frameon=False)
    else:
        grid[0][0].set_title("no arm beside the label alone")
    return figure


def _curve(axes: Axes, rows: Sequence[Row], color: str, style: str) -> None:
    """A line with its 95 % band."""
    layers = [row["layer"] for row in rows]
    means, lows, highs = zip(*(row["difference"][:3] for row in rows), strict=True)
    axes.fill_between(layers, lows, highs, color=color, alpha=0.15, linewidth=0)
    axes.plot(layers, means, color=color, linestyle=style, lw=1.5, label=rows[0]["arm"])


def rankings(
    maps: Mapping[tuple[str, str], Values], labels: Sequence[str], groups: Sequence[str]
) -> Figure:
    """Median rank of the gold label's and of each label's token by layer, as in `rankings_watch`.

    The first arms, groups and labels alone are drawn, and of many layers each second or third.

    Args:
        maps: of `layers.rank_maps`.
    """
    arms = list(dict.fromkeys(arm for arm, _ in maps))[:MOST_ARMS]
    groups = groups[: 1 + MOST_MAPS]
    tokens, of_tokens = drawable(labels, "table 4")
    every = list(dict.fromkeys(group for _, group in maps))
    shown, of_groups = drawable(every, "table layers")
    titles = dict(zip(every, shown, strict=True))
    names = ["gold", *tokens[:MOST_TOKENS]]
    deepest = len(next(iter(maps.values()))) - 1
    step = -(-(deepest + 1) // MOST_LAYERS)
    layers = sorted(range(deepest, -1, -step))
    size = (
        max(0.8 + len(arms) * (0.2 + 0.36 * len(names)), 4.2),
        1.7 + len(groups) * (0.1 + 0.2 * len(layers)),
    )
    figure, grid = plt.subplots(
        len(groups), len(arms), figsize=size, sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    norm = LogNorm(1, max(10.0, *(float(ranks.max()) for ranks in maps.values())))
    for line, group in zip(grid, groups, strict=True):
        for axes, arm in zip(line, arms, strict=True):
            image = _map(axes, maps[arm, group][layers][:, : len(names)], norm)
            axes.set_yticks(range(len(layers)), map(str, layers), fontsize=7)
            axes.set_xticks(
                range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor"
            )
        line[0].set_ylabel(f"{titles[group]}\nlayer")
    for axes, arm in zip(grid[0], arms, strict=True):
        axes.set_title(arm, fontsize=9)
    bar = figure.colorbar(
        image, ax=grid, location="top", aspect=45, shrink=min(1.0, 6 / size[0]),
        pad=0.1 / size[1],
        format=lambda rank, _: short(rank),
    )  # fmt: skip
    bar.set_label(f"median rank (1: the most probable token){of_tokens or of_groups}")
    bar.minorticks_off()
    bar.outline.set_visible(False)
    return figure


def _map(axes: Axes, ranks: Values, norm: LogNorm) -> AxesImage:
    """Ranks as colors, with the number in each cell."""
    image = axes.imshow(ranks, cmap="Blues_r", norm=norm, aspect="auto")
    for (row, column), rank in np.ndenumerate(ranks):
        red, green, blue, _ = image.cmap(norm(rank))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
        axes.text(
            column, row, short(rank), ha="center", va="center", fontsize=7,
            color="white" if dark else INK,
        )  # fmt: skip
    axes.axvline(0.5, color="white", lw=3)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image


def short(rank: float) -> str:
    """A rank in at most four characters."""
    if rank < 999.5:
        return f"{rank:.0f}"
    return f"{rank / 1000:.2g}k" if rank < 9950 else f"{rank / 1000:.0f}k"
