"""Whether the first compared arm is better than the second, in words that need no statistics.

IN   metrics of all arms; the classifiers and answers of the two
OUT  verdict.md, copied to results/

Run as: python scripts/verdict.py results/specs/verdict/NAME-KEY.json
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from infuse.config.arms import Arm
from infuse.config.report_params import VerdictParams
from infuse.core.errors import UserError
from infuse.core.files import read_task, write_text
from infuse.evaluation import comparisons as pairs
from infuse.evaluation import scores, stats
from infuse.evaluation.metrics_files import read_numbers
from infuse.evaluation.scores import Row
from infuse.reporting import verdict as report
from infuse.workflow.job import Job, run

VERSION = 6


def verdict(job: Job) -> dict[str, Any]:
    """Write the page."""
    params = VerdictParams.model_validate(job.params)
    if params.pair is None:
        raise UserError(
            "comparisons: expected two arms to compare, as in comparisons: [[reason_label, label]]"
        )
    compared, means, baselines, costs = read_numbers(
        job.inputs["metrics"], "comparisons", "means", "baselines", "costs"
    )
    test = read_task(job.inputs["task"], "test")
    written = scores.all_answers(job.inputs, test, params.arms, params.seeds)
    comparison = next(
        row
        for row in compared
        if (row["arm"], row["against"], row["measure"]) == (*params.pair, "accuracy")
    )
    ours, other = (_side(job, params, name, written, costs) for name in params.pair)
    right = pairs.MEASURES["accuracy"]
    enough = stats.enough(
        pairs.right_answers(ours.name, written, right)
        - pairs.right_answers(other.name, written, right),
        scores.clusters_of(test),
        report.half_to_settle(comparison),
    )
    name = job.name.removeprefix("verdict ")
    page = report.page(name, ours, other, comparison, means, baselines, enough, written)
    write_text(job.out / "verdict.md", page)
    return {"verdict": report.verdict(comparison)}


def _side(
    job: Job, params: VerdictParams, arm: str, written: pairs.Runs, costs: Sequence[Row]
) -> report.Side:
    """What one arm is, and what its answers cost."""
    answers = [row for (name, _), rows in written.items() if name == arm for row in rows]
    names = {f"{arm}-seed{seed}" for seed in params.seeds}
    seconds = sum(
        row["seconds"] for row in costs if row["stage"] == "predictions" and row["name"] in names
    )
    form = params.arms[arm]
    vote = form.vote if isinstance(form, Arm) else None
    return report.Side(
        arm,
        form.target,
        isinstance(form, Arm) and form.perturb is not None,
        vote.answers if vote else 1,
        str(job.inputs[f"classifier {arm}-seed{params.seeds[0]}"]),
        fmean(row["tokens"] for row in answers),
        seconds / len(answers),
        sum(row["outcome"] == "truncated" for row in answers) / len(answers),
    )


if __name__ == "__main__":
    run(verdict)
