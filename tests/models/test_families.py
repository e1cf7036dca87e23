"""Small models of every family go the whole way: taken in, trained, written with, read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig
from transformers.modeling_utils import PreTrainedModel

import families
import tiny
from families import FAMILIES
from infuse.config.reasonings import Decoding
from infuse.core.errors import UserError
from infuse.data.chat_template import standalone
from infuse.data.encoder import Encoder
from infuse.data.examples import Documents, classifier_pieces, collect
from infuse.inference import generation
from infuse.inference.classification import Reader
from infuse.inference.form import Form
from infuse.models import checks, loading
from infuse.training import loop
from infuse.training.batching import Rows
from infuse.training.step import Engine
from stage_runner import RunStage

SYSTEM, DATE = "Classify the text.", "26 Jul 2024"
CHAT = {"system": SYSTEM, "date_string": DATE}
TEXTS = ["We sang by the river, and in town they heard it.", "no", "my aunts rest after lunch"]
LABELS = ["joy", "anger", "calm"]
EVERY = np.arange(3)
every_family = pytest.mark.parametrize("name", FAMILIES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What gives a family's model folder, made once."""
    return functools.cache(lambda name: families.save(name, tmp_path_factory.mktemp("family")))


def taken(run_stage: RunStage, folder: Path, template: str | None = None) -> Any:
    params = {"kind": "folder", "content": "a", "pad_token": None, "chat_template": template}
    return run_stage("base", params, settings={"path": str(folder), "layout": "packed"})


def words(folders: Any, name: str) -> Any:
    plain = None if FAMILIES[name].template else "plain"
    return loading.load_tokenizer(folders(name), plain)


def documents(tokenizer: Any) -> Documents:
    encoder = Encoder(tokenizer, **CHAT)
    return collect(classifier_pieces(encoder, TEXTS, LABELS, None, "label", None), 1000)[0]


def own_loss(model: PreTrainedModel, corpus: Documents) -> float:
    """By the model's own logits, one document at a time, with attention as its own code has it."""
    with checks.plainest(model):
        return sum(
            checks.own_loss(model, corpus[row].tolist(), int(corpus.starts[row])) for row in EVERY
        )


@every_family
def test_it_is_taken_in(folders: Any, run_stage: RunStage, name: str) -> None:
    done = taken(run_stage, folders(name), None if FAMILIES[name].template else "plain")
    assert done.facts["packed"]


@every_family
def test_where_there_is_no_linear_head_it_is_told_before_one_is_tried(
    folders: Any, name: str
) -> None:
    folder = folders(name)

    def fails(act: Callable[..., Any], *arguments: Any) -> bool:
        try:
            act(*arguments)
        except UserError:
            return True
        return False

    config = AutoConfig.from_pretrained(folder)
    assert fails(checks.head, config, folder) == fails(loading.new_head, folder, 2, 0)


@every_family
def test_without_weights_it_has_the_same_form(folders: Any, name: str) -> None:
    """So that ranks can share it: whatever it computes with is a weight or a buffer."""
    model = loading.load_model(folders(name))
    form = loading.load_model(folders(name), device_map="meta")
    assert outlines(form) == outlines(model)
    assert all(value.is_meta for value in (*form.parameters(), *form.buffers()))
    own = [value for part in form.modules() for value in vars(part).values()]
    assert not any(isinstance(value, torch.Tensor) for value in own)


def outlines(model: PreTrainedModel) -> dict[str, Any]:
    """Of each weight and buffer: shape, type, and the first name of it."""
    tensors = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    first: dict[int, str] = {}
    for name, value in tensors:
        first.setdefault(id(value), name)
    return {name: (value.shape, value.dtype, first[id(value)]) for name, value in tensors}


@every_family
def test_prompts_are_those_of_its_own_tokenizer(folders: Any, name: str) -> None:
    family, tokenizer = FAMILIES[name], words(folders, name)
    encoder = Encoder(tokenizer, **CHAT)
    for text, ids in zip(TEXTS, encoder.chats([f" {text}\n" for text in TEXTS]), strict=True):
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
        if not family.system:
            messages = [{"role": "user", "content": f"{SYSTEM}\n\n{text}"}]
        whole = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False, date_string=DATE,
            enable_thinking=False, strftime_now=lambda form: {"%d %B %Y": "26 July 2024"}[form],
        )  # fmt: skip
        assert ids == whole
        assert tokenizer.decode(ids).endswith(family.thoughts)
    assert tokenizer.convert_ids_to_tokens(encoder.begin) == list(family.opens)
    assert tokenizer.convert_ids_to_tokens(encoder.end_of_turn) == family.turn
    assert {*family.ends} <= {*tokenizer.convert_ids_to_tokens(loading.ends(folders(name)))}


