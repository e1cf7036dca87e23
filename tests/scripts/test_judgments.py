"""One judge's judgments: a real small model, judges of all manners, and a simulated one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tiny
from infuse.config.endpoints import ApiSampling
from infuse.config.judging import Rated
from infuse.core.files import read_rows
from infuse.core.schemas import JUDGMENTS
from infuse.data.judge_styles import STYLES
from infuse.evaluation.judge_replies import read
from infuse.evaluation.judges import question, read_conversations, rescaled
from infuse.inference import api_client
from loopback_server import (
    Answer,
    Asked,
    Server,
    completion,
    error,
    refusing,
    scripted,
    serve,
    small_model,
)
from panels import DIMENSIONS, EXAMPLES, SAMPLING, asking, conversations, simulated, verdict
from stage_runner import Outcome, RunStage

KEY = "sk-planted-0123456789"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.001)


def judge_of(server: Server) -> dict[str, Any]:
    return {"kind": "endpoint", "endpoint": {"url": server.url, "model": "m"}}


def judged(
    run_stage: RunStage, tmp_path: Path, server: Server, styles: list[str], **section: Any
) -> Outcome:
    """The stage's result, on the six conversations."""
    texts = tmp_path / "conversations"
    settings = {
        "endpoint": server.endpoint(**section).model_dump(), "answers": str(tmp_path / "answers")
    }  # fmt: skip
    return run_stage(
        "judgments", asking(judge_of(server), styles),
        {"conversations": texts if texts.is_dir() else conversations(texts)}, settings,
    )  # fmt: skip


def test_a_real_model_beside_one_that_answers_well(run_stage: RunStage, tmp_path: Path) -> None:
    """The model writes what it will where no examples are shown; each row is what it wrote."""
    tiny.model().save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    speak = small_model(tmp_path / "model")

    def answer(asked: Asked) -> Answer:
        if "For example" in asked.text:
            return Answer(completion(verdict(3, "Ex."), usage=(40, 9)))
        return speak(asked)

    styles = ["one_to_four", "one_to_four_examples"]
    with serve(answer) as server:
        done = judged(run_stage, tmp_path, server, styles, prices={"input": 1.0, "output": 2.0})
        asked = len(server.asked)
        texts = read_conversations(tmp_path / "conversations")
        questions = [
            question(style, dimension, DIMENSIONS[dimension]["definition"], row["context"],
                     row["response"], [Rated.model_validate(line) for line in EXAMPLES])
            for row in texts for dimension in sorted(DIMENSIONS) for style in styles
        ]  # fmt: skip
        replies = api_client.ask(
            server.endpoint(), questions, ApiSampling(**SAMPLING), tmp_path / "answers"
        )
    assert asked == len(server.asked) == 6 * 2 * 2
    rows = read_rows(done.output / "judgments.parquet", JUDGMENTS)
    assert [(row["split"], row["id"], row["dimension"], row["style"]) for row in rows] == [
        (text["split"], text["id"], dimension, style)
        for text in texts for dimension in sorted(DIMENSIONS) for style in styles
    ]  # fmt: skip
    for row, reply in zip(rows, replies, strict=True):
        judgment = read(reply.text, reply.finish, 1, 4)
        assert (row["score"], row["explanation"], row["outcome"]) == judgment
        assert row["tokens"] == reply.completion_tokens
    assert [row["rating"] for row in rows[1::2]] == [rescaled(3, 1, 4)] * 12
    assert {row["outcome"] for row in rows[::2]} <= {"truncated", "no_score", "empty"}
    usage = [sum(getattr(reply, f"{part}_tokens") for reply in replies)
             for part in ("prompt", "completion")]  # fmt: skip
    assert done.facts["prompt_tokens"] == usage[0] and done.facts["completion_tokens"] == usage[1]
    assert done.facts["cost"] == pytest.approx((usage[0] + 2 * usage[1]) / 1e6)


def test_judges_of_all_manners_are_counted(run_stage: RunStage, tmp_path: Path) -> None:
    manners = {
        "#7": (verdict(5), "stop", "rated"),
        "#8": ("I like it.", "stop", "no_score"),
        "#9": (verdict(9), "stop", "out_of_range"),
        "#10": (verdict(4)[:-9], "length", "truncated"),
        "#11": (" ", "stop", "empty"),
        "#12": ("Score: 2\nExplanation: Weak.", "stop", "rated"),
    }

    def answer(asked: Asked) -> Answer:
        name = next(name for name in manners if f"{name}.\n" in asked.text)
        return Answer(completion(*manners[name][:2], usage=None))

    with serve(answer) as server:
        done = judged(run_stage, tmp_path, server, ["one_to_five"])
    rows = done.rows("judgments.parquet")
    assert [row["outcome"] for row in rows[::2]] == [manner[2] for manner in manners.values()]
    assert [row["rating"] for row in rows[::2]] == [5, None, None, None, None, 2]
    assert rows[-1]["explanation"] == "Weak." and rows[2]["tokens"] == 3
    assert done.facts == {
        "rows": 12,
        "outcomes": {"rated": 4, "no_score": 2, "out_of_range": 2, "truncated": 2, "empty": 2},
        "prompt_tokens": 0, "completion_tokens": 0, "without_usage": 12, "cost": None,
        "refused": 0, "too_long": 0,
    }  # fmt: skip


