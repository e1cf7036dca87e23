"""Labelled texts in three splits, with one id, text and label name for each row.

IN   a hub data set, local files, or the workflow's own generator; or ratings of judges
OUT  train.parquet, validation.parquet, test.parquet: id, text, label, and reasoning where the
     source has such a column; with a scale also rating, cluster, source, dimension; labels.json:
     the names in the order of all that follows

A split that the source does not have is cut from train, by text and label; with a scale, by cluster
and label.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from infuse.core.errors import UserError
from infuse.core.files import read_rows, write_json, write_rows
from infuse.core.schemas import RATED, RATINGS, REASONING, SPLITS, TASK
from infuse.data.scales import Scale
from infuse.data.sources import hub_label_names, label_names, read_file, read_hub
from infuse.data.splits import chosen, folded, grouped
from infuse.synthetic import emotions, two_hop
from infuse.workflow.job import Job, run

VERSION = 3
OWN = {"generated": emotions.LABELS, "two_hop": two_hop.LABELS}  # labels of our generators
MOST_LABELS = 200  # more are a sign of the wrong column
log = logging.getLogger("infuse")
Row = dict[str, Any]


class Known(NamedTuple):
    """Names of labels that the config or the source gives, in order; `places`: numbers stand for
    places among them, never for names that are numbers.
    """

    names: list[str]
    places: bool


def task(job: Job) -> dict[str, Any]:
    """Write the splits; refuse what can't be learned from, drop and count texts without text."""
    scale = job.params["scale"] and Scale(**job.params["scale"])
    names = job.params["labels"]
    known = None if scale else _known_labels(job, names)
    empty: dict[str, list[int]] = {}
    rows: dict[str, list[Row]] = {}
    for split in SPLITS:
        if _place(job, split) is not None:
            empty[split] = []
            raw, told = _raw(job, split), _told(job, split)
            rows[split] = list(_clean(raw, scale or known, told, empty[split]))
    for split, number in _missing(rows, job.params["split"]).items():
        rows[split], rows["train"] = _cut(rows["train"], number, job.params["split"]["seed"], True)
    for split, most in job.params["rows"].items():
        if most is not None:
            rows[split], _ = _cut(rows[split], most, job.params["split"]["seed"], False)
    labels = _rated(rows, scale) if scale else _labels(rows, names, known)
    write_json(job.out / "labels.json", labels)
    schema = RATED if scale else TASK
    if job.params["columns"].get("reasoning"):
        schema = schema.append(REASONING)
    train = {folded(row["text"]) for row in rows["train"]}
    facts: dict[str, Any] = {}
    for split in SPLITS:
        write_rows(job.out / f"{split}.parquet", rows[split], schema)
        counts = Counter(row["label"] for row in rows[split])
        lost = empty.get(split, [])
        facts[split] = {
            "rows": len(rows[split]),
            "labels": {label: counts[label] for label in labels},
            "dropped_empty": {"rows": len(lost), "first": lost[:5]},
        }
        log.info("%s: %d rows, %d dropped as empty %s", split, len(rows[split]), len(lost),
                 lost[:5] or "")  # fmt: skip
        if split != "train":
            facts[split]["also_in_train"] = sum(folded(r["text"]) in train for r in rows[split])
            if facts[split]["also_in_train"]:
                log.info("%s: %d texts stand in train too", split, facts[split]["also_in_train"])
    return facts


def _place(job: Job, split: str) -> Any:
    """Where a split comes from, or None where it is to be cut from train."""
    places = job.params["source"]
    if places["kind"] == "judged":
        return job.inputs["ratings"] / f"{split}.parquet"
    return (job.settings["files"] if places["kind"] == "files" else places)[split]


def _told(job: Job, split: str) -> str:
    """The same for a message."""
    source, place = job.params["source"], _place(job, split)
    return f"{source['id']} ({place})" if source["kind"] == "hub" else str(place)


def _known_labels(job: Job, declared: list[str] | None) -> Known | None:
    """The names that the config gives the labels, or else the source, if it does."""
    source = job.params["source"]
    if source["kind"] in OWN:
        return Known(declared or list(OWN[source["kind"]]), places=False)
    column = job.params["columns"]["label"]
    own = (
        hub_label_names(source, column) if source["kind"] == "hub"
        else label_names(job.settings["files"]["train"], column)
    )  # fmt: skip
    if declared and own and declared != own and sorted(declared) == sorted(own):
        raise UserError(f"task.labels: expected the order of the data, {own}, found {declared}")
    names = declared or own
    return names and Known(names, bool(own) or not any(name.isdecimal() for name in names))


