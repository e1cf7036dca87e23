"""What can't be right is told before it is trained, and what was saved is what was trained."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

import tiny
from infuse.config import experiment
from infuse.config.model_params import Chat, TargetForm
from infuse.config.settings import Requirements
from infuse.core.errors import UserError
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import TASK
from infuse.data.encoder import Encoder
from infuse.data.targets import Target
from infuse.models import checks, loading
from infuse.training import preflight
from infuse.training.step import Engine
from infuse.workflow.local_files import contents_of_files
from stage_runner import Outcome, RunStage

ENCODER = Encoder(tiny.tokenizer())
SIZE = {"vocab_size": 360, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
DATE = "26 Jul 2024"


def refused(said: str) -> Any:
    return pytest.raises(UserError, match=f"^{re.escape(said)}")


def imported(run_stage: RunStage, folder: Path, layout: str = "padded", **more: Any) -> Outcome:
    params = {"kind": "folder", "content": "a", "pad_token": None, "chat_template": None}
    settings = {"path": str(folder), "layout": layout, "date_string": DATE}
    return run_stage("base", params, settings=settings, **more)


def worded(template: str) -> Any:
    """The tiny tokenizer with another chat template."""
    tokenizer: Any = copy.deepcopy(tiny.tokenizer())
    tokenizer.chat_template = template
    return tokenizer


# --- templates


def test_a_template_that_is_another_each_time_is_refused() -> None:
    own = tiny.tokenizer().chat_template
    for drawn in ("{{ ['a', 'b'] | random }}", "{{ lipsum(n=1) }}"):
        with refused("the chat template writes another chat each time it is asked"):
            preflight.template(worded(own + drawn), DATE)


@pytest.mark.parametrize(
    ("form", "date", "said"),
    [
        ("%d %B %Y", DATE, "26 July 2024"),
        ("%H:%M:%S", DATE, "00:00:00"),
        ("%Y", "the year 7", "the year 7"),
    ],
)
def test_a_template_that_asks_for_the_time_is_told_the_config_s(
    form: str, date: str, said: str
) -> None:
    own = tiny.tokenizer().chat_template
    tokenizer = worded("{{ strftime_now('" + form + "') }}" + own)
    assert tokenizer.decode(Encoder(tokenizer, "", date).chats(["hi"])[0]).startswith(said)


def test_a_system_message_that_would_write_a_token_is_refused() -> None:
    encoder = Encoder(tiny.tokenizer(), "Say <|eot_id|> at the end.")
    with refused("task.system: '<|eot_id|>' is a token of the model's own: leave it out"):
        encoder.chats(["hi"])


# --- labels, lengths


def test_labels_come_back_and_fit() -> None:
    preflight.labels(ENCODER, ["joy", "very angry"], ["", "\n\nAnswer: "], 64)
    tokens = len(ENCODER.plain(["very angry"])[0]) + 1
    preflight.labels(ENCODER, ["joy", "very angry"], [""], tokens)
    with refused(f"prediction.max_new_tokens: the label 'very angry' takes {tokens} tokens"):
        preflight.labels(ENCODER, ["joy", "very angry"], [""], tokens - 1)
    preflight.labels(ENCODER, ["joy", "very angry"], [], 1)  # linear heads write nothing


def test_labels_that_the_tokenizer_changes_are_refused() -> None:
    words = copy.deepcopy(tiny.llama_2())
    words.chat_template = tiny.tokenizer().chat_template
    with refused("the tokenizer makes "):
        preflight.labels(Encoder(words), ["joy", "\N{LOWER ONE EIGHTH BLOCK}so"], [""], 64)


def test_documents_fit_the_positions() -> None:
    preflight.lengths(64, {"a.max_length": 64})
    with refused("b.max_length: expected at most the model's 64, found 65"):
        preflight.lengths(64, {"a.max_length": 64, "b.max_length": 65})


def form(target: Target, separator: str | None = None) -> TargetForm:
    chat = Chat(system="", date_string=DATE)
    return TargetForm(chat=chat, target=target, separator=separator)


def test_texts_that_will_not_be_asked_are_told_for_each_form(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the rule of the predictions: what stands around the label must fit as well."""
    names, between = ["joy", "fear"], "\n\nAnswer: "
    texts = ["so " * count for count in range(1, tiny.WINDOW)]
    rows = [{"id": at, "text": text, "label": "joy"} for at, text in enumerate(texts)]
    write_rows(tmp_path / "test.parquet", rows, TASK)
    write_json(tmp_path / "labels.json", names)
    forms = [form("label"), form("reason_label", between), form("head")]
    needed = Requirements(
        forms=forms, separators=[""], max_new_tokens=64, max_length={}, modules={}
    )
    preflight.task(tiny.tokenizer(), tiny.WINDOW, needed, tmp_path)
    encoder = Encoder(tiny.tokenizer(), date_string=DATE)
    longest = max(map(len, encoder.plain(names)))
    takes = (longest + 1, longest + 1 + len(encoder.plain([between])[0]), 0)
    lengths = [len(chat) for chat in encoder.chats(texts)]
    told = [record.getMessage() for record in caplog.records]
    for each, least, said in zip(forms, takes, told, strict=True):
        long = sum(length + least > tiny.WINDOW for length in lengths)
        assert said.startswith(f"{each.target}: {long} of 63 test texts leave no place for a label")


