"""What a client asks for, read and checked: every parameter is obeyed, or refused by name as OpenAI does.

This module knows OpenAI's parameters. It must not know HTTP, nor how answers come to be.
"""

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .answering import Sampling
from .refusals import RefusalError, invalid
from .values import read_messages, read_number, read_stop


DECODINGS = ("plain", "samples", "search")
# How many answers' tokens a search or a vote may spend.
EFFORTS = {"minimal": 2, "low": 4, "medium": 8, "high": 16, "xhigh": 32}
MAX_CHOICES = 16
# Parameters that are not supported, with the values that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (None,),
    "best_of": (None, 1),
    "echo": (None, False),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "min_p": (None, 0),
    "modalities": (None, ["text"]),
    "parallel_tool_calls": (None, False, True),
    "prediction": (None,),
    "presence_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "response_format": (None, {"type": "text"}),
    "store": (None, False),
    "suffix": (None, ""),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "top_k": (None, 0, -1),
    "top_logprobs": (None, 0),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}
# What says nothing about the answer.
IGNORED = {"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user"}
COMMON = {"max_tokens", "model", "n", "seed", "stop", "stream", "stream_options", "temperature", "top_p"}
CHAT = {*COMMON, "max_completion_tokens", "messages", "reasoning_effort"}
TEXT = {*COMMON, "logprobs", "prompt"}


@dataclass(frozen=True)
class Defaults:
    """
    What a request is answered with where it says nothing, and how much it may ask for.

    Args:
        name (`str`): Of the model.
        temperature, top_p (`float`): Sampling.
        answer_tokens (`int`): Tokens of one answer; the effort says how many answers' tokens are spent.
        effort (`str`): Of searches and votes, one of [`EFFORTS`].
        max_tokens (`int`): Generated tokens of a request, all choices together.
    """

    name: str
    temperature: float = 0.7
    top_p: float = 0.95
    answer_tokens: int = 1024
    effort: str = "medium"
    max_tokens: int = 32_768


@dataclass(frozen=True)
class Asked:
    """
    A request.

    Args:
        model (`str`): As the client names it.
        decoding (`str`): One of [`DECODINGS`], or `"text"`: a raw prompt is continued.
        messages (`tuple[dict]`): The conversation; of a raw prompt one message.
        sampling ([`Sampling`]): Of the first choice.
        tokens (`int`): Generated tokens of one choice, at most.
        samples (`int`): Of a vote; the answers whose tokens a search may spend.
        num_choices (`int`): Independent answers.
        stream, include_usage, log_probabilities (`bool`): What is to be told, and how.
    """

    model: str
    decoding: str
    messages: tuple[dict[str, str], ...]
    sampling: Sampling
    tokens: int
    samples: int = 1
    num_choices: int = 1
    stream: bool = False
    include_usage: bool = False
    log_probabilities: bool = False


def read_json(body: bytes) -> dict[str, Any]:
    """
    The object that a request's body holds.

    Raises:
        RefusalError: It holds none.
    """

    def refuse(_: str) -> None:
        raise ValueError

    def whole(digits: str) -> int:
        """Of few digits: a library may have lifted Python's own limit for the whole process."""
        return int(digits) if len(digits) < 100 else refuse(digits)

    try:
        content = json.loads(body, parse_constant=refuse, parse_int=whole)
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RefusalError(400, "We could not parse the JSON body of your request: send a JSON object in UTF-8.")
    return content


def read_chat(body: Mapping[str, Any], defaults: Defaults) -> Asked:
    """
    A request for a chat completion.

    Args:
        body (`Mapping[str, Any]`): As the client sends it.
        defaults ([`Defaults`]): Of the server.

    Raises:
        RefusalError: It cannot be answered, by the first parameter that is wrong.
    """
    _check_names(body, CHAT)
    model = _model(body)
    decoding = decoding_of(model, defaults.name)
    messages = read_messages(body.get("messages"))
    effort = body.get("reasoning_effort")
    if effort is not None and decoding == "plain":
        raise _unsupported("reasoning_effort", f": ask {defaults.name}:search or {defaults.name}:samples")
    effort = effort or defaults.effort
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise invalid("reasoning_effort", f"Invalid value for 'reasoning_effort': use one of {', '.join(EFFORTS)}.")
    answers = 1 if decoding == "plain" else EFFORTS[effort]
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    tokens = _tokens(body, name, answers * defaults.answer_tokens, defaults)
    if decoding != "plain":  # a bound is no wish: the effort says what is worth spending
        tokens = min(tokens, answers * defaults.answer_tokens)
    sampling = _sampling(body, defaults)
    if decoding == "samples":
        if sampling.temperature == 0:
            raise invalid("temperature", "Invalid 'temperature': samples at 0 are all the same. Ask for more than 0.")
        if tokens < answers:
            raise too_few_tokens(name, tokens)
    return Asked(
        model, decoding, messages, sampling, tokens, answers, _choices(body, tokens, defaults), *_stream(body)
    )