def _raw(job: Job, split: str) -> Iterator[Row]:
    """Rows of a split with the keys text and label, and reasoning and id where there are any."""
    source = job.params["source"]
    if source["kind"] in OWN:
        # One draw for all splits, since texts differ only within a draw.
        rows = sum(source[part] for part in SPLITS)
        start = sum(source[part] for part in SPLITS[: SPLITS.index(split)])
        for line in _drawn(source, rows)[start : start + source[split]]:
            yield {part: getattr(line, part, "") for part in ("text", "label", "reasoning")}
        return
    columns = {part: name for part, name in job.params["columns"].items() if name}
    text, place = columns.pop("text"), _place(job, split)
    names = list(dict.fromkeys([*text, *columns.values()]))
    for row in _read(source, place, names):
        own = {part: row[name] for part, name in columns.items()}
        yield {"cluster": row[text[0]]} | own | {"text": _text(row, text)}


def _read(source: Row, place: Any, names: list[str]) -> Iterable[Row]:
    if source["kind"] == "judged":
        return read_rows(place, RATINGS)
    return read_hub(source, place, names) if source["kind"] == "hub" else read_file(place, names)


def _text(row: Row, columns: list[str]) -> Any:
    """A column's text; of several, those that are not empty, each after its name."""
    if len(columns) == 1:
        return row[columns[0]]
    told = {name: row[name] for name in columns if row[name] is not None}
    strange = [name for name, value in told.items() if not isinstance(value, str)]
    if strange:
        return row[strange[0]]
    return "\n".join(f"{name}: {value.strip()}" for name, value in told.items() if value.strip())


def _drawn(source: dict[str, Any], rows: int) -> Sequence[Any]:
    if source["kind"] == "generated":
        return emotions.texts(rows, source["seed"])
    return two_hop.riddles(
        rows, *(source[part] for part in ("words", "both", "honest", "noise", "seed"))
    )


def _clean(
    rows: Iterable[Row], known: Scale | Known | None, told: str, empty: list[int]
) -> Iterator[Row]:
    """Rows with an integer id and a label's name; `empty` collects rows without text."""
    seen: set[int] = set()
    for number, row in enumerate(rows):
        where = f"{told}, row {number + 1}"
        if not isinstance(row["text"], str):
            raise UserError(f"{where}: expected a text, found {row['text']!r}")
        if not row["text"].strip():
            empty.append(number + 1)
            continue
        identity = row.get("id", number)
        if not (str(identity).isdecimal() and int(identity) < 2**63):
            raise UserError(f"{where}: expected a whole number as id, found {identity!r}")
        if int(identity) in seen:
            raise UserError(f"{where}: the id {identity} occurs twice")
        seen.add(int(identity))
        reasoning = row.get("reasoning")
        if not isinstance(reasoning, str | None):
            raise UserError(f"{where}: expected a text as reasoning, found {reasoning!r}")
        own = (
            _rating(row, known, where) if isinstance(known, Scale)
            else {"label": _name(row["label"], known, where)}
        )  # fmt: skip
        yield {"id": int(identity), "text": row["text"], "reasoning": reasoning or ""} | own


def _rating(row: Row, scale: Scale, where: str) -> Row:
    """The rating, its label, and what the row shares with others."""
    told = str(row.get("scale", scale)).replace(" ", "")
    if told != str(scale):
        raise UserError(f"{where}: a rating on the scale {told}, expected {scale} (task.scale)")
    try:
        rating = float(row["label"])
    except (TypeError, ValueError):
        rating = float("nan")
    if not scale.holds(rating):
        found = row["label"]
        raise UserError(f"{where}: expected a rating of {scale} (task.scale), found {found!r}")
    for part in ("cluster", "source", "dimension"):
        if not str(row.get(part, part) or "").strip():
            raise UserError(f"{where}: expected a {part}, found {row[part]!r}")
    return {
        "label": scale.label(rating),
        "rating": rating,
        "cluster": folded(str(row["cluster"])),
        "source": str(row.get("source", "")),
        "dimension": str(row.get("dimension", "")),
    }


