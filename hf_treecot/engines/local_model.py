"""A transformers model as the local engine needs it: loaded, refused if it cannot be run, and told from others."""

import inspect
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from ..errors import InvalidInputError
from ..files import fingerprint
from .chat_template import digest, tokenizer_digests
from .engine import EngineIdentity


def load_model(
    name_or_path: str,
    revision: str | None,
    dtype: str | None,
    device: str | None,
    trust_remote_code: bool,
    model_class: type = transformers.AutoModelForCausalLM,
) -> tuple[Any, Any]:
    """
    A model and its tokenizer from the Hub or a directory; see [`~local.LocalEngine.from_pretrained`].

    Args:
        model_class (`type`): What loads the model.

    Raises:
        InvalidInputError: There is none, or it cannot be loaded.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
    if not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InvalidInputError(f"dtype={dtype!r} is unknown: use float32, bfloat16, float16 or float64")
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name_or_path, **options)
        model = model_class.from_pretrained(name_or_path, dtype=getattr(torch, dtype), **options)
    except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise InvalidInputError(
            f"model {name_or_path!r} cannot be loaded ({reason}): give a directory or a Hub name"
        ) from error
    return model.to(device), tokenizer


def identify(model, tokenizer, name: str | None = None, revision: str | None = None) -> EngineIdentity:
    """
    All that the completions of a model depend on.

    Args:
        model (`~transformers.PreTrainedModel`): As it was loaded.
        tokenizer (`~transformers.PreTrainedTokenizerBase`): Its tokenizer.
        name (`str`, *optional*): What to call it instead of the name that it was loaded by.
        revision (`str`, *optional*): Which one was asked for.
    """
    loaded_from = model.config.name_or_path
    if loaded_from and Path(loaded_from).is_dir():
        commit = fingerprint(Path(loaded_from))
    else:
        commit = getattr(model.config, "_commit_hash", None) or revision or ""
    return EngineIdentity(
        "local",
        name or loaded_from,
        commit,
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=_quantization(model.config),
        version=f"transformers {transformers.__version__}, torch {torch.__version__}",
        **tokenizer_digests(tokenizer),
    )


def _quantization(config) -> str:
    settings = getattr(config, "quantization_config", None)
    if not settings:
        return ""
    settings = settings if isinstance(settings, dict) else settings.to_dict()
    method = settings.get("quant_method", "")
    return f"{getattr(method, 'value', method)} {digest(settings)}".strip()


def check_model(model, tokenizer) -> None:
    """
    Raises:
        InvalidInputError: Its attention is not what the engine computes, or there is no chat template.
    """
    name = model.config.name_or_path
    kinds = _layer_kinds(model.config)
    if kinds not in ({"full_attention"}, {"sliding_attention"}) or not hasattr(
        model.config, "max_position_embeddings"
    ):
        raise InvalidInputError(
            f"model {name!r} has layers of the kinds {sorted(kinds)}: the local engine takes full attention, or the "
            "same sliding window in all layers; serve this model with text-generation-inference or vLLM instead"
        )
    if (attention := model.config._attn_implementation) not in ("sdpa", "eager"):
        raise InvalidInputError(
            f"model {name!r} has attention {attention!r}: the local engine takes sdpa and eager; load it with "
            "attn_implementation='sdpa'"
        )
    if tokenizer.chat_template is None:
        raise InvalidInputError(
            f"the tokenizer of model {name!r} has no chat template: "
            "use an instruction-tuned model, or set tokenizer.chat_template"
        )


def _layer_kinds(config) -> set[str]:
    """Kinds of the layers; where none are named, as of Mistral, a window is that of all layers."""
    unnamed = "full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"
    return set(getattr(config, "layer_types", None) or [unnamed])


class AttentionMask:
    """
    Which positions a token sees, as a model's attention wants it told.

    Args:
        model (`~transformers.PreTrainedModel`): As [`check_model`] takes it.
    """

    def __init__(self, model):
        self.window = model.config.sliding_window if _layer_kinds(model.config) == {"sliding_attention"} else None
        # sdpa reads truth values; eager attention would add them to its scores.
        self.masked_score = torch.finfo(model.dtype).min if model.config._attn_implementation == "eager" else None
        self.dtype = model.dtype

    def __call__(self, positions: torch.Tensor, length: int) -> torch.Tensor:
        """
        The mask of some tokens.

        Args:
            positions (`torch.Tensor` of shape `(rows, tokens)`): Where the tokens are.
            length (`int`): How many positions there are to be seen.

        Returns:
            `torch.Tensor` of shape `(rows, 1, tokens, length)`.
        """
        last = positions[:, None, :, None]
        seen = torch.arange(length, device=positions.device)
        visible = seen <= last
        if self.window is not None:
            visible &= seen > last - self.window
        if self.masked_score is None:
            return visible
        scores = torch.zeros(visible.shape, dtype=self.dtype, device=positions.device)
        return scores.masked_fill(~visible, self.masked_score)


def cache_argument(model) -> str:
    """What a model calls its keys and values: transformers 5.24 renamed them, models' own code may not have."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def end_tokens(model, tokenizer) -> set[int]:
    """The tokens that end a turn."""
    end = model.generation_config.eos_token_id if model.generation_config is not None else None
    tokens = set(end if isinstance(end, list) else [end])
    return {token for token in tokens | {tokenizer.eos_token_id} if token is not None}