def read_text(body: Mapping[str, Any], defaults: Defaults) -> Asked:
    """
    A request for the continuation of a raw prompt; arguments and errors as of [`read_chat`].

    It is for engines that render prompts themselves, such as those of `treecot build --engine openai`.
    """
    _check_names(body, TEXT)
    model = _model(body)
    if decoding_of(model, defaults.name) != "plain":
        raise invalid("model", f"A raw prompt is not searched: ask {defaults.name}, or /v1/chat/completions.")
    prompt = _required(body, "prompt")
    if not isinstance(prompt, str) or not prompt:
        raise invalid("prompt", "Invalid 'prompt': expected a text that is not empty.", "invalid_type")
    if body.get("stream"):
        raise _unsupported("stream", " for raw prompts")
    log_probabilities = body.get("logprobs")
    if log_probabilities not in (None, False, 0, 1):
        raise invalid("logprobs", "Invalid 'logprobs': expected 0 or 1, the sum over the text's own tokens.")
    tokens = _tokens(body, "max_tokens", defaults.answer_tokens, defaults)
    if _choices(body, tokens, defaults) != 1:
        raise _unsupported("n", " for raw prompts")
    return Asked(
        model, "text", ({"role": "user", "content": prompt},), _sampling(body, defaults), tokens,
        log_probabilities=log_probabilities not in (None, False),
    )  # fmt: skip


def decoding_of(model: str, name: str) -> str:
    """
    How a model that is asked for decodes.

    Raises:
        RefusalError: There is no such model.
    """
    served, _, decoding = model.rpartition(":")
    if model == name:
        return "plain"
    if served == name and decoding in DECODINGS[1:]:
        return decoding
    raise RefusalError(
        404,
        f"The model `{model[:200]}` does not exist: use one of {', '.join(model_names(name))}.",
        "model",
        "model_not_found",
    )


def model_names(name: str) -> tuple[str, ...]:
    """All names under which a model is served."""
    return (name, *(f"{name}:{decoding}" for decoding in DECODINGS[1:]))


def too_few_tokens(param: str, tokens: int) -> RefusalError:
    """No answer within a request's tokens."""
    return invalid(
        param,
        f"Could not finish the message because its {tokens} tokens were spent before there was any answer. "
        f"Try again with a higher {param} or reasoning_effort.",
        "token_budget_too_small",
    )


def _check_names(body: Mapping[str, Any], known: set[str]) -> None:
    if unknown := [name for name in body if name not in known | IGNORED | UNSUPPORTED.keys()]:
        many = "s" if len(unknown) > 1 else ""
        names = ", ".join(name[:100] for name in unknown[:20])
        raise RefusalError(
            400, f"Unrecognized request argument{many} supplied: {names}", unknown[0][:100], "unknown_parameter"
        )
    for name, nothing in UNSUPPORTED.items():
        if name in body and name not in known and not any(_same(body[name], value) for value in nothing):
            raise _unsupported(name)


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _unsupported(name: str, where: str = " with this model") -> RefusalError:
    return invalid(name, f"Unsupported parameter: '{name}' is not supported{where}.", "unsupported_parameter")


def _required(body: Mapping[str, Any], name: str) -> Any:
    if body.get(name) is None:
        raise invalid(name, f"Missing required parameter: '{name}'.", "missing_required_parameter")
    return body[name]


def _model(body: Mapping[str, Any]) -> str:
    model = _required(body, "model")
    if not isinstance(model, str):
        raise invalid("model", "Invalid type for 'model': expected a string.", "invalid_type")
    return model


def _sampling(body: Mapping[str, Any], defaults: Defaults) -> Sampling:
    seed = read_number(body, "seed", None, -(2**63), 2**63 - 1, whole=True)
    return Sampling(
        float(read_number(body, "temperature", defaults.temperature, 0, 2)),
        float(read_number(body, "top_p", defaults.top_p, math.ulp(1.0), 1)),
        secrets.randbits(31) if seed is None else seed,
        read_stop(body.get("stop")),
    )


def _tokens(body: Mapping[str, Any], name: str, default: int, defaults: Defaults) -> int:
    return read_number(body, name, min(default, defaults.max_tokens), 1, defaults.max_tokens, whole=True)


def _choices(body: Mapping[str, Any], tokens: int, defaults: Defaults) -> int:
    choices = read_number(body, "n", 1, 1, MAX_CHOICES, whole=True)
    if choices * tokens > defaults.max_tokens:
        raise invalid(
            "n", f"Invalid 'n': {choices} choices of {tokens} tokens are more than the {defaults.max_tokens} tokens "
            "that a request may spend. Ask for fewer, or lower max_completion_tokens.",
        )  # fmt: skip
    return choices


def _stream(body: Mapping[str, Any]) -> tuple[bool, bool]:
    stream, options = body.get("stream") or False, body.get("stream_options") or {}
    if not isinstance(stream, bool):
        raise invalid("stream", "Invalid type for 'stream': expected a boolean.", "invalid_type")
    if not isinstance(options, dict) or not options.keys() <= {"include_usage", "include_obfuscation"}:
        raise invalid("stream_options", "Invalid 'stream_options': only include_usage is known.")
    if options and not stream:
        raise invalid("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    usage = options.get("include_usage") or False
    if not isinstance(usage, bool):
        raise invalid("stream_options", "Invalid type for 'stream_options': expected a boolean.", "invalid_type")
    return stream, usage
