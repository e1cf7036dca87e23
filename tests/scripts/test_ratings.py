"""What several judges make together: the mean, one explanation, and how far they agree."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import tiny
from infuse.config.endpoints import ApiSampling
from infuse.core.files import read_csv, read_rows, write_rows
from infuse.core.schemas import JUDGMENTS, RATINGS
from infuse.evaluation.judges import DIMENSIONS as DIMENSION_LINES
from infuse.evaluation.judges import JUDGES, STYLES, merge_question, read_conversations, rescaled
from infuse.inference import api_client
from loopback_server import Answer, Asked, Server, completion, error, serve, small_model
from panels import DIMENSIONS, SAMPLING, conversations
from stage_runner import Outcome, RunStage

# What a judge gives: (conversation, dimension, style) -> score and explanation, or an outcome.
Gives = Callable[[int, str, str], tuple[float, str] | str]
ORDER = ["on_topic", "naturalness"]  # not by name


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.001)


def judge(folder: Path, texts: Path, styles: list[str], gives: Gives) -> Path:
    """A file of judgments, as the stage writes it."""
    folder.mkdir()
    rows = []
    for row in read_conversations(texts):
        for dimension in sorted(DIMENSIONS):
            for style in styles:
                given = gives(row["id"], dimension, style)
                low, high, _ = STYLES[style]
                score, explanation, outcome = (
                    (None, "", given) if isinstance(given, str) else (*given, "rated")
                )
                rows.append(
                    {
                        "split": row["split"], "id": row["id"], "dimension": dimension,
                        "style": style, "explanation": explanation, "outcome": outcome,
                        "tokens": 10, "score": score,
                        "rating": None if score is None else rescaled(score, low, high),
                    }
                )  # fmt: skip
    write_rows(folder / "judgments.parquet", rows, JUDGMENTS)
    return folder


def rated(
    run_stage: RunStage, tmp_path: Path, judges: Mapping[str, Path], server: Server | None = None
) -> Outcome:
    """The stage's result; with a server, its model merges."""
    merger, settings = None, {}
    if server is not None:
        merger = {"url": server.url, "model": "m"}
        settings = {
            "endpoint": server.endpoint().model_dump(),
            "answers": str(tmp_path / "answers"),
        }
    params = {"dimensions": ORDER, "merger": merger} | (SAMPLING if merger else {})
    inputs = {"conversations": tmp_path / "conversations"}
    inputs |= {f"judge {name}": folder for name, folder in judges.items()}
    return run_stage("ratings", params, inputs, settings)


@pytest.fixture
def two(tmp_path: Path) -> dict[str, Path]:
    """Judges of the six conversations 7 to 12; nobody rates the first's naturalness."""
    texts = conversations(tmp_path / "conversations")

    def kind(row: int, dimension: str, style: str) -> tuple[float, str] | str:
        if (row, dimension) == (7, "naturalness"):
            return "no_score"
        return (4, f"Kind: {style}.") if style == "one_to_four" else "truncated"

    def stern(row: int, dimension: str, style: str) -> tuple[float, str] | str:
        if row == 7:
            return "out_of_range" if dimension == "naturalness" else (2, "")
        return (1 if row % 2 else 2), f"Stern: {row}."

    styles = ["one_to_four", "one_to_four_examples"]
    return {
        "stern": judge(tmp_path / "stern", texts, ["one_to_five"], stern),
        "kind": judge(tmp_path / "kind", texts, styles, kind),
    }


