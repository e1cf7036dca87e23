"""Documents: one beginning, one end, and loss on the target alone, whatever the texts hold."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

import tiny
from infuse.core.errors import UserError
from infuse.data.answers import read_answer
from infuse.data.encoder import Encoder
from infuse.data.examples import (
    Documents,
    Piece,
    Target,
    classifier_pieces,
    collect,
    reasoner_pieces,
    text_pieces,
)
from infuse.data.prompts import asked, reasoner_prompt
from infuse.data.targets import EXPLAINED, REASONED
from infuse.models.loading import SPECIAL

SYSTEM, DATE = "Find the emotion in the text.", "26 Jul 2024"
LABELS = ["sadness", "joy", "<|eot_id|>", "very angry"]
SEPARATORS: dict[str, str | None] = {
    "label": None, "reason_label": "\n\nEmotion: ", "label_reason": "\n\nReasoning: ",
}  # fmt: skip
WORDS = [
    *SPECIAL, "<|eot", "_id|>", "user", "assistant", "joy", "Emotion: ", "\n", "\n\n", " ", "\t",
    "\u00a0", "\N{OBJECT REPLACEMENT CHARACTER}", "naïve", "日本語",
    "👩\u200d👩\u200d👧", "e\u0301", "\x00", "{{ x }}",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=8).map("".join)
PROSE = st.lists(
    st.sampled_from(["i", "feel", "sad,", "12", "didn't", "because", "the", "day!", "naïve"]),
    min_size=1, max_size=12,
).map(" ".join)  # fmt: skip
TOKENIZERS = {"scratch": tiny.tokenizer, "llama 3": tiny.llama_3}


@pytest.fixture(scope="module", params=sorted(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]()


@pytest.fixture(scope="module")
def encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer, SYSTEM, DATE)


def rendered(tokenizer: PreTrainedTokenizerFast, text: str, system: str = SYSTEM) -> str:
    """The chat before the answer, by the template itself."""
    messages = [{"role": "system", "content": system}] if system else []
    return str(
        tokenizer.apply_chat_template(
            [*messages, {"role": "user", "content": text}],
            tokenize=False, add_generation_prompt=True, date_string=DATE,
        )
    )  # fmt: skip


def answer(target: Target, reason: str, label: str) -> str:
    """What the target says."""
    between = SEPARATORS[target] or ""
    return {
        "label": label,
        "reason_label": reason.strip() + between + label,
        "label_reason": label + between + reason.strip(),
    }[target]


def specials(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[int]:
    """The special tokens among `ids`."""
    return [token for token in ids if token in set(tokenizer.convert_tokens_to_ids(SPECIAL))]


@settings(max_examples=50)
@given(
    rows=st.lists(st.tuples(TEXTS, st.sampled_from(LABELS), TEXTS), min_size=20, max_size=20),
    target=st.sampled_from(["label", *EXPLAINED]),
)
def test_chats_begin_once_end_once_and_bear_loss_on_the_target(
    tokenizer: PreTrainedTokenizerFast,
    encoder: Encoder,
    rows: list[tuple[str, str, str]],
    target: Target,
) -> None:
    texts, labels, reasons = (list(column) for column in zip(*rows, strict=True))
    pieces = classifier_pieces(encoder, texts, labels, reasons, target, SEPARATORS[target])
    frame = specials(tokenizer, encoder.chats([""])[0])
    assert [piece.row for piece in pieces] == list(range(20))
    for piece, text, label, reason in zip(pieces, texts, labels, reasons, strict=True):
        if target != "label" and not reason.strip():
            assert piece.target == []
            continue
        documents, _ = collect([piece], 100_000)
        tokens, start = documents[0].tolist(), int(documents.starts[0])
        assert tokens[:1] == encoder.begin and tokens.count(tokens[0]) == 1
        assert specials(tokenizer, tokens[:start]) == frame
        assert specials(tokenizer, tokens[start:]) == [encoder.end_of_turn]
        assert tokens[-1] == encoder.end_of_turn
        said = answer(target, reason, label)
        assert tokenizer.decode(tokens[:start]) == rendered(tokenizer, text)
        assert tokenizer.decode(tokens[start:]) == said + "<|eot_id|>"
        assert encoder.text(tokens[start:]) == said
        assert encoder.text(encoder.plain([label])[0]) == label
        assert documents.label_tokens[0] == piece.label_tokens == len(encoder.plain([label])[0])


def test_the_template_itself_would_let_a_text_end_the_turn(
    tokenizer: PreTrainedTokenizerFast, encoder: Encoder
) -> None:
    text = "joy<|eot_id|>"
    naive = tokenizer.encode(rendered(tokenizer, text), add_special_tokens=False)
    assert (
        naive.count(encoder.end_of_turn) == encoder.chats([text])[0].count(encoder.end_of_turn) + 1
    )


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(TEXTS, st.sampled_from(LABELS), TEXTS.filter(lambda text: text.strip() != "")),
        min_size=5, max_size=5,
    )
)  # fmt: skip
def test_scoring_meets_the_tokens_of_training(
    encoder: Encoder, rows: list[tuple[str, str, str]]
) -> None:
    texts, labels, reasons = (list(column) for column in zip(*rows, strict=True))
    separator = SEPARATORS["reason_label"]
    assert separator is not None
    pieces = classifier_pieces(encoder, texts, labels, reasons, "reason_label", separator)
    for piece, text, label in zip(pieces, texts, labels, strict=True):
        written = encoder.text(piece.target[:-1])  # as a classifier that learnt it by heart
        read = read_answer(written, "stop", LABELS, "reason_label", separator)
        assert (read.outcome, read.predicted) == ("answered", label)
        scored = [
            *encoder.chats([text])[0], *encoder.plain([read.reasoning])[0],
            *encoder.plain([separator])[0], *encoder.plain([label])[0], encoder.end_of_turn,
        ]  # fmt: skip
        assert scored == piece.prompt + piece.target


def test_tokenized_as_one_the_target_would_differ(encoder: Encoder) -> None:
    piece = classifier_pieces(encoder, ["t"], ["joy"], ["so"], "reason_label", " Emotion: ")[0]
    assert encoder.plain(["so Emotion: joy"])[0] != piece.target[:-1]


@settings(max_examples=100)
@given(text=PROSE, system=st.one_of(st.just(""), PROSE))
def test_ordinary_chats_have_the_tokens_of_the_whole_template(
    tokenizer: PreTrainedTokenizerFast, text: str, system: str
) -> None:
    whole = tokenizer.encode(rendered(tokenizer, text, system), add_special_tokens=False)
    assert Encoder(tokenizer, system, DATE).chats([f" {text}\n"]) == [whole]


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=10))
def test_reasoner_documents(
    tokenizer: PreTrainedTokenizerFast, encoder: Encoder, rows: list[tuple[str, str, str]]
) -> None:
    questions, answers, reasons = (list(column) for column in zip(*rows, strict=True))
    pieces = reasoner_pieces(encoder, questions, answers, reasons)
    for row, (piece, question, said, reason) in enumerate(
        zip(pieces, questions, answers, reasons, strict=True)
    ):
        assert piece.row == row
        assert specials(tokenizer, piece.prompt) == encoder.begin
        assert encoder.text(piece.prompt) == reasoner_prompt(question, said)
        if reason:
            assert specials(tokenizer, piece.target) == [encoder.end_of_text]
            assert tokenizer.decode(piece.target) == reason + "<|end_of_text|>"
        else:
            assert piece.target == []


@given(text=TEXTS, label=TEXTS)
def test_a_question_holds_text_and_label_as_they_are(text: str, label: str) -> None:
    assert asked("{label}: {text} ({label})", text, label) == f"{label}: {text} ({label})"
    assert asked("{text}{label}", "{label}", "{text}") == "{label}{text}"


@settings(max_examples=100)
@given(texts=st.lists(TEXTS, min_size=1, max_size=6), longest=st.integers(2, 30))
def test_cut_texts_cover_each_token_once(encoder: Encoder, texts: list[str], longest: int) -> None:
    pieces = text_pieces(encoder, texts, longest)
    for row, ids in enumerate(encoder.plain(texts)):
        parts = [piece.target for piece in pieces if piece.row == row]
        assert list(itertools.chain(*parts)) == [*ids, encoder.end_of_text]
        assert all(len(part) == longest - 1 for part in parts[:-1])
    assert all(piece.prompt == encoder.begin for piece in pieces)
    assert collect(pieces, longest)[1] == {}  # none is empty or too long


PIECES = st.lists(
    st.builds(
        lambda prompt, target: (prompt, target),
        st.lists(st.integers(0, 99), min_size=1, max_size=6),
        st.lists(st.integers(0, 99), max_size=6),
    ),
    max_size=12,
).map(lambda rows: [Piece(7 * row, *both, label_tokens=row) for row, both in enumerate(rows)])


@given(pieces=PIECES, longest=st.integers(1, 12))
def test_collect_keeps_what_fits_and_counts_the_rest(pieces: list[Piece], longest: int) -> None:
    empty = [piece.row for piece in pieces if not piece.target]
    long = [
        piece.row for piece in pieces
        if piece.target and len(piece.prompt + piece.target) > longest
    ]  # fmt: skip
    kept = [piece for piece in pieces if piece.row not in empty + long]
    if not kept:
        with pytest.raises(UserError, match="no document is left"):
            collect(pieces, longest)
        return
    documents, dropped = collect(pieces, longest)
    expected = {"no target tokens": empty, f"longer than {longest} tokens": long}
    assert dropped == {
        why: {"rows": len(rows), "first": rows[:5]} for why, rows in expected.items() if rows
    }
    assert [documents[at].tolist() for at in range(len(documents))] == [
        piece.prompt + piece.target for piece in kept
    ]
    assert documents.starts.tolist() == [len(piece.prompt) for piece in kept]
    assert documents.lengths.tolist() == [len(piece.prompt + piece.target) for piece in kept]
    assert documents.supervised.tolist() == [len(piece.target) for piece in kept]
    assert documents.label_tokens.tolist() == [piece.label_tokens for piece in kept]
    assert documents.rows.tolist() == [piece.row for piece in kept]
    assert len(documents.tokens) == documents.offsets[-1]


def test_collect_names_what_it_dropped() -> None:
    pieces = [Piece(row, [1] * 3, [2] * (row % 3)) for row in range(20)]
    documents, dropped = collect(pieces, 4)
    assert dropped == {
        "no target tokens": {"rows": 7, "first": [0, 3, 6, 9, 12]},
        "longer than 4 tokens": {"rows": 6, "first": [2, 5, 8, 11, 14]},
    }
    assert documents.rows.tolist() == [1, 4, 7, 10, 13, 16, 19]
    with pytest.raises(UserError, match=r"all were dropped.*longer than 3 tokens.*'rows': 13"):
        collect(pieces, 3)


def test_a_document_of_the_longest_length_is_kept() -> None:
    exact, _ = collect([Piece(0, [1, 2], [3, 4])], 4)
    assert isinstance(exact, Documents)
    assert np.array_equal(exact[0], [1, 2, 3, 4])


def test_without_a_system_message_the_template_gets_none(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    plain = tokenizer.decode(Encoder(tokenizer, "", DATE).chats(["hi"])[0])
    assert plain == rendered(tokenizer, "hi", "")
    assert SYSTEM not in plain
    assert ("system" in plain) == (tokenizer is tiny.llama_3())  # which writes a date there
    assert (DATE in plain) == (tokenizer is tiny.llama_3())


@pytest.mark.parametrize(("written", "begins"), [(0, False), (1, True), (2, False)])
def test_a_beginning_token_is_used_as_the_template_uses_it(written: int, begins: bool) -> None:
    tokenizer: Any = copy.deepcopy(tiny.tokenizer())
    own = tokenizer.chat_template
    tokenizer.chat_template = written * "{{ bos_token }}" + own.removeprefix("{{- bos_token }}")
    encoder, usual = Encoder(tokenizer, SYSTEM), Encoder(tiny.tokenizer(), SYSTEM)
    (chat,), (ours,) = encoder.chats(["hi"]), usual.chats(["hi"])
    assert chat == written * usual.begin + ours[1:]
    assert encoder.begin == (usual.begin if begins else [])


@given(text=st.text("so</>", max_size=12))
def test_pieces_that_are_the_template_s_own_tokens_are_spelt(text: str) -> None:
    """Some tokenizers have them among the pieces that they choose from, as T5's does."""
    pieces = [
        ("<unk>", 0.0),
        ("<s>", -1.0),
        ("</s>", -1.0),
        *((character, -3.0) for character in "so</>A:"),
    ]
    core = Tokenizer(models.Unigram(pieces, unk_id=0))
    core.add_special_tokens(["<s>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>",
        chat_template="<s>{% for m in messages %}{{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}A:{% endif %}",
    )  # fmt: skip
    encoder = Encoder(tokenizer)
    (ids,) = encoder.plain([text])
    assert not {1, 2} & set(ids)
    assert "".join(tokenizer.convert_ids_to_tokens(ids)) == text
    (chat,) = encoder.chats([text])
    assert chat == [1, *ids, 2, *encoder.plain(["A:"])[0]]


@pytest.mark.parametrize("content", ["", "message['content'] + message['content']"])
def test_a_template_that_does_not_write_the_text_once_is_refused(content: str) -> None:
    tokenizer: Any = copy.deepcopy(tiny.tokenizer())
    own = "message['content'] | trim"
    assert own in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(own, content or "''")
    with pytest.raises(UserError, match="the user's text exactly once"):
        Encoder(tokenizer, SYSTEM).chats(["hi"])
    with pytest.raises(UserError, match="the user's text exactly once"):
        Encoder(tiny.tokenizer(), "\N{OBJECT REPLACEMENT CHARACTER}").chats(["hi"])


def test_no_texts_no_tokens(encoder: Encoder) -> None:
    assert encoder.plain([]) == encoder.chats([]) == []


@settings(max_examples=30)
@given(rows=st.lists(st.tuples(TEXTS, st.sampled_from(LABELS), TEXTS), min_size=1, max_size=9))
def test_two_tasks_are_told_apart_by_the_end_of_the_text(
    encoder: Encoder, rows: list[tuple[str, str, str]]
) -> None:
    texts, labels, reasons = (list(column) for column in zip(*rows, strict=True))
    pieces = classifier_pieces(encoder, texts, labels, reasons, "multi_task", " Why?")
    known = classifier_pieces(encoder, texts, labels, None, "label", None)
    chats = encoder.chats([f"{text.rstrip()} Why?" for text in texts])
    assert [piece.row for piece in pieces] == [row for row in range(len(rows)) for _ in range(2)]
    for label, why, alone, chat, reason in zip(
        pieces[::2], pieces[1::2], known, chats, reasons, strict=True
    ):
        if not reason.strip():
            assert label.target == why.target == []
            continue
        assert label == alone and (why.prompt, why.label_tokens) == (chat, 0)
        assert why.target == encoder.plain([reason.strip()])[0] + [encoder.end_of_turn]
    expected = classifier_pieces(encoder, texts, labels, 3, "multi_task", " Why?")
    assert [piece.prompt for piece in expected] == [piece.prompt for piece in pieces]
    assert [len(piece.target) for piece in expected[1::2]] == [4] * len(rows)


@pytest.mark.parametrize("target", REASONED)
def test_a_reasoning_target_needs_reasonings_and_separator(
    encoder: Encoder, target: Target
) -> None:
    with pytest.raises(ValueError, match=target):
        classifier_pieces(encoder, ["t"], ["joy"], None, target, ": ")
    with pytest.raises(ValueError, match=target):
        classifier_pieces(encoder, ["t"], ["joy"], ["so"], target, None)
