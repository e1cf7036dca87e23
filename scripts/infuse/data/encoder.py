"""From text to token ids.

No text becomes a token of the template, so each document begins once and ends once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from infuse.core.errors import UserError
from infuse.data.chat_template import Frame, frame

Ids = list[int]


class Encoder:
    """A tokenizer seen as three needs: plain text, the chat around a text, and the end tokens."""

    def __init__(self, tokenizer: Any, system: str = "", date_string: str = "") -> None:
        self._tokenizer = tokenizer
        self._system, self._date = system, date_string

    def plain(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text; what looks like a guarded token in it is ordinary text."""
        if not texts:
            return []
        ids = self._literal(
            list(texts), add_special_tokens=False, split_special_tokens=True,
            return_attention_mask=False, verbose=False,
        )["input_ids"]  # fmt: skip
        return [
            self._broken(text) if self._marks.intersection(tokens) else tokens
            for text, tokens in zip(texts, ids, strict=True)
        ]

    def chats(self, texts: Sequence[str]) -> list[Ids]:
        """System and user message up to where the assistant's answer begins.

        The tokens are those that the tokenizer makes of the whole chat, unless a text holds a
        guarded token: that is then ordinary text.
        """
        if not texts:
            return []
        before, after, own = self._frame.before, self._frame.after, self._own
        whole = self._encode([before + text.strip() + after for text in texts])
        return [
            ids if self._among(ids) == own else self._apart(text.strip())
            for text, ids in zip(texts, whole, strict=True)
        ]

    @cached_property
    def begin(self) -> Ids:
        """What opens a plain document: what the tokenizer itself puts before a text, or else the
        beginning token, where the template opens a chat with it and has no other.
        """
        (text,), own = self._encode(["a"]), self._tokenizer("a")["input_ids"]
        for place in range(len(own)):
            if place and own[place : place + len(text)] == text:
                return list(own[:place])
        token = self._tokenizer.bos_token_id
        (chat,) = self._encode([self._frame.before])
        return [token] if chat[:1] == [token] and chat.count(token) == 1 else []

    @property
    def end_of_text(self) -> int:
        """The token that ends a plain document: Llama 3's, or else the tokenizer's end token."""
        known = self._tokenizer.get_vocab()
        return int(known.get("<|end_of_text|>", self._tokenizer.eos_token_id))

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends an answer in a chat: the template's, or else the end token."""
        (ids,) = self._encode([self._frame.ending])
        return (self._among(ids) or [int(self._tokenizer.eos_token_id)])[0]

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    @cached_property
    def guarded(self) -> frozenset[int]:
        """What no text may write: special tokens, and all the template's that are tokens of their
        own.
        """
        added = self._tokenizer.added_tokens_decoder
        return self._marks | {place for place, token in added.items() if token.special}

    @cached_property
    def _frame(self) -> Frame:
        return frame(self._tokenizer, self._system, self._date)

    @cached_property
    def _own(self) -> Ids:
        """The guarded tokens of every chat."""
        chat = self._frame
        with_system, without = self._encode([chat.before + chat.after, chat.bare + chat.after])
        if self._among(with_system) != self._among(without):
            names = self._tokenizer.convert_ids_to_tokens(sorted(self.guarded))
            name = next(name for name in names if name in self._system)
            raise UserError(f"task.system: {name!r} is a token of the model's own: leave it out")
        return self._among(without)

    @cached_property
    def _marks(self) -> frozenset[int]:
        """The tokens of their own that the template writes; white space may be one and is none."""
        written = self._encode([self._frame.bare, self._frame.after, self._frame.ending])
        added = self._tokenizer.added_tokens_decoder
        return frozenset(
            token
            for ids in written
            for token in ids
            if token in added and added[token].content.strip()
        )

    def _encode(self, texts: list[str]) -> list[Ids]:
        """What the tokenizer itself makes of texts that hold its own tokens."""
        ids: list[Ids] = self._tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )["input_ids"]
        return ids

    def _among(self, ids: Ids) -> Ids:
        return [token for token in ids if token in self.guarded]

    def _apart(self, text: str) -> Ids:
        """The chat around a text that holds guarded tokens: what stands between the template's own
        next to it is encoded as plain text.
        """
        before, after = self._frame.before, self._frame.after
        start = max((end for _, end in self._places(before)), default=0)
        stop = min((begin for begin, _ in self._places(after)), default=len(after))
        (head, tail) = self._encode([before[:start], after[stop:]])
        return head + self.plain([before[start:] + text + after[:stop]])[0] + tail

    def _places(self, text: str) -> list[tuple[int, int]]:
        """Where guarded tokens begin and end in a text of the template."""
        encoding = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        placed = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        return [(begin, end) for token, (begin, end) in placed if token in self.guarded]

    @cached_property
    def _literal(self) -> Any:
        """The tokenizer, with all of the template's tokens among those that it can split."""
        added = self._tokenizer.added_tokens_decoder
        if all(added[token].special for token in self._marks):
            return self._tokenizer
        from tokenizers import Tokenizer
        from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

        core = json.loads(self._tokenizer.backend_tokenizer.to_str())
        for token in core["added_tokens"]:
            token["special"] |= token["id"] in self._marks
        return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(core)))

    def _broken(self, text: str) -> Ids:
        """Tokens of a text of which the model of the tokenizer itself makes one of the marks."""
        names = (self._tokenizer.convert_ids_to_tokens(token) for token in self._marks)
        place = next((text.find(name) for name in names if name in text), len(text) // 2 - 1) + 1
        if not 0 < place < len(text):
            raise UserError(f"{text!r} is a token of the chat template, and nothing else")
        return list(itertools.chain(*self.plain([text[:place], text[place:]])))
