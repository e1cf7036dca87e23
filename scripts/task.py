"""Labelled texts in three splits, with one id, text and label name for each row.

IN   a hub data set, local files, or the workflow's own generator; or ratings of judges
OUT  train.parquet, validation.parquet, test.parquet: id, text, label, and reasoning where the
     source has such a column; with a scale also rating, cluster, source, dimension; labels.json:
     the names in the order of all that follows; label_rule.json: how a cell becomes one of them

A split that the source does not have is cut from train, by text and label; with a scale, by cluster
and label.

Run as: python scripts/task.py results/specs/task/NAME-KEY.json
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from infuse.config.data_params import CutSplits, HashedSplits, TaskParams
from infuse.config.task import GeneratedTask, Judged, TaskColumns, TaskHub, TwoHop
from infuse.core.errors import UserError, cut, few, quoted
from infuse.core.files import read_rows, write_json, write_rows
from infuse.core.schemas import RATED, RATINGS, REASONING, SPLITS, TASK
from infuse.data.labels import LabelRule, NoLabel, alike, look, resembling, unparted, written
from infuse.data.scales import ALL, Scale
from infuse.data.sources import hub_label_names, names_in_notes, read_file, read_hub
from infuse.data.splits import chosen, grouped
from infuse.data.texts import folded, joined
from infuse.synthetic import emotions, two_hop
from infuse.workflow.job import Job, run

VERSION = 7
OWN = {"generated": emotions.LABELS, "two_hop": two_hop.LABELS}  # labels of our generators
MOST_LABELS = 200  # more are a sign of the wrong column
log = logging.getLogger("infuse")
Row = dict[str, Any]
Source = GeneratedTask | TwoHop | HashedSplits | TaskHub | Judged


class Split(NamedTuple):
    """What a split's rows leave beside them: places of rows, counted from 1, for messages."""

    place: str  # the file, or the hub's split
    empty: list[int]  # rows without text
    first: dict[str, int]  # of each label


def task(job: Job) -> dict[str, Any]:
    """Write the splits; refuse what can't be learned from, drop and count texts without text."""
    params = TaskParams.model_validate(job.params)
    rule = _rule(job, params)
    read: dict[str, Split] = {}
    rows: dict[str, list[Row]] = {}
    for split in SPLITS:
        if _of_split(params.source, split) is not None:
            read[split] = Split(_place(job, params.source, split), [], {})
            rows[split] = list(_clean(_raw(job, params, split), rule, read[split]))
    if params.split is not None:
        seed = params.split.seed
        for split, number in _missing(rows, params.split).items():
            rows[split], rows["train"] = _cut(rows["train"], number, seed, True)
        for split in SPLITS:
            most = _of_split(params.rows, split)
            if most is not None:
                rows[split], _ = _cut(rows[split], most, seed, False)
    labels = _rated(rows, rule.scale) if rule.scale else _labels(rows, params.labels, rule, read)
    write_json(job.out / "labels.json", labels)
    write_json(job.out / "label_rule.json", rule.to_json())
    schema = RATED if rule.scale else TASK
    if params.columns.reasoning:
        schema = schema.append(REASONING)
    train = {folded(row["text"]) for row in rows["train"]}
    facts: dict[str, Any] = {}
    for split in SPLITS:
        write_rows(job.out / f"{split}.parquet", rows[split], schema)
        counts = Counter(row["label"] for row in rows[split])
        lost = read[split].empty if split in read else []
        facts[split] = {
            "rows": len(rows[split]),
            "labels": {label: counts[label] for label in labels},
            "dropped_empty": {"rows": len(lost), "first": lost[:5]},
        }
        log.info("%s: %d rows, %d dropped as empty %s", split, len(rows[split]), len(lost),
                 lost[:5] or "")  # fmt: skip
        if not rule.scale:
            _tell_rare(split, counts, labels)
        if split != "train":
            facts[split]["also_in_train"] = sum(folded(r["text"]) in train for r in rows[split])
            if facts[split]["also_in_train"]:
                log.info("%s: %d texts stand in train too", split, facts[split]["also_in_train"])
    return facts


def _of_split(section: Any, split: str) -> Any:
    """What a section has for a split; None: the split is to be cut from train."""
    return True if isinstance(section, Judged) else getattr(section, split)


def _place(job: Job, source: Source, split: str) -> str:
    """Where the rows of a split come from, for messages."""
    if isinstance(source, Judged):
        return str(job.inputs["ratings"] / f"{split}.parquet")
    if isinstance(source, TaskHub):
        return f"{source.id} ({_of_split(source, split)})"
    return str(job.settings.splits[split] if isinstance(source, HashedSplits) else source.kind)


def _given(job: Job, split: str) -> str:
    """The file of a split that is not cut from another."""
    path = job.settings.splits[split]
    assert path is not None
    return path


