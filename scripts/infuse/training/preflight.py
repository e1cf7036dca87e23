"""What is checked of a model with the texts it will be given, before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infuse.config.compute import Compute
from infuse.config.settings import Requirements
from infuse.core.errors import UserError, first_line
from infuse.core.files import read_labels, read_table
from infuse.core.manifest import read_provenance
from infuse.core.schemas import TASK
from infuse.data.answers import read_answer
from infuse.data.chat_template import SLOT, renderer
from infuse.data.encoder import Encoder
from infuse.data.examples import Documents, classifier_pieces, collect
from infuse.data.slots import Slots
from infuse.models import checks, loading
from infuse.models.hf import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from infuse.training.ranks import ALONE
from infuse.training.step import Engine

TWICE = 20  # renderings of a chat, which must be alike; two might be by chance
NEAR = 1e-3  # of a loss, what kernels may differ by
TEXTS = ["We sang by the river, and in town they heard it.", "No."]
_PLAIN = Compute.model_validate({
    "device": "cpu", "dtype": "float32", "threads": 1, "deterministic": True, "layout": "padded",
    "micro_tokens": 10**6, "gradient_checkpointing": "never", "compile": False,
})  # fmt: skip
log = logging.getLogger("infuse")


def template(tokenizer: Any, date_string: str) -> None:
    """Refuse a template that fails, opens no answer, or writes another chat each time."""
    Encoder(tokenizer, date_string=date_string).chats(["?"])
    render = renderer(tokenizer, date_string)
    asked = [{"role": "user", "content": SLOT}]
    if len({render(asked, True) for _ in range(TWICE)}) > 1:
        raise UserError("the chat template writes another chat each time it is asked")


def guard(encoder: Encoder, tokenizer: Any) -> None:
    """Refuse a tokenizer with which a text can write a token of the template."""
    unknown = {tokenizer.unk_token_id}
    names = tokenizer.convert_ids_to_tokens(sorted(encoder.guarded))
    own = encoder.chats(["?"])[0]
    for name, ids, chat in zip(
        names, encoder.plain(names), encoder.chats([f"? {name} ?" for name in names]), strict=True
    ):
        more = [token for token in chat if token in encoder.guarded - unknown]
        if encoder.guarded.intersection(ids) - unknown or more != [
            token for token in own if token in encoder.guarded - unknown
        ]:
            raise UserError(f"a text can write {name!r}, which is a token of the chat template")


def labels(
    encoder: Encoder, names: Sequence[str], separators: Sequence[str], max_new_tokens: int
) -> None:
    """Refuse labels that do not come back from their tokens, share them, or are too long.

    Args:
        separators: those of the arms that write; "" where the target is the label alone.
        max_new_tokens: of an answer.
    """
    by_tokens: dict[tuple[int, ...], str] = {}
    between = max(map(len, encoder.plain(list(separators))), default=0)
    for name, ids in zip(names, encoder.plain(names), strict=True):
        said = encoder.text(ids)
        if read_answer(said, "stop", names, "label", None).predicted != name:
            raise UserError(
                f"the tokenizer makes {said!r} of the label {name!r}: name it otherwise"
            )
        other = by_tokens.setdefault(tuple(ids), name)
        if other != name:
            alike = f"the labels {other!r} and {name!r} have the same tokens"
            raise UserError(f"{alike}: name them otherwise")
        needed = len(ids) + between + 1
        if separators and needed > max_new_tokens:
            raise UserError(
                f"prediction.max_new_tokens: the label {name!r} takes {needed} tokens with its"
                f" separator and end, found {max_new_tokens}"
            )


def lengths(positions: int, wanted: Mapping[str, int]) -> None:
    """Refuse documents that are longer than what the model reads.

    Args:
        wanted: place in the config -> `max_length`.
    """
    for where, most in wanted.items():
        if most > positions:
            raise UserError(f"{where}: expected at most the model's {positions}, found {most}")


def task(tokenizer: Any, positions: int, needed: Requirements, folder: Path) -> None:
    """The checks that need the task's labels and texts."""
    lengths(positions, needed.max_length)
    names = read_labels(folder)
    texts = read_table(folder / "test.parquet", TASK)["text"].to_pylist()
    for form in needed.forms:
        encoder = Encoder(tokenizer, **form.chat.model_dump())
        slots = Slots(encoder, names, form.target, form.separator, positions)
        long = [row for row, ids in enumerate(encoder.chats(texts)) if slots.room(ids) < 0]
        if long:
            log.warning(
                "%s: %d of %d test texts leave no place for a label in the model's %d positions: "
                "rows %s", form.target, len(long), len(texts), positions,
                ", ".join(map(str, long[:5])),
            )  # fmt: skip
    labels(Encoder(tokenizer), names, needed.separators, needed.max_new_tokens)


