"""One page of plain words: whether an arm beats another, what it costs, what it misreads."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from infuse.core.render import markdown
from infuse.data.targets import EXPLAINED
from infuse.evaluation.comparisons import Runs
from infuse.evaluation.scores import Row
from infuse.evaluation.stats import Enough
from infuse.reporting.cells import mean_of

WORTH = 0.02  # of accuracy: a gain that is surely below it is not worth having
MISREADINGS, EXAMPLES, LETTERS = 3, 2, 240  # shown, and of a text
Verdict = Literal["yes", "no", "open"]


class Side(NamedTuple):
    """One of the two arms.

    Attributes:
        name: of the arm.
        target: what it writes.
        perturbed: whether pseudo-reasonings stand in place of reasonings.
        answers: to each text, of which the label is voted where they are several.
        classifier: the folder of its first seed's classifier.
        tokens: written for a text, the mean.
        seconds: that a text took, the mean.
        cut: the share of answers that reached `max_new_tokens` without an end; where answers vote,
            of texts.
    """

    name: str
    target: str
    perturbed: bool
    answers: int
    classifier: str
    tokens: float
    seconds: float
    cut: float

    @property
    def explains(self) -> bool:
        """Whether its answers hold a reasoning, and a true one."""
        return self.target in EXPLAINED and not self.perturbed


def verdict(comparison: Row) -> Verdict:
    """Whether an arm is better than another, by the 95 % interval of what it has over the other.

    `yes` if all of it lies above 0. `no` if all of it lies below `WORTH`. Else `open`.

    Args:
        comparison: a row of `COMPARISONS`.
    """
    if comparison["low"] > 0:
        return "yes"
    return "no" if comparison["high"] < WORTH else "open"


def half_to_settle(comparison: Row) -> float:
    """How near to a difference that stays as it is its interval must end, for a yes or a no."""
    return max(comparison["difference"], WORTH - comparison["difference"])


def better(comparison: Row, ours: Side, other: Side) -> Side:
    """The arm to use: ours where it is better, else the other, which nothing was shown to beat."""
    return ours if verdict(comparison) == "yes" else other


def page(
    experiment: str,
    ours: Side,
    other: Side,
    comparison: Row,
    means: Sequence[Row],
    baselines: Sequence[Row],
    enough: Enough,
    written: Runs,
) -> str:
    """The page, in Markdown.

    Args:
        ours: the arm that is asked about.
        other: the arm that it is held against.
        comparison: their row of `COMPARISONS`, of the accuracy.
        means: rows of `MEANS`.
        baselines: rows of `BASELINES`.
        enough: what would bring their interval below `half_to_settle`.
        written: what both answered on the test texts.
    """
    chosen = better(comparison, ours, other)
    helps = ours.explains and other.target == "label"
    title = "Does a reasoning help?" if helps else f"Is {ours.name} better than {other.name}?"
    parts = [
        f"# {title}",
        f"Experiment: {_plain(experiment)}",
        _answer(ours, other, comparison, means),
        *_open(comparison, enough),
        *_warnings((ours, other), chosen, comparison, means, baselines),
        "## What they reach, and what they cost",
        _table((ours, other), means, baselines),
        _cost(ours, other),
        "## Which to use",
        _use(chosen, comparison),
        "## What it misreads most",
        *_misread(chosen, written),
    ]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def _answer(ours: Side, other: Side, comparison: Row, means: Sequence[Row]) -> str:
    word = {"yes": "Yes.", "no": "No.", "open": "It can't be told yet."}[verdict(comparison)]
    if comparison["high"] < 0:
        word = "No, it does harm."
    right = [mean_of(means, side.name)["mean"] for side in (ours, other)]
    seeds = comparison["seeds"]
    return (
        f"**{word}** `{ours.name}` gets {100 * right[0]:.1f} % of the test texts right,"
        f" `{other.name}` {100 * right[1]:.1f} %. The difference is"
        f" {_points(comparison['difference'])}. At a confidence of 95 %, the true difference lies"
        f" between {_points(comparison['low'])} and {_points(comparison['high'])}"
        f" ({comparison['n']:,} test texts, {seeds} {'seed' if seeds == 1 else 'seeds'})."
    )


def _open(comparison: Row, enough: Enough) -> list[str]:
    """What would settle an open question."""
    if verdict(comparison) != "open":
        return []
    if comparison["df"] is None:
        return [
            "All test texts are of one cluster (`task.columns.cluster`), or there is just one text."
            " So nothing is known of others. Test texts of more clusters are needed."
        ]
    ways = []
    if enough.items is not None:
        ways.append(f"about {_round(enough.items):,} labelled test texts (now {comparison['n']:,})")
    if enough.seeds is not None:
        ways.append(f"about {enough.seeds:,} seeds (now {comparison['seeds']:,})")
    if not ways:
        return [
            "More seeds alone would hardly settle it, and more test texts alone neither. Try twice"
            " as many of both."
        ]
    return [
        f"If the difference stays as it is, this would settle it: {', or '.join(ways)}."
        " All of them count, those of now too."
    ]


def _warnings(
    sides: Sequence[Side],
    chosen: Side,
    comparison: Row,
    means: Sequence[Row],
    baselines: Sequence[Row],
) -> list[str]:
    """What a reader must know before anything is used."""
    lines = []
    if comparison["seeds"] == 1:
        lines.append(
            "One seed was trained. Another seed may come out otherwise, and the bounds do not"
            " count that. Set `seeds: [1, 2, 3]` in the config."
        )
    for side in sides:
        if round(100 * side.cut) >= 1:
            lines.append(
                f"**{_share(side.cut)} of the answers of `{side.name}` are cut**, and count as"
                " wrong. Look at some in `results/browse.html`. If they make sense as far as they"
                " go, set `prediction.max_new_tokens` higher. If they repeat themselves, that does"
                " not help."
            )
    best = max(baselines, key=lambda row: row["accuracy"])
    if best["accuracy"] >= mean_of(means, chosen.name)["mean"]:
        lines.append(
            f"**A simpler model is as good**: {best['baseline']}, {_share(best['accuracy'])} right."
        )
    return lines


def _table(sides: Sequence[Side], means: Sequence[Row], baselines: Sequence[Row]) -> str:
    rows = []
    for side in sides:
        reached = mean_of(means, side.name)
        rows.append(
            [
                side.name, _share(reached["mean"]), _between(reached),
                f"{side.tokens:.0f}", f"{side.seconds:.2g}",
            ]
        )  # fmt: skip
    for row in baselines:
        rows.append([row["baseline"], _share(row["accuracy"]), _between(row), "", ""])
    columns = ["", "right", "between (95 %)", "tokens written for a text", "seconds for a text"]
    return markdown(columns, rows)


def _cost(ours: Side, other: Side) -> str:
    """What the numbers of the table are, and how many times as much one arm writes."""
    seconds = (
        "Seconds are those of the machine that wrote the answers. They hold all that is done for a"
        " text, and the loading of the model."
    )
    if not other.tokens:
        return seconds
    times = ours.tokens / other.tokens
    return (
        f"For each text, `{ours.name}` writes {times:.1f} times as many tokens as `{other.name}`."
        f" {seconds}"
    )


def _use(chosen: Side, comparison: Row) -> str:
    why = {
        "yes": "It is right more often.",
        "no": f"If the other is better at all, then by less than {100 * WORTH:g} points.",
        "open": "Nothing shows yet that the other is better.",
    }[verdict(comparison)]
    if comparison["high"] < 0:
        why = "The other is right less often."
    once = (
        f" It asks once. The numbers above are of {chosen.answers} answers that vote."
        if chosen.answers > 1
        else ""
    )
    return (
        f"`{chosen.name}`. {why} This labels a new text.{once}\n\n"
        f'    python scripts/classify.py --model {chosen.classifier} "a text"'
    )


def _misread(chosen: Side, written: Runs) -> list[str]:
    """The most frequent confusions, each with texts that most seeds read so."""
    answers = [row for (arm, _), rows in written.items() if arm == chosen.name for row in rows]
    wrong: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in answers:
        if row["outcome"] != "right":
            wrong[row["label"], row["predicted"]].append(row)
    parts = []
    most = sorted(wrong, key=lambda cell: (-len(wrong[cell]), cell))[:MISREADINGS]
    for cell in most:
        (label, predicted), rows = cell, wrong[cell]
        read = f"is read as {_plain(predicted)}" if predicted else "gets no label"
        share = _share(len(rows) / len(answers))
        parts.append(f"**{_plain(label)}** {read} in {share} of the answers:")
        seeds = Counter(row["id"] for row in rows)
        first = {row["id"]: row for row in reversed(rows)}
        for place in sorted(seeds, key=lambda place: (-seeds[place], place))[:EXAMPLES]:
            row = first[place]
            said = f"\n>\n> It wrote: {_plain(row['reasoning'])}" if row["reasoning"] else ""
            parts.append(f"> {_plain(row['text'])}{said}")
    return parts or ["Nothing: every answer is right."]


def _plain(text: str) -> str:
    """Text of a data set on one line, cut short, with no mark that Markdown or HTML would read."""
    line = " ".join(text.split())
    line = line if len(line) <= LETTERS else line[: LETTERS - 1].rstrip() + "\u2026"
    return re.sub(r"([\\`*_{}\[\]<>()#+.!|~&-])", r"\\\1", line)


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points".replace("-", "\u2212")


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _between(row: Row) -> str:
    return f"{100 * row['low']:.1f} and {100 * row['high']:.1f} %"


def _round(count: int) -> int:
    """A forecast's two leading digits: it promises no more."""
    digits = max(len(str(count)) - 2, 0)
    return -(-count // 10**digits) * 10**digits