def _rule(job: Job, params: TaskParams) -> LabelRule:
    """How labels are read: on a scale, or by the names that the config gives, or the source."""
    if params.scale is not None:
        return LabelRule(scale=Scale(params.scale.low, params.scale.high))
    source, declared = params.source, params.labels
    if source.kind in OWN:
        return LabelRule(declared or list(OWN[source.kind]))
    own = _own_names(job, params)
    if own and (same := alike(own)):
        names = few(map(ascii, same))
        where = _place(job, source, "train")
        raise UserError(f"{where}: names of labels that look alike: {names}")
    if declared and own and _moved(declared, own):
        order = few(f"{place} {quoted(name)}" for place, name in enumerate(own))
        raise UserError(
            f"task.labels: expected the order of the data, {order}; found"
            f" [{few(map(quoted, declared))}]; keep that order, or set null for the data's names"
        )
    return LabelRule.of(declared, own)


def _moved(declared: list[str], own: list[str]) -> bool:
    """Whether a name that the source gives one place is declared for another, however written."""
    ours, theirs = ([look(unparted(name)) for name in names] for names in (declared, own))
    return any(name in theirs and name not in theirs[at : at + 1] for at, name in enumerate(ours))


def _own_names(job: Job, params: TaskParams) -> list[str] | None:
    """The names that the source gives the places in its label column; all splits have the same.

    Raises:
        UserError: the notes of two files give other names.
    """
    source, columns = params.source, params.columns
    if isinstance(source, Judged) or not isinstance(columns, TaskColumns):
        return None
    column = columns.label
    if isinstance(source, TaskHub):
        return hub_label_names(source, source.train, column)
    files = {path: names_in_notes(path, column) for path in job.settings.splits.values() if path}
    noted = {path: names for path, names in files.items() if names}
    own = files[_given(job, "train")]
    for path, names in noted.items():
        if own and names != own:
            raise UserError(
                f"{path}: its notes give the labels the names [{few(map(quoted, names))}],"
                f" those of train [{few(map(quoted, own))}]"
            )
    return own


def _raw(job: Job, params: TaskParams, split: str) -> Iterator[Row]:
    """Rows of a split with the keys text and label, and reasoning and id where there are any."""
    source = params.source
    if isinstance(source, GeneratedTask | TwoHop):
        # One draw for all splits, since texts differ only within a draw.
        counts = [source.train, source.validation, source.test]
        place = SPLITS.index(split)
        start = sum(counts[:place])
        for line in _drawn(source, sum(counts))[start : start + counts[place]]:
            yield {part: getattr(line, part, "") for part in ("text", "label", "reasoning")}
        return
    columns = {part: name for part, name in params.columns.model_dump().items() if name}
    text = columns.pop("text")
    names = list(dict.fromkeys([*text, *columns.values()]))
    for row in _read(job, source, split, names):
        own = {part: row[name] for part, name in columns.items()}
        yield {"cluster": row[text[0]]} | own | {"text": joined(row, text)}


def _read(job: Job, source: Source, split: str, names: list[str]) -> Iterable[Row]:
    if isinstance(source, Judged):
        return read_rows(job.inputs["ratings"] / f"{split}.parquet", RATINGS)
    if isinstance(source, TaskHub):
        return read_hub(source, _of_split(source, split), names)
    return read_file(_given(job, split), names)


def _drawn(source: GeneratedTask | TwoHop, rows: int) -> Sequence[Any]:
    if isinstance(source, GeneratedTask):
        return emotions.texts(rows, source.seed)
    return two_hop.riddles(
        rows, source.words, source.both, source.honest, source.noise, source.seed
    )


def _clean(rows: Iterable[Row], rule: LabelRule, read: Split) -> Iterator[Row]:
    """Rows with an integer id and a label's name; `read` collects where they stand."""
    ids: set[int] = set()
    for number, row in enumerate(rows):
        where = f"{read.place}, row {number + 1}"
        if not isinstance(row["text"], str):
            raise UserError(f"{where}: expected a text, found {quoted(row['text'])}")
        if not row["text"].strip():
            read.empty.append(number + 1)
            continue
        identity = written(row.get("id", number)) or ""
        if not (identity.isdecimal() and int(identity) < 2**63):
            raise UserError(f"{where}: expected a whole number as id, found {quoted(row['id'])}")
        if int(identity) in ids:
            raise UserError(f"{where}: the id {identity} occurs twice")
        ids.add(int(identity))
        reasoning = row.get("reasoning")
        if not isinstance(reasoning, str | None):
            raise UserError(f"{where}: expected a text as reasoning, found {quoted(reasoning)}")
        try:
            label = rule.name(row["label"])
        except NoLabel as mistake:
            raise UserError(f"{where}: {mistake}") from None
        read.first.setdefault(label, number + 1)
        own = _setting(row, rule.scale, where) if rule.scale else {}
        clean = {"id": int(identity), "text": row["text"], "reasoning": reasoning or ""}
        yield clean | {"label": label} | own


