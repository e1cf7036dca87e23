"""What writes: transformers, or vLLM, behind one interface.

Both get token ids, never text, and stop at the end tokens that they are told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from infuse.config.compute import Arithmetic
from infuse.config.reasonings import Decoding
from infuse.core.errors import UserError, first_line
from infuse.data.encoder import Ids
from infuse.inference.generation import Written, continue_prompts
from infuse.models import loading

# Set where the user has not: they are read when vLLM is imported.
_ENVIRONMENT = {
    # In this process: batches then depend on the prompts alone, and a kill leaves nothing behind.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # jobs that bind threads all take the same cores
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "CRITICAL",  # errors are raised too
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "cpu": {"enforce_eager": True, "block_size": 32},
    # The other half is for the transformers model that scores the labels.
    "cuda": {"gpu_memory_utilization": 0.5},
}


class Writer(Protocol):
    """A model that continues prompts.

    Attributes:
        positions: prompt and continuation together are at most so many tokens.
    """

    positions: int

    def write(
        self,
        prompts: Sequence[Ids],
        rows: Sequence[int],
        ends: Collection[int],
        decoding: Decoding,
    ) -> list[Written]:
        """Continue each prompt; arguments and result are those of `continue_prompts`."""


def load_writer(backend: str, folder: Path, compute: Arithmetic) -> Writer:
    """The model of a folder, in the backend `transformers` or `vllm`.

    Args:
        compute: device, dtype and threads.

    Raises:
        UserError: the folder holds no usable model; or vLLM is asked for and is not installed,
            is built for another device, or can't run the model.
    """
    return VllmWriter(folder, compute) if backend == "vllm" else TransformersWriter(folder, compute)


class TransformersWriter:
    """transformers, in float32.

    Attributes:
        model: on its device, for whoever needs its scores too.
        positions: as of every `Writer`.
    """

    def __init__(self, folder: Path, compute: Arithmetic) -> None:
        device = loading.set_threads(compute)
        self.model = loading.load_model(folder).to(device).eval()
        self.positions = loading.positions(self.model)

    def write(
        self,
        prompts: Sequence[Ids],
        rows: Sequence[int],
        ends: Collection[int],
        decoding: Decoding,
    ) -> list[Written]:
        """Continue each prompt; see `continue_prompts`."""
        return continue_prompts(self.model, prompts, rows, ends, decoding)


class VllmWriter:
    """vLLM, in this process, with weights and arithmetic in `compute.dtype`.

    Attributes:
        positions: the model's, or what memory holds.
    """

    def __init__(self, folder: Path, compute: Arithmetic) -> None:
        loading.set_threads(compute)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        with _silence(), _any_kernel():
            self._vllm = _import_vllm(compute.device)
            try:
                self._model = self._vllm.LLM(
                    str(folder), dtype=compute.dtype, seed=0, skip_tokenizer_init=True,
                    generation_config="vllm",  # the model's own may set a temperature
                    max_model_len=-1,  # the model's, or what memory holds
                    enable_prefix_caching=True,  # prompts share the chat before a text
                    # Half a prompt draws a token to throw away: on CPU that fails, on a GPU it
                    # may move the row's later draws.
                    enable_chunked_prefill=False,
                    use_tqdm_on_load=False, **_SETTINGS[compute.device],
                )  # fmt: skip
                # What its kernels don't support, it says at the first token.
                self._continue([[0]], [self._vllm.SamplingParams(max_tokens=1, detokenize=False)])
            except Exception as refusal:  # vLLM has errors of many kinds
                reason = f"{type(refusal).__name__}: {first_line(refusal)}"
                raise UserError(f"{folder}: vLLM can't run it ({reason})") from refusal
        self.positions = int(self._model.model_config.max_model_len)

    def write(
        self,
        prompts: Sequence[Ids],
        rows: Sequence[int],
        ends: Collection[int],
        decoding: Decoding,
    ) -> list[Written]:
        """Continue each prompt; see `continue_prompts`.

        Raises:
            UserError: a prompt fills all `positions`; or vLLM refuses the sampling.
        """
        for row, prompt in zip(rows, prompts, strict=True):
            if len(prompt) >= self.positions:
                raise UserError(f"row {row}: more tokens than the {self.positions} of vLLM")
        try:
            wishes = [self._wish(row, ends, decoding) for row in rows]
        except Exception as refusal:
            raise UserError(f"vLLM refuses the sampling: {first_line(refusal)}") from None
        # A chunk must not depend on the chunks before it.
        self._model.reset_prefix_cache()
        with _any_kernel():
            completions = self._continue(prompts, wishes)
        written = []
        for completion in completions:
            tokens = list(completion.token_ids)
            if completion.finish_reason == "stop":
                written.append(Written(tokens[:-1], "stop"))
            else:  # at max_new_tokens, or at the last position
                written.append(Written(tokens, "length"))
        return written

    def _continue(self, prompts: Sequence[Ids], wishes: Sequence[Any]) -> list[Any]:
        """VLLM's `CompletionOutput` of each prompt."""
        asked = [{"prompt_token_ids": prompt} for prompt in prompts]
        return [
            output.outputs[0]
            for output in self._model.generate(asked, list(wishes), use_tqdm=False)
        ]

    def _wish(self, row: int, ends: Collection[int], decoding: Decoding) -> Any:
        """VLLM's `SamplingParams` of one row."""
        drawn: dict[str, Any] = {"temperature": 0.0}
        if decoding.temperature:
            drawn = {"temperature": decoding.temperature, "top_p": decoding.top_p}
            drawn["seed"] = int(np.random.default_rng([decoding.seed, row]).integers(2**63))
        return self._vllm.SamplingParams(
            max_tokens=decoding.max_new_tokens, stop_token_ids=sorted(ends), ignore_eos=True,
            detokenize=False, **drawn,
        )  # fmt: skip


def _import_vllm(device: str) -> Any:
    try:
        import vllm
        from vllm.platforms import current_platform
    except ImportError as missing:
        raise UserError(
            f"backend: vllm can't be imported ({first_line(missing)}); it has an environment of "
            "its own: make .venv-vllm/ready, or on a GPU pip install -r envs/vllm.txt"
        ) from None
    built = current_platform.device_type or "none that is here"
    if device != built:
        raise UserError(f"compute.device: {device}, but the device of this vLLM is {built}")
    return vllm


@contextmanager
def _silence() -> Iterator[None]:
    """Keep stderr, that of native code included, for errors; they are raised and told later."""
    if os.environ["VLLM_LOGGING_LEVEL"] != _ENVIRONMENT["VLLM_LOGGING_LEVEL"]:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)


@contextmanager
def _any_kernel() -> Iterator[None]:
    """Lift the ban of `models.set_threads` on kernels that torch doesn't call deterministic.

    On a GPU vLLM samples with one of them, the cumulative sum.
    """
    strict = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