@every_family
@pytest.mark.parametrize("system", [SYSTEM, 'it\'s "so" \\n {{ x }} %} \U0001f642', ""])
def test_a_standalone_template_asks_as_it_was_trained(folders: Any, name: str, system: str) -> None:
    """Whoever renders a lone message with it, and tells it nothing else."""
    tokenizer = words(folders, name)
    chats = Encoder(tokenizer, system, DATE).chats(TEXTS)
    tokenizer.chat_template = standalone(tokenizer, system, DATE)
    rendered = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        for text in TEXTS
    ]
    assert rendered == chats
    assert Encoder(tokenizer, system, DATE).chats(TEXTS) == chats


@every_family
def test_no_text_writes_a_token_of_its_own(folders: Any, name: str) -> None:
    family, tokenizer = FAMILIES[name], words(folders, name)
    encoder, known = Encoder(tokenizer, **CHAT), tokenizer.get_vocab()
    own = {known[token] for token in (*family.special, *family.added)}
    text = "so " + " ".join((*family.special, *family.added)) + " it is"
    chats = encoder.chats([text, "so it is"])
    # A thought's end may be written.
    own &= {known[token] for token in family.special} | {*chats[1]}
    marked, bare = ([token_id for token_id in chat if token_id in own] for chat in chats)
    assert marked == bare
    assert encoder.text(chats[0]).count("it is") == 1
    (reasoning,) = encoder.plain([text])
    assert not own & {*reasoning}
    assert encoder.text(reasoning) == text


@every_family
def test_both_layouts_have_its_own_loss(folders: Any, name: str) -> None:
    corpus = documents(words(folders, name))
    assert corpus.lengths.max() > 2 * families.WINDOW
    model = loading.load_model(folders(name)).eval()
    own, gradients = own_loss(model, corpus), {}
    for layout in ("padded", "packed"):
        engine = Engine(loading.load_model(folders(name)), tiny.COMPUTE | {"layout": layout})
        loss = engine.loss_sum(corpus, EVERY)
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.item() == pytest.approx(own, rel=1e-4)
        gradients[layout] = {
            part: weight.grad
            for part, weight in engine.model.named_parameters()
            if weight.grad is not None
        }
    most = max(float(slope.abs().max()) for slope in gradients["padded"].values())
    for part, slope in gradients["padded"].items():
        apart = float((gradients["packed"][part] - slope).abs().max())
        assert apart < 1e-3 * float(slope.abs().max()) + 1e-6 * most, part


def taught(
    folders: Any, name: str, layout: str, count: int, work: Path
) -> tuple[Engine, list[float]]:
    """The family's model after so many steps over the three texts; and its losses."""
    recipe = tiny.RECIPE | {"learning_rate": 0.004, "epochs": 1, "schedule": "constant"}
    engine = Engine(loading.load_model(folders(name)), tiny.COMPUTE | {"layout": layout})
    steps: list[Rows] = [EVERY] * count
    history = loop.train(
        engine, documents(words(folders, name)), None, steps, recipe, 0, work, 1000
    )
    return engine, [step["loss"] for step in history.steps]


@every_family
def test_what_it_learns_it_writes_and_scores(folders: Any, name: str, tmp_path: Path) -> None:
    _, padded = taught(folders, name, "padded", 6, tmp_path / "padded")
    engine, packed = taught(folders, name, "packed", 40, tmp_path / "packed")
    assert packed[:6] == pytest.approx(padded, rel=1e-2)
    assert packed[-1] < packed[0] / 3
    tokenizer = words(folders, name)
    loading.save(engine.model, tokenizer, tmp_path / "classifier")
    Form(LABELS, "label", None, CHAT).save(tmp_path / "classifier")
    reader = Reader(tmp_path / "classifier", "transformers", tiny.COMPUTE)
    read = reader.read(reader.prompts(TEXTS), range(3), Decoding(max_new_tokens=8))
    assert [reading.answer.predicted for reading in read] == LABELS
    assert [int(reading.log_probabilities.argmax()) for reading in read] == [0, 1, 2]
    # The scores are the losses of training.
    scores = [read[row].log_probabilities[row] for row in EVERY]
    corpus = documents(tokenizer)
    assert -sum(scores) == pytest.approx(own_loss(reader.model, corpus), rel=1e-3, abs=1e-3)


@every_family
def test_it_writes_what_it_would_without_a_cache(folders: Any, name: str) -> None:
    model = loading.load_model(folders(name)).eval()
    prompts = Encoder(words(folders, name), **CHAT).chats(TEXTS)
    written = generation.continue_prompts(
        model, prompts, range(3), {-1}, Decoding(max_new_tokens=12)
    )
    for prompt, continuation in zip(prompts, written, strict=True):
        with torch.inference_mode(), checks.plainest(model):
            whole = model(
                input_ids=torch.tensor([prompt + continuation.tokens]), use_cache=False
            ).logits[0]
        near = whole[len(prompt) - 1 : -1]
        best = near.max(-1).values - near[range(12), continuation.tokens]
        assert best.max() < 1e-3  # the likeliest, or as likely
