"""What a chat server does, found out by asking: whether it continues an answer, keeps to seeds, thinks beforehand.

Each question is small; at most some words are generated. This module must not know how requests are sent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from ..errors import EngineError, TransientEngineError
from .chat_thoughts import Messages, Reply
from .engine import Request


Ask = Callable[..., Awaitable[Reply]]  # `await ask(messages, request, continues)`
ROOM = 16  # tokens of an answer
DIGITS = "123"  # the same tokens wherever they stand
CODE = "<answer>The code is marigold-7351.</answer>"
CUT = CODE.index("gold")
RANDOM = "Write ten words that have nothing to do with each other."


def _user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


async def takes_system_turns(ask: Ask, sampling: Request) -> bool:
    """
    Whether a conversation may begin with a system's turn. Some templates refuse one.

    Raises:
        EngineError: The server refuses this question in any form.
    """
    try:
        await ask([{"role": "system", "content": "Be brief."}, *_user("Say yes.")], sampling)
    except EngineError as error:
        if error.status in (400, 422, 500) and "system" in str(error).lower():
            await ask(_user("Be brief. Say yes."), sampling)
            return False
        raise
    return True


@dataclass(frozen=True)
class Seeds:
    """
    What seeds do.

    Args:
        remark (`str`): In words, for the provenance.
        alike (`bool`): Two of them gave the same answer.
        reasons (`bool`): The model thinks before it answers.
    """

    remark: str
    alike: bool
    reasons: bool


async def observe_seeds(ask: Ask, sampling: Request) -> Seeds:
    """What seeds do, and whether the model thinks before it answers."""
    replies = [await ask(_user(RANDOM), replace(sampling, seed=seed)) for seed in (1, 1, 2)]
    first, again, other = ((reply.reasoning, reply.text) for reply in replies)
    remark = "ignored: not reproducible"
    if first == again:
        remark = "honoured" if first != other else "not known: some give the same answer"
    return Seeds(remark, first == other, any(reply.reasoning or not reply.text for reply in replies))


async def continues_turns(ask: Ask, sampling: Request) -> bool:
    """
    Whether the server goes on with an assistant's turn, instead of beginning a new one after it.

    A turn that is closed costs the tokens that close it and begin the next; one that is continued costs its text
    alone. Where this is not clear, an answer that ends inside a word is to be completed.
    """
    try:
        none = await ask(_user("Count."), sampling)
        once, twice = [
            await ask([*_user("Count."), {"role": "assistant", "content": text}], sampling, True)
            for text in (DIGITS, 2 * DIGITS)
        ]
        told = _user(f"Repeat, to the letter: {CODE}")
        code = await ask([*told, {"role": "assistant", "content": CODE[:CUT]}], sampling, True)
    except TransientEngineError as error:
        if error.status in (None, 408, 429, 502, 503, 504):
            raise
        return False
    except EngineError:  # some refuse a conversation that ends with the assistant
        return False
    if not code.text and code.reasoning:  # what it goes on with is taken for its reasoning
        return False
    added = (once.prompt_tokens - none.prompt_tokens) - (twice.prompt_tokens - once.prompt_tokens)
    if none.prompt_tokens and added != 1:
        return added <= 0
    return code.text.lstrip().startswith(CODE[CUT : CUT + 4])
