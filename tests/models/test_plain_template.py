"""A base model's tokenizer: it knows no chat, so it gets the plain template."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

import tiny
from infuse.data.answers import read_answer
from infuse.data.encoder import Encoder
from infuse.data.examples import Target, classifier_pieces
from infuse.models.loading import load_tokenizer, save
from stage_runner import Outcome, RunStage

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how such a tokenizer writes one
SYSTEM, LABELS = "Rate the response.", ["1", "2", "joy", "not joy"]
SEPARATORS: dict[str, str] = {"reason_label": "\n\nRating: ", "label_reason": "\n\nReasoning: "}
WORDS = [
    "<s>", "</s>", "<unk>", "<0x41>", "joy", "Answer:", "\n", "\n\n", " ", "\t", "12", "日本語",
    "e\u0301", "\x00", "{{ x }}",
]  # fmt: skip
TEXTS = (
    st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=8)
    .map("".join)
    .filter(lambda text: SPACE not in text)
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base model."""
    folder = tmp_path_factory.mktemp("bare")
    model = tiny.mistral()
    model.resize_token_embeddings(len(tiny.llama_2()))
    save(model, tiny.llama_2(), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(bare: Path) -> PreTrainedTokenizerFast:
    return load_tokenizer(bare, "plain")


@pytest.fixture(scope="module")
def encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer, SYSTEM)


def imported(run_stage: RunStage, folder: Path, template: str | None) -> Outcome:
    params = {
        "kind": "folder", "content": "a hash", "pad_token": "<unk>", "chat_template": template
    }  # fmt: skip
    return run_stage("base", params, settings={"path": str(folder)})


def test_a_base_model_is_given_a_template_and_no_token(run_stage: RunStage, bare: Path) -> None:
    refused = imported(run_stage, bare, None)
    said = "the tokenizer has no chat_template; base.chat_template: plain gives it one"
    assert refused.reason == f"{bare}: {said}"
    done = imported(run_stage, bare, "plain")
    assert done.facts["parameters"]
    templated = load_tokenizer(done.output)
    assert (templated.pad_token, templated.eos_token) == ("<unk>", "</s>")
    assert templated.get_vocab() == tiny.llama_2().get_vocab()
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": " a text\n"}]
    said = templated.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert said == "<s>Rate the response.\n\na text\n\nAnswer:"
    assert Encoder(templated, SYSTEM).chats(["a text"]) == Encoder(
        load_tokenizer(bare, "plain"), SYSTEM
    ).chats(["a text"])


@settings(max_examples=100)
@given(text=TEXTS)
def test_texts_come_back(encoder: Encoder, text: str) -> None:
    assert encoder.text(encoder.plain([text])[0]) == text


def test_a_part_begins_with_a_space(tokenizer: PreTrainedTokenizerFast, encoder: Encoder) -> None:
    """So a prompt and its answer keep apart."""
    (ids,) = encoder.plain(["joy"])
    assert tokenizer.convert_ids_to_tokens(ids)[0].startswith(SPACE)
    # The template ends without one for this.
    whole = encoder.chats(["i feel sad"])[0] + ids
    assert encoder.text(whole) == "Rate the response.\n\ni feel sad\n\nAnswer: joy"


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(TEXTS, st.sampled_from(LABELS), TEXTS.filter(lambda text: text.strip() != "")),
        min_size=5, max_size=5,
    ),
    target=st.sampled_from(sorted(SEPARATORS)),
)  # fmt: skip
def test_scoring_meets_the_tokens_of_training(
    encoder: Encoder, rows: list[tuple[str, str, str]], target: Target
) -> None:
    texts, labels, reasons = (list(column) for column in zip(*rows, strict=True))
    separator = SEPARATORS[target]
    pieces = classifier_pieces(encoder, texts, labels, reasons, target, separator)
    between = encoder.plain([separator])[0]
    for piece, text, label in zip(pieces, texts, labels, strict=True):
        tokens = piece.prompt + piece.target
        assert tokens[:1] == encoder.begin and tokens.count(tokens[0]) == 1
        assert (tokens[-1], tokens.count(encoder.end_of_turn)) == (encoder.end_of_turn, 1)
        (prompt,), (name,) = encoder.chats([text]), encoder.plain([label])
        start = len(piece.prompt) + piece.label_start
        assert tokens[start : start + piece.label_tokens] == name
        written = encoder.text(piece.target)  # as a classifier that learnt it by heart
        read = read_answer(written, "stop", LABELS, target, separator)
        assert read.predicted == label
        if target == "label_reason":
            assert tokens[: len(prompt + name + between)] == prompt + name + between
        else:
            reason = encoder.plain([read.reasoning])[0]
            assert tokens == [*prompt, *reason, *between, *name, encoder.end_of_turn]