def test_ratings_are_means_and_explanations_the_nearest(
    run_stage: RunStage, tmp_path: Path, two: dict[str, Path]
) -> None:
    done = rated(run_stage, tmp_path, two)
    texts = {row["id"]: row for row in read_conversations(tmp_path / "conversations")}
    train = read_rows(done.output / "train.parquet", RATINGS)
    assert [(row["id"], row["dimension"], row["rating"], row["explanation"]) for row in train] == [
        (14, "on_topic", 3.5, "Kind: one_to_four."),  # of 5 and 2, which says nothing
        (16, "on_topic", 3.5, "Kind: one_to_four."),  # both as near: judges go by name
        (17, "naturalness", 3.5, "Kind: one_to_four."),
        (18, "on_topic", 3.0, "Kind: one_to_four."),
        (19, "naturalness", 3.0, "Kind: one_to_four."),
    ]
    for split in ("train", "validation", "test"):
        for row in done.rows(f"{split}.parquet"):
            text = texts[row["id"] // 2]
            assert text["split"] == split
            parts = ("source", "cluster", "context", "response")
            assert [row[part] for part in parts] == [text[part] for part in parts]
    assert done.facts == {
        "rows": {"train": 5, "validation": 2, "test": 4},
        "unrated": {"rows": 1, "first": ["7 naturalness"]},
        "explanations": {"nearest": 11},
    }


def test_how_judges_agree(run_stage: RunStage, tmp_path: Path, two: dict[str, Path]) -> None:
    done = rated(run_stage, tmp_path, two)
    lines = read_csv(done.output / "judges.csv", JUDGES)
    by_judge = {(line["judge"], line["style"], line["dimension"]): line for line in lines}
    assert len(by_judge) == 6 and next(iter(by_judge)) == ("kind", "one_to_four", "on_topic")
    natural = by_judge["kind", "one_to_four", "naturalness"]
    assert (natural["n"], natural["rated"], natural["no_score"]) == (6, 5, 1)
    assert natural["mean_rating"] == 5 and natural["mean_tokens"] == 10
    # Stern gives 2, 1, 2, 1, 2 to the conversations 8 to 12; Kind always 5.
    assert natural["mean_absolute_difference"] == pytest.approx((3 + 4 + 3 + 4 + 3) / 5)
    assert natural["spearman"] is None and natural["explanations"] == 0
    cut = by_judge["kind", "one_to_four_examples", "naturalness"]
    assert (cut["rated"], cut["truncated"], cut["mean_rating"]) == (0, 5, None)
    stern = by_judge["stern", "one_to_five", "naturalness"]
    assert (stern["rated"], stern["out_of_range"]) == (5, 1)
    pairs = read_csv(done.output / "dimensions.csv", DIMENSION_LINES)
    assert [(line["source"], line["n"]) for line in pairs] == [("all", 5), ("a", 3), ("b", 2)]
    assert pairs[0]["dimension"] == "on_topic" and pairs[0]["pearson"] == pytest.approx(1)
    with (done.output / "dimensions.csv").open() as stream:
        assert list(csv.reader(stream))[3][4:] == ["", ""]  # not defined for two


def test_a_merger_writes_what_it_can(
    run_stage: RunStage, tmp_path: Path, two: dict[str, Path]
) -> None:
    """One reply is cut, one empty: there the nearest stands."""

    def merge(asked: Asked) -> Answer:
        if "Stern: 9." in asked.text:
            return Answer(completion("Merged, but", "length"))
        return Answer(completion(" " if "Stern: 8." in asked.text else " Merged. "))

    with serve(merge) as server:
        done = rated(run_stage, tmp_path, two, server)
        (only,) = [question for question in server.asked if "\n- Stern" not in question.text]
        assert only.text.count("\n- ") == 1  # what says nothing is not shown
        asked = len(server.asked)
        assert rated(run_stage, tmp_path, two, server).facts == done.facts
        assert len(server.asked) == asked
    explanations = {row["id"]: row["explanation"] for row in done.rows("train.parquet")}
    nearest = "Kind: one_to_four."
    assert explanations == {14: "Merged.", 16: nearest, 17: nearest, 18: nearest, 19: nearest}
    counts = done.facts["explanations"]
    assert counts == {"merged": 7, "empty": 2, "truncated": 2}
    assert done.facts["without_usage"] == 0 and done.facts["completion_tokens"] == 22


def test_a_real_model_merges(run_stage: RunStage, tmp_path: Path, two: dict[str, Path]) -> None:
    tiny.model().save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    speak = small_model(tmp_path / "model")
    with serve(
        lambda asked: speak(asked) if "Stern" in asked.text else Answer(completion("So."))
    ) as server:
        done = rated(run_stage, tmp_path, two, server)
        given = ["Kind: one_to_four.", "Stern: 12."]
        (reply,) = api_client.ask(
            server.endpoint(), [merge_question("naturalness", 3.5, given)],
            ApiSampling(**SAMPLING), tmp_path / "answers",
        )  # fmt: skip
    row = done.rows("test.parquet")[-1]
    whole = reply.finish == "stop" and reply.text.strip()
    assert row["id"] == 25 and row["explanation"] == (whole or "Kind: one_to_four.")
    assert sum(done.facts["explanations"].values()) == 11


def test_what_ends_a_merging(run_stage: RunStage, tmp_path: Path, two: dict[str, Path]) -> None:
    with serve(lambda _: error(404, "no such model")) as server:
        refused = rated(run_stage, tmp_path, two, server)
    assert "refuses a request (404): no such model" in refused.reason
    with serve(lambda _: Answer(completion(""))) as server:
        silent = rated(run_stage, tmp_path, two, server)
    assert silent.reason == (
        "ratings: none of 11 replies of the merging model holds a whole explanation (empty 11)"
    )


def test_a_split_that_nobody_rates(run_stage: RunStage, tmp_path: Path) -> None:
    texts = conversations(tmp_path / "conversations")
    folder = judge(
        tmp_path / "one", texts, ["one_to_five"],
        lambda row, *_: "empty" if row == 10 else (3, "So."),
    )  # fmt: skip
    done = rated(run_stage, tmp_path, {"one": folder})
    assert done.reason == (
        "ratings: no conversation of a split has a rating: {'train': 6, 'validation': 0, 'test': 4}"
    )


def test_judgments_of_other_conversations_are_refused(run_stage: RunStage, tmp_path: Path) -> None:
    conversations(tmp_path / "conversations")
    others = conversations(tmp_path / "others", train=4)
    folder = judge(tmp_path / "one", others, ["one_to_five"], lambda *_: (3, "So."))
    assert rated(run_stage, tmp_path, {"one": folder}).reason == (
        f"{folder}/judgments.parquet: expected a judgment of each conversation, on the dimensions "
        "['naturalness', 'on_topic'] in each style"
    )
