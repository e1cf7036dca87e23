"""The page of plain words says what the tables say, and what they do not settle stays open."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pages
from infuse.config.settings import Settings
from infuse.core.errors import UserError
from infuse.core.files import read_csv
from infuse.evaluation import comparisons as pairs
from infuse.reporting import verdict as report
from infuse.workflow.job import Job
from trees import Tree, tiny_plan
from verdict import verdict


def written(root: Path, study: pages.Study, pair: tuple[str, str] | None = ("why", "label")) -> str:
    """The page of a made-up study."""
    pages.page(root, study)
    runs = [f"{arm}-seed{seed}" for arm in study.arms for seed in study.seeds]
    inputs = {"task": root / "task", "metrics": root / "metrics"} | {
        f"{stage} {run}": root / f"{stage} {run}"
        for run in runs
        for stage in ("classifier", "predictions")
    }
    params = {"arms": study.arms, "seeds": list(study.seeds), "pair": pair}
    (root / "out").mkdir()
    verdict(Job("verdict made-up", params, Settings(), inputs, root, root / "out"))
    return (root / "out/verdict.md").read_text()


@pytest.mark.parametrize(
    ("rates", "seeds", "said"),
    [
        ({"why": 0.95, "label": 0.5}, (1, 2), "**Yes.** `why` gets "),
        ({"why": 0.5, "label": 0.95}, (1, 2), "**No, it does harm.** `why` gets "),
        ({"why": 0.6, "label": 0.6}, (1,), "**It can't be told yet.** `why` gets "),
    ],
)
def test_what_is_said_and_which_arm_is_named(
    rates: dict[str, float], seeds: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    page = written(tmp_path, pages.Study(rates=rates, seeds=seeds, test=120))
    assert page.startswith("# Does a reasoning help?\n") and said in page
    rows = read_csv(tmp_path / "metrics/comparisons.csv", pairs.COMPARISONS)
    for number in ("difference", "low", "high"):
        assert f"{100 * rows[0][number]:+.1f} points".replace("-", "\u2212") in page
    chosen = "why" if "Yes" in said else "label"
    assert f"classify.py --model {tmp_path}/classifier {chosen}-seed1 " in page
    open_still = re.search(
        r"this would settle it: about ([\d,]+) labelled test texts \(now 120\)", page
    )
    assert (open_still is not None) == ("told" in said)
    assert open_still is None or int(open_still[1].replace(",", "")) > 120
    assert ("One seed was trained." in page) == (len(seeds) == 1)


def test_where_answers_vote_the_page_says_that_the_command_asks_once(tmp_path: Path) -> None:
    arms = {"label": pages.LABEL, "why": pages.WHY | {"vote": {"answers": 5}}}
    study = pages.Study(arms=arms, rates={"why": 0.95, "label": 0.3}, test=120)
    page = written(tmp_path, study)
    assert "It asks once. The numbers above are of 5 answers that vote." in page


@pytest.mark.parametrize("unread", ["no_answer", "truncated"])
def test_answers_that_were_cut_are_told_of_both_arms(unread: str, tmp_path: Path) -> None:
    page = written(tmp_path, pages.Study(test=40, unread=unread))
    for arm in ("why", "label"):
        cut = f"**5.0 % of the answers of `{arm}` are cut**, and count as wrong."
        assert (cut in page) == (unread == "truncated")


def test_a_single_text_asks_for_others(tmp_path: Path) -> None:
    page = written(tmp_path, pages.Study(test=1, rates={"why": 1.0, "label": 0.0}))
    assert "or there is just one text. So nothing is known of others." in page


def test_texts_are_data(tmp_path: Path) -> None:
    """Nothing of a text is read as Markdown or HTML; a wrong reading quotes what was written."""
    study = pages.Study(
        first=[pages.HOSTILE, "# no *title*"], test=30, rates={"why": 0.0, "label": 0.4}, train=40
    )
    page = written(tmp_path, study)
    misread = page.split("## What it misreads most")[1]
    assert not re.search(r"(?<!\\)[<#*_]", re.sub(r"\*\*", "", misread))
    assert all(line[:2] in ("", "> ", ">", "**") for line in misread.splitlines())


@given(low=st.floats(-1, 1), high=st.floats(-1, 1))
def test_an_interval_has_one_answer(low: float, high: float) -> None:
    low, high = sorted((low, high))
    row: dict[str, Any] = {"low": low, "high": high}
    said = report.verdict(row)
    assert (said == "yes") == (low > 0)
    if said == "no":
        assert high < report.WORTH
    if said == "open":
        assert low <= 0 and high >= report.WORTH


def test_one_arm_has_nothing_to_be_held_against(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="comparisons: expected two arms to compare"):
        written(tmp_path, pages.Study(), None)


def test_the_workflow_makes_it(built: Tree, tmp_path: Path) -> None:
    """In a copy: other tests count the pages of the tree."""
    tree = Tree(shutil.copytree(built.root, tmp_path / "tree"))
    said = tree.run("results/verdict.md")
    assert said.returncode == 0, said.stderr
    page = (tree.root / "results/verdict.md").read_text()
    folder = tree.root / tiny_plan().arms.inputs["metrics"].path
    first = read_csv(folder / "comparisons.csv", pairs.COMPARISONS)[0]
    assert f"`{first['arm']}` gets " in page and f"`{first['against']}` " in page
    command = re.search(r"--model (\S+) ", page)
    assert command and (tree.root / command[1] / "classifier.json").is_file()
