"""What the lens says of each layer is what the model's own states, norm and head say."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.modeling_utils import PreTrainedModel

import tiny
from infuse.core.errors import UserError
from infuse.core.files import read_rows
from infuse.core.schemas import LOGIT_LENS, PREDICTIONS
from infuse.inference.classification import Reader
from infuse.inference.form import Form
from infuse.inference.logit_lens import (
    BIN_WIDTH,
    BINS,
    SURE,
    activation_entropy,
    look,
    parts,
    settled,
)
from infuse.models import loading
from stage_runner import RunStage
from trees import Tree, nodes

NEAR = 1e-4  # two logits that a float can't tell apart
TOKENS = [7, 300, 42]
SIZES: dict[str, Any] = {
    "vocab_size": 350, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


def _mistral() -> PreTrainedModel:
    loading.set_threads(tiny.COMPUTE)
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(sliding_window=8, initializer_range=0.2, **SIZES))
    return model.eval()


@functools.cache
def model_of(name: str) -> PreTrainedModel:
    """A model whose final norm does something."""
    model = {"llama": tiny.model, "mistral": _mistral}[name]()
    with torch.no_grad():
        model.model.norm.weight.copy_(torch.linspace(0.2, 2, 32))
    return model


def texts(seed: int, count: int, longest: int = 20) -> list[list[int]]:
    drawn = np.random.default_rng(seed)
    return [
        drawn.integers(5, 350, length).tolist() for length in drawn.integers(1, longest + 1, count)
    ]


@torch.inference_mode()
def by_hand(model: PreTrainedModel, text: list[int], normed: bool) -> tuple[Any, Any]:
    """States [layers + 1, hidden] and logits [layers + 1, vocabulary] after one text."""
    norm = model.model.norm
    model.model.norm = torch.nn.Identity()  # the last state that transformers gives is normed
    hidden_states = model.model(torch.tensor([text]), output_hidden_states=True).hidden_states
    model.model.norm = norm
    states = [state[0, -1] for state in hidden_states]
    last = len(states) - 1
    logits = [
        model.lm_head(norm(state) if normed or layer == last else state)
        for layer, state in enumerate(states)
    ]
    own = model(torch.tensor([text])).logits[0, -1]
    assert torch.allclose(own, logits[-1], atol=1e-4)
    return torch.stack(states).double().numpy(), torch.stack(logits).double().numpy()


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_it_is_what_the_states_of_one_text_say(name: str, normed: bool) -> None:
    model = model_of(name)
    asked = texts(1, 12)
    seen = look(parts(model, Path("m")), asked, TOKENS, normed)
    edges = [-np.inf, *(BIN_WIDTH * np.arange(1 - BINS // 2, BINS // 2)), np.inf]
    for place, text in enumerate(asked):
        states, logits = by_hand(model, text, normed)
        chances = np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True))
        entropy = -(chances * np.log(np.maximum(chances, 1e-300))).sum(1)
        assert seen.entropy[place] == pytest.approx(entropy, abs=1e-3)
        for layer, state in enumerate(states):
            shares = np.histogram(state / np.sqrt((state**2).mean()), edges)[0] / len(state)
            expected = -sum(share * np.log(share) for share in shares if share)
            assert seen.activation_entropy[place, layer] == pytest.approx(expected, abs=0.1)
            for column, token in enumerate(TOKENS):
                ahead = logits[layer] - logits[layer, token]
                ahead[token] = -np.inf
                lowest, highest = 1 + (ahead > NEAR).sum(), 1 + (ahead > -NEAR).sum()
                assert lowest <= seen.ranks[place, layer, column] <= highest
        assert seen.confidence[place] == pytest.approx(chances[-1].max(), abs=1e-4)


def test_the_histogram_knows_no_scale_and_is_what_it_says() -> None:
    values = torch.randn(4, 100_000, generator=torch.Generator().manual_seed(0))
    entropies = activation_entropy(values)
    assert entropies.tolist() == pytest.approx([3.03] * 4, abs=0.01)
    assert activation_entropy(1024 * values).tolist() == entropies.tolist()
    values[:, 0] = 1e6  # it dominates: all others fall into the two bins around 0
    assert activation_entropy(values).tolist() == pytest.approx([np.log(2)] * 4, abs=0.01)
    assert activation_entropy(torch.zeros(1, 8)).tolist() == [0]


def test_settled_is_the_first_layer_that_is_sure_of_the_final_token() -> None:
    sure, less = SURE + 0.01, SURE - 0.01
    chances = torch.tensor(
        [
            [[0.0, sure], [less, 0.0], [sure, 0.0], [0.5, 0.4]],  # sure of another before
            [[sure, 0.0], [0.0, sure], [0.5, 0.4], [0.5, 0.4]],  # and not so sure after
            [[less, 0.0], [less, 0.0], [less, 0.0], [less, 0.0]],
        ]
    )
    assert settled(chances).tolist() == [2, 0, -1]


@given(seed=st.integers(0, 50), count=st.integers(1, 6), place=st.integers(0, 5))
@settings(max_examples=30)
def test_neighbours_are_of_no_consequence(seed: int, count: int, place: int) -> None:
    inside, others = parts(model_of("mistral"), Path("m")), texts(seed, count)
    text = texts(1000 + seed, 1)[0]
    at = min(place, count)
    alone = look(inside, [text], TOKENS, True)
    among = look(inside, [*others[:at], text, *others[at:]], TOKENS, True)
    assert among.entropy[at] == pytest.approx(alone.entropy[0], abs=1e-4)
    assert among.confidence[at] == pytest.approx(alone.confidence[0], abs=1e-5)
    # Of 350 logits, few are so near to another that a float decides.
    assert np.abs(among.ranks[at] - alone.ranks[0]).sum() <= 2
    assert among.settled[at] == alone.settled[0]


def hooks(model: PreTrainedModel) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def test_each_text_passes_once_and_no_hook_stays() -> None:
    model = model_of("llama")
    inside = parts(model, Path("m"))
    layer, passed = model.model.layers[0], []
    before = hooks(model)
    with layer.register_forward_hook(lambda _, given, model_of: passed.append(given[0].shape)):
        look(inside, texts(3, 5), TOKENS, True)
    assert [shape[0] for shape in passed] == [5]
    assert hooks(model) == before


def _gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=350, n_embd=8, n_layer=1, n_head=1))


class Odd(LlamaForCausalLM):
    """A model that does to its logits what no config tells."""

    def forward(self, *given: Any, **named: Any) -> Any:
        model_of = super().forward(*given, **named)
        model_of.logits = 2 * model_of.logits
        return model_of


def _odd() -> PreTrainedModel:
    return Odd(LlamaConfig(initializer_range=1.0, **SIZES))


def test_scaled_logits_are_read_as_the_model_has_them() -> None:
    model = GraniteForCausalLM(GraniteConfig(logits_scaling=8.0, initializer_range=1.0, **SIZES))
    seen = look(parts(model.eval(), Path("m")), texts(4, 6), TOKENS, True)
    for text, entropy in zip(texts(4, 6), seen.entropy[:, -1], strict=True):
        with torch.inference_mode():
            chances = torch.softmax(model(torch.tensor([text])).logits[0, -1].double(), -1)
        assert entropy == pytest.approx(float(torch.special.entr(chances).sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (_gpt2, "GPT2LMHeadModel, expected `layers` and a final `norm` as Llama and Mistral have"),
        (_odd, "Odd, expected that it gives what its head makes of the normed"),
    ],
)
def test_another_architecture_is_refused(model: Callable[[], PreTrainedModel], said: str) -> None:
    with pytest.raises(UserError, match=f"a/folder: {said}") as refusal:
        parts(model().eval(), Path("a/folder"))
    assert "\n" not in str(refusal.value)


def params(**change: Any) -> dict[str, Any]:
    own = ("device", "dtype", "threads", "deterministic")
    compute = {part: getattr(tiny.COMPUTE, part) for part in own}
    return {"texts": None, "normed": True, "batch_rows": 16, "compute": compute} | change


def inputs(built: Tree, name: str) -> dict[str, Path]:
    return {stage: nodes(built, stage)[name] for stage in ("classifier", "predictions")}


@pytest.mark.parametrize("name", ["label-seed1", "reason_label-seed1"])
def test_the_stage_looks_where_the_label_begins(
    built: Tree, run_stage: RunStage, name: str
) -> None:
    folders = inputs(built, name)
    written = read_rows(folders["predictions"] / "predictions.parquet", PREDICTIONS)
    done = run_stage("logit_lens", params(batch_rows=5), folders)
    assert done.facts == {"texts": len(written), "layers": 1}
    rows = read_rows(done.output / "logit_lens.parquet", LOGIT_LENS)
    for row, answer in zip(rows, written, strict=True):
        assert [row[part] for part in ("id", "label")] == [answer[part] for part in ("id", "label")]
        assert row["predicted"] == answer["closed_set"]
    reader = Reader(folders["classifier"], "transformers", tiny.COMPUTE)
    encoder, form = reader._encoder, reader.form
    for row, answer in zip(rows[:6], written, strict=False):
        text = encoder.chats([answer["text"]])[0]
        if form.target == "reason_label":
            text += encoder.plain([answer["reasoning"]])[0]
            text += encoder.plain([form.separator or ""])[0]
        _, logits = by_hand(reader.model, text, True)
        chances = np.exp(logits[-1] - np.logaddexp.reduce(logits[-1]))
        assert row["confidence"] == pytest.approx(chances.max(), rel=1e-4)
        best = max(form.labels, key=lambda label: chances[encoder.plain([label])[0][0]])
        assert form.labels[int(np.argmin(row["ranks"][-1]))] == best


def test_drawn_texts_are_the_same_for_every_classifier(built: Tree, run_stage: RunStage) -> None:
    drawn = [
        run_stage("logit_lens", params(texts=9), inputs(built, name)).rows("logit_lens.parquet")
        for name in ("label-seed1", "reason_label-seed1")
    ]
    ids = [[row["id"] for row in rows] for rows in drawn]
    assert ids[0] == ids[1] == sorted(ids[0]) and 6 <= len(ids[0]) < 24


def classifier(folder: Path, labels: list[str], target: Any, head: bool = False) -> Path:
    """A folder with an untrained classifier."""
    model, tokenizer = tiny.model(), tiny.tokenizer()
    loading.save(model, tokenizer, folder)
    if head:
        loading.save(loading.new_head(folder, len(labels), 0), tokenizer, folder)
    separator = None if target in ("label", "head") else "\n\n"
    Form(labels, target, separator, {"system": "", "date_string": ""}).save(folder)
    return folder


def test_what_all_labels_begin_with_stands_before_the_place(tmp_path: Path) -> None:
    reader = Reader(classifier(tmp_path, ["31", "32", "3"], "label"), "transformers", tiny.COMPUTE)
    digit_1, digit_2, digit_3 = (tiny.tokenizer().encode(digit) for digit in "123")
    prompts = reader.prompts(["a day", "a night"])
    before, tokens = reader.before_labels(prompts, ["", ""])
    assert before == [prompt + digit_3 for prompt in prompts]
    assert tokens == [digit_1[0], digit_2[0], reader._encoder.end_of_turn]


def test_a_linear_head_is_refused(built: Tree, run_stage: RunStage, tmp_path: Path) -> None:
    folder = classifier(tmp_path / "head", ["joy", "fear"], "head", head=True)
    (folder / "provenance.json").unlink(missing_ok=True)
    folders = inputs(built, "label-seed1") | {"classifier": folder}
    reason = run_stage("logit_lens", params(), folders).reason
    assert reason == f"{folder}: a linear head for labels, expected one for a vocabulary"
