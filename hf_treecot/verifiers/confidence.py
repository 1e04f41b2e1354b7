"""A reward without a rule, for open-ended problems: how sure a model is of an answer's tokens (Marco-o1 v1).

It is **unverified**: a model may be sure and wrong. Every verdict says so in its reason, every tree in its provenance;
do not mix its trees with verified ones. It asks a server with OpenAI's `/v1/completions` that echoes a prompt with its
log-probabilities (vLLM, SGLang, llama.cpp), named by `$TREECOT_CONFIDENCE_URL` and `$TREECOT_CONFIDENCE_MODEL`.
"""

import math
import os
from collections.abc import Mapping, Sequence

from huggingface_hub.utils import httpx

from ..base import Problem, Verdict
from ..errors import InvalidInputError


RULE = "2, unverified"
# Where vLLM, SGLang and llama.cpp tell their versions, and under which name.
ABOUT = {"/version": "version", "/get_server_info": "version", "/props": "build_info"}
TOP = 5  # candidates among which a token's probability is taken
TIMEOUT = 8.0  # seconds: below the pool's limit, so that the error names its cause


def __getattr__(name: str) -> str:
    """`VERSION` is that of the rule, and of the server that is named now: a reward depends on both."""
    if name != "VERSION":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    url, model = os.environ.get("TREECOT_CONFIDENCE_URL"), os.environ.get("TREECOT_CONFIDENCE_MODEL")
    if not url or not model:
        return RULE
    try:
        with httpx.Client(base_url=url.rstrip("/"), headers=_headers(), timeout=TIMEOUT) as client:
            replies = [client.get(path) for path in ABOUT]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InvalidInputError(
            f"the confidence verifier's server {url!r} cannot be asked ({type(error).__name__}: {error}): start it, "
            "or set TREECOT_CONFIDENCE_URL to one that runs"
        ) from error
    told = [_told(reply, key) for reply, key in zip(replies, ABOUT.values(), strict=True)]
    return ", ".join([RULE, f"model {model}", *(f"server {version}" for version in told if version)])


def _told(reply: httpx.Response, key: str) -> str:
    try:
        about = reply.json() if reply.is_success else None
    except ValueError:
        about = None
    return str(about.get(key) or "") if isinstance(about, dict) else ""


def _headers() -> dict[str, str]:
    key = os.environ.get("TREECOT_CONFIDENCE_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


def mean_confidence(chosen: Sequence[float], alternatives: Sequence[Sequence[float]]) -> float:
    """
    The mean over an answer's tokens of the softmax of the chosen token among the top five.

    Args:
        chosen (`Sequence[float]`): Log-probability of every token of the answer.
        alternatives (`Sequence[Sequence[float]]`): For every token, the log-probabilities of its most likely
            alternatives, the chosen token left out; the four best of them are taken.

    Returns:
        `float`: In (0, 1].

    Raises:
        ValueError: There are no tokens.
    """
    if not chosen or len(chosen) != len(alternatives):
        raise ValueError(
            f"{len(chosen)} tokens with alternatives for {len(alternatives)}: need at least 1, and as many"
        )
    confidences = []
    for own, others in zip(chosen, alternatives, strict=True):
        best = sorted(others, reverse=True)[: TOP - 1]
        confidences.append(1 / (1 + sum(math.exp(min(other - own, 700)) for other in best)))
    return sum(confidences) / len(confidences)


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Ask a server how likely every token of an answer is after the problem's text.

    Args:
        completion (`str`): The text of an answer thought.
        problem ([`Problem`]): Its `answer` is not used.

    Returns:
        [`Verdict`]: The mean confidence; its `reason` is `"unverified"`.

    Raises:
        ValueError: No server is named, or it gives no log-probabilities of the answer's tokens.
        httpx.HTTPError: It cannot be asked.
    """
    answer = completion.strip()
    if not answer:
        return Verdict(0.0, None, "no_answer")
    logprobs, start = ask(problem.prompt, answer)
    tokens = zip(
        logprobs["text_offset"], logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    )
    chosen, alternatives = [], []
    for offset, token, own, top in tokens:
        # A token may begin with the white space before the answer; the one generated after it is not its own.
        if start < offset + len(token) and offset < start + len(answer) and own is not None:
            chosen.append(own)
            alternatives.append([value for other, value in (top or {}).items() if other != token])
    if not chosen or not any(alternatives):
        raise ValueError("the server gives no top log-probabilities of the answer's tokens (echo and logprobs)")
    return Verdict(mean_confidence(chosen, alternatives), answer, "unverified")


def ask(prompt: str, answer: str) -> tuple[Mapping, int]:
    """The `logprobs` that the server echoes for a prompt with its answer, and where in that text the answer starts."""
    url, model = os.environ.get("TREECOT_CONFIDENCE_URL"), os.environ.get("TREECOT_CONFIDENCE_MODEL")
    if not url or not model:
        raise ValueError(
            "no server is named: set TREECOT_CONFIDENCE_URL (such as http://127.0.0.1:8000) and "
            "TREECOT_CONFIDENCE_MODEL"
        )
    before = f"{prompt}\n\n"
    reply = httpx.post(
        f"{url.rstrip('/')}/v1/completions",
        json={
            "model": model,
            "prompt": before + answer,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": TOP,
        },
        headers=_headers(),
        timeout=TIMEOUT,
    )
    reply.raise_for_status()
    logprobs = reply.json()["choices"][0].get("logprobs")
    if not logprobs or not {"tokens", "token_logprobs", "top_logprobs", "text_offset"} <= logprobs.keys():
        raise ValueError("the server's reply has no logprobs")
    return logprobs, len(before)