def _name(label: Any, known: Known | None, where: str) -> str:
    """The label's name; where the names are known, a whole number may be a place among them."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)  # what a data frame makes of whole numbers beside an empty cell
    name = str(label).strip()
    if not isinstance(label, str | int | float) or not name or label != label:  # noqa: PLR0124
        raise UserError(f"{where}: expected a label, found {label!r}")
    if known is None:
        if name.splitlines() != [name]:
            raise UserError(f"{where}: expected one line as label, found {label!r}")
        return name
    number = name.isdecimal() and not isinstance(label, bool)
    if known.places and number and (isinstance(label, int) or name not in known.names):
        if int(name) < len(known.names):
            return known.names[int(name)]
    elif name in known.names:
        return name
    raise UserError(f"{where}: unknown label {label!r}, expected one of {', '.join(known.names)}")


def _missing(rows: dict[str, list[Row]], shares: dict[str, Any]) -> dict[str, int]:
    """How many rows of train each split gets that the source does not have."""
    numbers = {
        split: round(shares[split] * len(rows["train"]))
        for split in ("test", "validation")
        if split not in rows
    }
    for split, number in numbers.items():
        if number == 0:
            raise UserError(
                f"task.split.{split}: {shares[split]:g} of {len(rows['train'])} rows is no row"
            )
    return numbers


def _cut(rows: list[Row], number: int, seed: int, leave: bool) -> tuple[list[Row], list[Row]]:
    """`number` rows drawn by text or cluster, and label, and the others; see `chosen`."""
    inside = chosen(grouped(rows), [row["label"] for row in rows], number, seed, leave)
    return (
        [row for row, drawn in zip(rows, inside, strict=True) if drawn],
        [row for row, drawn in zip(rows, inside, strict=True) if not drawn],
    )


def _rated(rows: dict[str, list[Row]], scale: Scale) -> list[str]:
    """The labels of a scale, whether rows have them all or not.

    Raises:
        UserError: a split is empty, or a cluster stands in two splits.
    """
    _filled(rows)
    sides: dict[str, str] = {}
    for split in SPLITS:
        for cluster in {row["cluster"] for row in rows[split]}:
            if cluster in sides:
                where = f"task, {split} split: the cluster {cluster[:40]!r} stands in"
                raise UserError(
                    f"{where} {sides[cluster]} too; leave the split to be cut from train"
                )
            sides[cluster] = split
    if len({row["label"] for row in rows["train"]}) < 2:
        raise UserError("task, train split: all ratings have one label")
    return scale.labels


def _filled(rows: dict[str, list[Row]]) -> None:
    for split in SPLITS:
        if not rows[split]:
            raise UserError(f"task, {split} split: no rows")


def _labels(
    rows: dict[str, list[Row]], declared: list[str] | None, known: Known | None
) -> list[str]:
    """The names in order: as declared, as the source has them, or as sorted.

    Raises:
        UserError: a split is empty, or its labels are not what training can cover.
    """
    _filled(rows)
    found = {row["label"] for row in rows["train"]}
    order: Callable[[str], Any] = (
        (lambda name: (int(name), name)) if all(name.isdecimal() for name in found)
        else lambda name: (name.casefold(), name)
    )  # fmt: skip
    labels = [name for name in known.names if name in found] if known else sorted(found, key=order)
    absent = [label for label in declared or () if label not in found]
    if absent:
        raise UserError(f"task, train split: no row has the label(s) {', '.join(absent)}")
    if len(labels) < 2 or len(labels) > MOST_LABELS:
        raise UserError(
            f"task, train split: expected 2 to {MOST_LABELS} different labels, found"
            f" {len(labels)} ({', '.join([*map(repr, labels[:3]), '...'][: len(labels)])});"
            " is task.columns.label the right column?"
        )
    same = Counter(label.casefold() for label in labels)
    alike = [label for label in labels if same[label.casefold()] > 1]
    if alike:
        raise UserError(f"task, train split: labels differ in case alone: {', '.join(alike)}")
    for split in ("validation", "test"):
        strange = {row["label"] for row in rows[split]} - found
        if strange:
            raise UserError(
                f"task, {split} split: label(s) that no training text has:"
                f" {', '.join(sorted(strange))}"
            )
    return labels


if __name__ == "__main__":
    run(task)
