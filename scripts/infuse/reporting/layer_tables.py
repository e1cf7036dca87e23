"""Tables of what the layers of classifiers say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from infuse.evaluation.scores import Row
from infuse.evaluation.stats import Interval
from infuse.reporting.cells import Table, p_value, percent


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
        interval = row.get("difference")
        points = interval and Interval(*(100 * value for value in interval))
        layer = row["settled_layer"]
        table.append(
            {
                "arm": row["arm"], "group": row["group"],
                "confidence %": percent(row["confidence"]),
                "against": row["against"] or "", **_interval(points, "{:+.2f}", "difference"),
                "p": "" if interval is None or math.isnan(interval.p) else p_value(interval.p),
                "settled %": percent(row["settled"]),
                "settled layer": "" if layer is None else f"{layer:.2f}",
                "seeds": str(row["seeds"]), "n": str(row["texts"]),
            }
        )  # fmt: skip
    return table


def _interval(interval: Interval | None, form: str, name: str) -> dict[str, str]:
    """A mean and the two ends of its interval; empty where there is none."""
    ends = (math.nan,) * 3 if interval is None else interval[:3]
    cells = ["" if math.isnan(value) else form.format(value) for value in ends]
    return dict(zip((name, f"{name} low", f"{name} high"), cells, strict=True))