def test_a_base_that_is_there_is_held_against_the_next_task(tmp_path: Path) -> None:
    base, task = tmp_path / "base", tmp_path / "task"
    loading.save(tiny.model(), tiny.tokenizer(), base)
    write_json(base / "provenance.json", {"facts": {"packed": False}})
    long = {"id": 0, "text": "so " * tiny.WINDOW, "label": "joy"}
    task.mkdir()
    write_rows(task / "test.parquet", [long], TASK)
    write_json(task / "labels.json", ["joy", "fear"])
    needed = Requirements(
        forms=[form("label"), form("head")], separators=[""], max_new_tokens=8,
        max_length={"classifier.recipe.max_length": tiny.WINDOW}, modules={},
    )  # fmt: skip

    def held(layout: str = "padded", **change: Any) -> None:
        compute = tiny.COMPUTE | {"layout": layout}
        preflight.existing_base(base, tiny.tokenizer(), compute, needed | change, task)

    held()
    with refused("compute.layout: packed documents have another loss than the model's own"):
        held("packed")
    with refused("prediction.max_new_tokens: the label 'joy' takes 3 tokens"):
        held(max_new_tokens=1)
    with refused("classifier.recipe.max_length: expected at most the model's 64, found 65"):
        held(max_length={"classifier.recipe.max_length": tiny.WINDOW + 1})
    with refused("at: no layer of the model is called 'q_prj', did you mean 'q_proj'?"):
        held(modules={"at": ["q_prj"]})
    with refused("at: 'lm_head' shares its weights with the other end of the model"):
        held(modules={"at": ["lm_head"]})


def test_answers_that_would_be_cut_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """An end is a token too."""
    documents = tiny.random_documents(30, 1)
    for most in (0, 3, 10**6):
        caplog.clear()
        preflight.answers(documents, most)
        cut = sum(
            len(documents[row]) - int(documents.starts[row]) > most for row in range(len(documents))
        )
        assert [f"{cut} of 30 answers to learn are longer than {most} tokens" in caplog.text] == [
            cut > 0
        ]


# --- models


def test_fewer_embeddings_than_tokens_are_refused(run_stage: RunStage, tmp_path: Path) -> None:
    model = tiny.model()
    model.resize_token_embeddings(len(tiny.tokenizer()) - 2)
    loading.save(model, tiny.tokenizer(), tmp_path / "model")
    tokens = len(tiny.tokenizer())
    message = f"the tokenizer has {tokens} tokens, the embeddings of the model {tokens - 2} rows"
    assert imported(run_stage, tmp_path / "model").reason == f"{tmp_path / 'model'}: {message}"


