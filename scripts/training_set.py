"""What a classifier learns from: (text, label), or (text, reasoning, label).

IN   task; reasonings; the base model, whose tokens are counted where reasonings are perturbed
OUT  train.parquet, validation.parquet: id, text, [reasoning,] label

Run as: python scripts/training_set.py results/specs/training_set/NAME-KEY.json
"""

import itertools
import logging
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from infuse.config.model_params import TrainingSetParams
from infuse.core.errors import UserError
from infuse.core.files import read_candidates, read_labels, read_task, write_rows
from infuse.core.manifest import read_provenance
from infuse.core.schemas import TEXT_LABEL, TEXT_REASONING_LABEL
from infuse.data.perturbations import Kind
from infuse.data.reasoning_checks import Check, passed
from infuse.workflow.job import Job, run

VERSION = 5
log = logging.getLogger("infuse")
Row = dict[str, Any]


def training_set(job: Job) -> dict[str, Any]:
    """Join reasonings to texts; a text without a reasoning is left out, counted and named.

    So is a training text none of whose reasonings passes `keep`; of several, the first is taken.
    """
    params = TrainingSetParams.model_validate(job.params)
    facts: dict[str, Any] = {}
    schema = TEXT_LABEL
    reasons: dict[tuple[str, int], list[Row]] | None = None
    if "reasonings" in job.inputs:
        schema = TEXT_REASONING_LABEL
        reasons = {}
        for row in itertools.chain(*read_candidates(job.inputs["reasonings"])):
            if row["reasoning"].strip():
                reasons.setdefault((row["split"], row["id"]), []).append(row)
    candidates: dict[str, list[Row]] = {}
    splits: dict[str, list[Row]] = {}
    for split in ("train", "validation"):
        rows = read_task(job.inputs["task"], split)
        missing: list[int] = []
        if reasons is not None:
            missing = [row["id"] for row in rows if (split, row["id"]) not in reasons]
            rows = [row | own for row in rows for own in reasons.get((split, row["id"]), ())]
        if split == "train" and not rows:
            raise UserError("training set: no training text has a reasoning")
        candidates[split], rows = rows, _firsts(rows)
        splits[split] = rows
        facts[split] = {
            "rows": len(rows),
            "no_reasoning": {"rows": len(missing), "first": missing[:5]},
        }
        log.info("%s: %d rows, %d without a reasoning %s", split, len(rows), len(missing),
                 missing[:5] or "")  # fmt: skip
    if params.keep:
        splits["train"], failed = _kept(candidates["train"], params.keep, job)
        facts["train"] |= {"rows": len(splits["train"]), "failed": failed}
    if "reasonings" in job.inputs:
        recorded = read_provenance(job.inputs["reasonings"])["facts"]
        facts["train"] |= {k: v for k, v in recorded.items() if k == "teacher_accuracy"}
    if params.perturb is not None:
        _perturb(job, params.perturb, splits, facts)
    for split, rows in splits.items():
        write_rows(job.out / f"{split}.parquet", rows, schema)
    return facts


def _firsts(rows: list[Row]) -> list[Row]:
    """The first row of each text; its candidates stand together."""
    return [next(own) for _, own in itertools.groupby(rows, itemgetter("id"))]


def _kept(rows: list[Row], checks: Sequence[Check], job: Job) -> tuple[list[Row], dict[Check, int]]:
    """Of each text, the first row whose reasoning passes all checks; and how many fail each."""
    labels = read_labels(job.inputs["task"])
    passes = {check: passed(check, rows, labels) for check in checks}
    failed = {check: results.count(False) for check, results in passes.items()}
    kept = _firsts([row for row, *each in zip(rows, *passes.values(), strict=True) if all(each)])
    log.info("train: %d of %d rows are kept, failed: %s", len(kept), len(_firsts(rows)), failed)
    if not kept:
        raise UserError(f"training set: no reasoning passes `keep`, failed: {failed}")
    return kept, failed


def _perturb(job: Job, kind: Kind, splits: dict[str, list[Row]], facts: dict[str, Any]) -> None:
    """Put pseudo-reasonings in the place of reasonings; count those that are not as long."""
    from infuse.data import perturbations
    from infuse.data.encoder import Encoder
    from infuse.models import loading

    encoder = Encoder(loading.load_tokenizer(job.inputs["base"]))

    def measure(texts: Any) -> list[int]:
        return [len(ids) for ids in encoder.plain(texts)]

    reasoned = {
        split: [
            perturbations.Reasoned(f"{split} {row['id']}", row["label"], row["reasoning"].strip())
            for row in rows
        ]
        for split, rows in splits.items()
    }
    labels = read_labels(job.inputs["task"])
    for split, rows in splits.items():
        perturbed = perturbations.perturb(kind, reasoned[split], reasoned["train"], labels, measure)
        own = [row.reasoning for row in reasoned[split]]
        facts[split]["other_length"] = sum(
            abs(tokens - wanted) > 1
            for tokens, wanted in zip(measure(perturbed), measure(own), strict=True)
        )
        unchanged = sum(a == b for a, b in zip(perturbed, own, strict=True))
        facts[split]["unchanged"] = unchanged
        # Many a reasoning names no label.
        if kind != "mask_labels" and split == "train" and 2 * unchanged > len(rows):
            alike = kind.startswith("other") and 2 * len(set(own)) <= len(own)
            why = "many are the same text" if alike else "nothing else has as many tokens"
            raise UserError(
                f"training set: perturb {kind} leaves {unchanged} of {len(rows)} reasonings as they"
                f" are: {why}; take another {'source of reasonings' if alike else 'kind'}"
            )
        splits[split] = [
            row | {"reasoning": text} for row, text in zip(rows, perturbed, strict=True)
        ]
    log.info(
        "for example: %r became %r", reasoned["train"][0].reasoning, splits["train"][0]["reasoning"]
    )


if __name__ == "__main__":
    run(training_set)
