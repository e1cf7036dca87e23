"""The one place that imports transformers, without what it loads for uses that we have not.

Where scikit-learn, scipy and pandas are installed, it loads them for assisted decoding and object
detection: a third of its start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _unseen(*packages: str) -> Iterator[None]:
    """Let packages that are not loaded yet seem not to be installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _unseen("sklearn", "scipy", "pandas"):
    from transformers import (
        AttentionInterface,
        AttentionMaskInterface,
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BitsAndBytesConfig,
        DynamicCache,
        GenerationConfig,
        LlamaConfig,
        LlamaForCausalLM,
    )
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
    from transformers.modeling_layers import GradientCheckpointingLayer
    from transformers.modeling_utils import PreTrainedModel
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )
    from transformers.pytorch_utils import Conv1D
    from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast
    from transformers.utils import find_adapter_config_file
    from transformers.utils.logging import disable_progress_bar

__all__ = [
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "AttentionInterface",
    "AttentionMaskInterface",
    "AutoConfig",
    "AutoModelForCausalLM",
    "AutoModelForSequenceClassification",
    "AutoTokenizer",
    "BitsAndBytesConfig",
    "Conv1D",
    "DynamicCache",
    "DynamicLayer",
    "DynamicSlidingWindowLayer",
    "GenerationConfig",
    "GradientCheckpointingLayer",
    "LlamaConfig",
    "LlamaForCausalLM",
    "PreTrainedModel",
    "PreTrainedTokenizerFast",
    "disable_progress_bar",
    "find_adapter_config_file",
]