def layouts(model: PreTrainedModel, encoder: Encoder, layout: str) -> dict[str, Any]:
    """Hold the loss of both layouts against the model's own, on short texts.

    Args:
        layout: which trainings will have.

    Returns:
        `packed`, whether packed documents have the right loss.

    Raises:
        UserError: the layout has another loss.
    """
    documents, _ = collect(
        classifier_pieces(encoder, TEXTS, ["so", "not so"], None, "label", None), 10**6
    )
    checks.causal(model, documents[0].tolist())
    with checks.narrow(model):
        with checks.plainest(model):
            own = sum(
                checks.own_loss(model, documents[row].tolist(), int(documents.starts[row]))
                for row in range(len(documents))
            )
        losses = {name: _loss(model, documents, name) for name in ("padded", "packed")}
    right = {name: abs(loss - own) <= NEAR * abs(own) for name, (loss, _) in losses.items()}
    for name in {"padded", layout}:
        if not right[name]:
            loss, why = losses[name]
            helps = (
                "set compute.layout to padded" if right["padded"] and name == "packed"
                else f"{type(model).__name__} can't be trained here"
            )  # fmt: skip
            raise UserError(
                f"compute.layout: {name} documents have a loss of {loss:.4f} nats, the model's own"
                f" is {own:.4f}{why}: {helps}"
            )
    return {"packed": right["packed"]}


@torch.inference_mode()
def _loss(model: PreTrainedModel, documents: Documents, layout: str) -> tuple[float, str]:
    """The loss of a layout; where it can't be had, no number, and why."""
    before = model.config._attn_implementation
    try:
        engine = Engine(model, _PLAIN | {"layout": layout})
        return float(engine.loss_sum(documents, np.arange(len(documents)))), ""
    except Exception as failure:  # of an architecture that nobody tried
        return float("nan"), f" ({type(failure).__name__}: {first_line(failure)})"
    finally:
        model.set_attn_implementation(before)


def existing_base(
    base: Path,
    tokenizer: Any,
    compute: Compute,
    needed: Requirements | None,
    folder: Path | None,
) -> None:
    """Hold a base model, which another experiment may have made, against this one's needs.

    Args:
        folder: the task's.
    """
    facts = read_provenance(base)["facts"]
    if compute.layout == "packed" and not facts.get("packed", True):
        raise UserError(
            "compute.layout: packed documents have another loss than the model's own: set"
            " compute.layout to padded"
        )
    if needed is None:
        return
    config = AutoConfig.from_pretrained(base)
    if any(needed.modules.values()):
        with torch.device("meta"):
            modules(AutoModelForCausalLM.from_config(config), needed)
    if needed.head:
        checks.head(config, base)
    if folder is not None:
        task(tokenizer, loading.positions(base), needed, folder)


def modules(model: torch.nn.Module, needed: Requirements) -> None:
    """Refuse names of adapters' modules that the model lacks; weights are not looked at."""
    for where, names in needed.modules.items():
        checks.modules(model, names, where)


def answers(documents: Documents, max_new_tokens: int) -> None:
    """Warn where what a classifier learns to write is longer than what it may write."""
    cut = int((documents.supervised > max_new_tokens).sum())
    if cut:
        log.warning(
            "prediction.max_new_tokens: %d of %d answers to learn are longer than %d tokens, up to"
            " %d. Such an answer is cut, and counts as wrong: set it higher",
            cut, len(documents), max_new_tokens, documents.supervised.max(),
        )  # fmt: skip


def save(engine: Engine, tokenizer: Any, documents: Documents, folder: Path) -> None:
    """Save a trained model, and refuse it where what is saved has another loss.

    Args:
        documents: those of the last evaluation, or of the training; a few are enough.

    Of several ranks, the first alone saves. Its engine has no weights afterwards.
    """
    few = np.arange(min(8, len(documents)))
    ranks = engine.ranks
    trained = _mean(engine, documents, few)
    engine.gather()
    load = loading.load_head if hasattr(engine.model, "score") else loading.load_model
    if ranks.rank == 0:
        loading.save(engine.model, tokenizer, folder)
        loading.whole(engine.model).to("meta")  # neither GPU nor host need hold both
    if ranks.sharded:
        folder = ranks.told(folder)  # too large for one, so all hold what was saved
    elif ranks.rank > 0:
        return
    else:
        ranks = ALONE
    eager = engine.compute | {"compile": False}
    saved = _mean(Engine(load(folder, **ranks.loading), eager, ranks=ranks), documents, few)
    # Merged weights may be rounded to the precision of the products.
    room = NEAR if engine.compute.dtype == "float32" else 0.1
    if abs(saved - trained) > room * max(1.0, trained):
        raise UserError(
            f"the model was trained to a loss of {trained:.4f} nats, what is saved has {saved:.4f}:"
            " it is not published"
        )


@torch.no_grad()
def _mean(engine: Engine, documents: Documents, rows: Any) -> float:
    """Nats for each target token of a few documents."""
    engine.model.eval()
    total = sum(float(engine.loss_sum(documents, part)) for part in engine.passes(documents, rows))
    return total / int(documents.supervised[rows].sum())