def _setting(row: Row, scale: Scale, where: str) -> Row:
    """The rating, and what the row shares with others."""
    own = str(row.get("scale", scale)).replace(" ", "")
    if own != str(scale):
        raise UserError(f"{where}: a rating on the scale {cut(own)}, expected {scale} (task.scale)")
    shared = {part: written(row.get(part, part)) for part in ("cluster", "source", "dimension")}
    for part, name in shared.items():
        if name is None:
            raise UserError(f"{where}: expected a {part}, found {quoted(row[part])}")
    return {
        "rating": scale.rating(row["label"]),
        "cluster": folded(str(shared["cluster"])),
        "source": shared["source"] if "source" in row else "",
        "dimension": shared["dimension"] if "dimension" in row else "",
    }


def _missing(rows: dict[str, list[Row]], shares: CutSplits) -> dict[str, int]:
    """How many rows of train each split gets that the source does not have."""
    wanted = {"test": shares.test, "validation": shares.validation}
    numbers = {
        split: round(share * len(rows["train"]))
        for split, share in wanted.items()
        if split not in rows and share is not None
    }
    for split, number in numbers.items():
        if number == 0:
            raise UserError(
                f"task.split.{split}: {wanted[split]:g} of {len(rows['train'])} rows is no row"
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
    for part in ("source", "dimension"):
        if any(row[part] == ALL for split in SPLITS for row in rows[split]):
            raise UserError(f"task: a {part} is called {ALL!r}, which stands for all: rename it")
        if same := alike(row[part] for split in SPLITS for row in rows[split]):
            raise UserError(f"task: names of a {part} that look alike: {few(map(ascii, same))}")
    if len({row["label"] for row in rows["train"]}) < 2:
        raise UserError("task, train split: all ratings have one label")
    return scale.labels


def _filled(rows: dict[str, list[Row]]) -> None:
    for split in SPLITS:
        if not rows[split]:
            raise UserError(f"task, {split} split: no rows")


def _labels(
    rows: dict[str, list[Row]],
    declared: list[str] | None,
    rule: LabelRule,
    read: dict[str, Split],
) -> list[str]:
    """The names in order: as declared, as the source has them, or as sorted.

    Raises:
        UserError: a split is empty, or its labels are not what training can cover.
    """
    _filled(rows)
    in_train = {row["label"] for row in rows["train"]}
    order: Callable[[str], Any] = (
        (lambda name: (int(name), name)) if all(re.fullmatch(r"-?\d+", name) for name in in_train)
        else lambda name: (name.casefold(), name)
    )  # fmt: skip
    labels = [name for name in rule.names if name in in_train] if rule.names else []
    labels = labels or sorted(in_train, key=order)
    absent = [label for label in declared or () if label not in in_train]
    if absent:
        raise UserError(f"task, train split: no row has the label(s) {few(absent)}")
    if len(labels) < 2 or len(labels) > MOST_LABELS:
        raise UserError(
            f"task, train split: expected 2 to {MOST_LABELS} different labels, found"
            f" {len(labels)} ({', '.join([*map(quoted, labels[:3]), '...'][: len(labels)])});"
            " is task.columns.label the right column?"
        )
    train = read["train"]
    if same := alike(labels):
        placed = few(
            f"{name!a} (row {train.first[name]})"
            for name in sorted(same, key=train.first.__getitem__)
        )
        raise UserError(f"{train.place}: labels that look alike: {placed}")
    for split in ("validation", "test"):
        strange = {row["label"]: None for row in rows[split] if row["label"] not in in_train}
        if strange:
            raise _unlearned(split, list(strange), rows[split], in_train, read.get(split))
    return labels


def _unlearned(
    split: str, strange: list[str], rows: list[Row], in_train: set[str], read: Split | None
) -> UserError:
    """What is said of labels that no training text has."""
    where = f"{read.place}, row {read.first[strange[0]]}" if read else f"task, {split} split"
    hint = resembling(strange[0], in_train)
    if all(written(row["text"]) in in_train for row in rows):
        hint = "; its texts are labels of train: have the columns of text and label changed places?"
    names = few(map(quoted, strange))
    return UserError(f"{where}: label(s) that no training text has: {names}{hint}")


def _tell_rare(split: str, counts: Counter[str], labels: list[str]) -> None:
    """Name the labels on which a split has little or nothing to say."""
    for number, saying in ((0, "no row has"), (1, "a single row has")):
        rare = [label for label in labels if counts[label] == number]
        if rare:
            log.warning("%s: %s the label(s) %s", split, saying, few(rare))


if __name__ == "__main__":
    run(task)