def test_other_kinds_of_models_are_refused(run_stage: RunStage, tmp_path: Path) -> None:
    kinds = {
        "bert": BertForMaskedLM(BertConfig(intermediate_size=16, **SIZE)),
        "vit": ViTForImageClassification(
            ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1)
        ),
    }
    for name, model in kinds.items():
        model.save_pretrained(tmp_path / name)
        said = imported(run_stage, tmp_path / name, name=name).reason
        expected = f"{type(model).__name__}, expected a causal language model (as LlamaForCausalLM)"
        assert said == f"{tmp_path / name}: {expected}"


def test_an_adapter_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    loading.tune(tiny.model(), tiny.tuned(tiny.LORA), 0).save_pretrained(tmp_path / "adapter")
    said = imported(run_stage, tmp_path / "adapter").reason
    assert said.startswith(f"{tmp_path / 'adapter'}: an adapter, expected a model: merge it")
    planned = {"base": {"kind": "folder", "path": str(tmp_path / "adapter")}}
    with pytest.raises(UserError, match=r"base\.path: .*; it is an adapter: merge it into"):
        contents_of_files(experiment.load(planned))


def test_a_model_that_sees_what_comes_is_refused() -> None:
    model = BertLMHeadModel(BertConfig(intermediate_size=16, initializer_range=1.0, **SIZE)).eval()
    with refused("BertLMHeadModel sees the tokens after a place"):
        checks.causal(model, ENCODER.chats(["so happy"])[0])
    checks.causal(tiny.model(), ENCODER.chats(["so happy"])[0])


def test_a_layout_that_is_wrong_is_refused_where_it_is_asked_for() -> None:
    """Bloom's positions are biases of attention, which the packed kernel does not have."""
    torch.manual_seed(0)
    model = BloomForCausalLM(
        BloomConfig(vocab_size=360, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    ).eval()
    assert preflight.layouts(model, ENCODER, "padded") == {"packed": False}
    with pytest.raises(UserError, match=r"^compute\.layout: packed .* set compute\.layout to padd"):
        preflight.layouts(model, ENCODER, "packed")


# --- adapters, and what is saved


def test_names_that_match_no_layer_are_refused() -> None:
    model = tiny.mistral()
    checks.modules(model, ["q_proj", "layers.0.self_attn.v_proj", "lm_head"], "m")
    checks.modules(model, ["all-linear"], "m")
    with refused("m: no layer of the model is called 'v_porj', did you mean 'v_proj'?"):
        checks.modules(model, ["q_proj", "v_porj"], "m")
    with refused("m: no layer of the model is called 'xyz', there are: down_proj, embed_tokens"):
        checks.modules(model, ["xyz"], "m")
    tied = tiny.model()
    for name in ("lm_head", "embed_tokens"):
        with refused(f"m: {name!r} shares its weights with the other end of the model"):
            checks.modules(tied, ["q_proj", name], "m")


def test_what_is_saved_has_the_loss_of_what_was_trained(tmp_path: Path) -> None:
    documents = tiny.random_documents(12, 1)
    engine = Engine(loading.tune(tiny.model(), tiny.tuned(tiny.LORA), 0), tiny.COMPUTE)
    preflight.save(engine, tiny.tokenizer(), documents, tmp_path / "right")

    class Wrong(torch.nn.Linear):
        """A layer that computes what its weights don't say."""

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(states)

    model = tiny.mistral()
    model.lm_head.__class__ = Wrong
    with refused("the model was trained to a loss of "):
        preflight.save(Engine(model, tiny.COMPUTE), tiny.tokenizer(), documents, tmp_path / "wrong")