def test_a_judge_without_any_score_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    with serve(scripted("As a model,\nno.")) as server:
        done = judged(run_stage, tmp_path, server, ["one_to_four"])
    assert done.reason == (
        "judgments: none of 12 replies holds a score (no_score 12), for example 'As a model,\\nno.'"
    )


def test_a_key_that_is_missing_or_refused_is_told(
    run_stage: RunStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with serve(refusing(KEY, scripted(verdict(2)))) as server:
        missing = judged(run_stage, tmp_path, server, ["one_to_four"], key_variable="JUDGE_KEY")
        assert missing.reason == f"endpoint: {server.url} needs a key: $JUDGE_KEY is not set"
        assert not server.asked
        monkeypatch.setenv("JUDGE_KEY", "sk-another-one")
        wrong = judged(run_stage, tmp_path, server, ["one_to_four"], key_variable="JUDGE_KEY")
        assert "refuses the key in $JUDGE_KEY (401)" in wrong.reason
        monkeypatch.setenv("JUDGE_KEY", KEY)
        done = judged(run_stage, tmp_path, server, ["one_to_four"], key_variable="JUDGE_KEY")
    assert done.facts["outcomes"] == {"rated": 12}
    held = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in held if KEY.encode() in file.read_bytes()]


def test_a_run_that_was_cut_short_goes_on(run_stage: RunStage, tmp_path: Path) -> None:
    def weary(asked: Asked) -> Answer:
        if asked.number == 5:
            return error(403, "enough for today")
        return Answer(completion(verdict(2)))

    with serve(weary) as server:
        cut = judged(run_stage, tmp_path, server, ["one_to_five"], concurrency=1)
        assert cut.reason.endswith(
            "refuses a request (403): enough for today; 5 of 12 replies are kept, and the same "
            "command goes on"
        )
        done = judged(run_stage, tmp_path, server, ["one_to_five"], concurrency=1)
    assert len(server.asked) == 12 + 1
    assert done.facts["outcomes"] == {"rated": 12}


def test_a_simulated_judge(
    run_stage: RunStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked on the style's own scale, and each style is a draw of its own."""
    seen = []

    def opinion(
        context: str, response: str, dimension: str, low: int, high: int,
        judge: dict[str, Any], draw: int,
    ) -> str:  # fmt: skip
        seen.append((response, dimension, low, high, draw))
        assert judge == {"bias": 0.0, "noise": 0.0, "faults": 0.0, "seed": 1}
        return verdict(high, f"{context} {dimension}") if draw else ""

    module = ModuleType("infuse.synthetic.dialogues")
    monkeypatch.setattr(module, "opinion", opinion, raising=False)
    monkeypatch.setitem(sys.modules, "infuse.synthetic.dialogues", module)
    texts = conversations(tmp_path / "conversations")
    done = run_stage("judgments", simulated(list(STYLES)), {"conversations": texts})
    rows = done.rows("judgments.parquet")
    assert seen[:4] == [
        ("{score} is #7.", "naturalness", 1, 4, 0), ("{score} is #7.", "naturalness", 1, 4, 1),
        ("{score} is #7.", "naturalness", 1, 5, 2), ("{score} is #7.", "naturalness", 1, 5, 3),
    ]  # fmt: skip
    assert [row["outcome"] for row in rows] == ["empty", "rated", "rated", "rated"] * 12
    assert [row["score"] for row in rows[:4]] == [None, 4, 5, 5]
    assert [row["rating"] for row in rows[:4]] == [None, 5, 5, 5]
    assert done.facts == {"rows": 48, "outcomes": {"empty": 12, "rated": 36}}


def test_the_order_of_dimensions_changes_nothing(run_stage: RunStage, tmp_path: Path) -> None:
    """The key does not tell it, so the file must not depend on it."""
    texts = conversations(tmp_path / "conversations")
    turned = dict(reversed(DIMENSIONS.items()))
    settings = {"answers": str(tmp_path / "answers")}
    with serve(scripted(verdict(2))) as server:
        settings |= {"endpoint": server.endpoint().model_dump()}
        forward, backward = (
            run_stage(
                "judgments", asking(judge_of(server), ["one_to_four"], dimensions=dimensions),
                {"conversations": texts}, settings, name=name,
            )
            for name, dimensions in (("one", DIMENSIONS), ("other", turned))
        )  # fmt: skip
    assert forward.rows("judgments.parquet") == backward.rows("judgments.parquet")


def test_conversations_of_another_form_are_named(run_stage: RunStage, tmp_path: Path) -> None:
    texts = conversations(tmp_path / "conversations")
    (texts / "test.parquet").unlink()
    done = run_stage("judgments", simulated(["one_to_four"]), {"conversations": texts})
    assert done.reason == f"{texts}/test.parquet: no such file"
