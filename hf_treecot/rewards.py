"""Verifiers as reward functions of TRL: `GRPOTrainer(reward_funcs=[math_reward])`, and RLOO alike.

Every built-in rule has one. `confidence` has none: it is no rule, and a policy would only learn to be sure.

This module knows texts, problems and verdicts. It must know neither TRL nor torch.
"""

from collections.abc import Callable, Sequence

from .base import BUILT_IN_VERIFIERS, Problem
from .errors import InvalidInputError
from .verifiers import load_verifier
from .verifiers.judging import judge_all
from .verifiers.worker import verifier_pool


NO_COLUMNS = ("completion_ids", "trainer_state", "log_extra", "log_metric", "environments")  # what else TRL passes
Text = str | list[dict]  # plain, or a conversation


def verifier_reward(verifier: str) -> Callable:
    """
    The reward function of a verifier, as TRL's trainers take it.

    Args:
        verifier (`str`): A built-in one, or one of your own as `"package.module:function"`.

    Returns:
        `Callable`: The reward function `{verifier}_reward`, `{function}_reward` for one of your own. It is
            asynchronous, so that TRL lets several verifiers work at the same time. Its arguments are:

            - `prompts`, `completions` (`list`): Texts or conversations. The answer is in the last message, and only
              if the assistant wrote it.
            - `answer` (`list`): The dataset's column of gold answers. A row without one has no reward.
            - `verifier` (`list`, *optional*): The dataset's column of verifiers. A row that names another built-in one
              has no reward of this one, so that one dataset may hold all kinds of problems.
            - `no_answer_penalty` (`float`): What a completion without any answer costs. Set it by
              `functools.partial(math_reward, no_answer_penalty=0.5)`, which TRL logs as `math_reward`. It is an
              argument, and no reward function with a weight of its own: only the verifier knows what is an answer,
              and a second function would have each completion verified twice.

            It returns 1 for a right answer, 0 for a wrong one, `-no_answer_penalty` for none, and None, which TRL
            leaves out, where there is no reward or the verifier failed. Failures are warned of; their share and that
            of completions without an answer are logged as `rewards/{name}/failure_rate` and `…/no_answer_rate`.

    Raises:
        InvalidInputError: When it is called: there is no such verifier, the dataset has no column `answer`, or the
            penalty is no number from 0.

    Example:

    ```python
    trainer = GRPOTrainer(model, reward_funcs=[math_reward, verifier_reward("my_package.my_module:check")], ...)
    ```
    """
    name = f"{verifier.rpartition(':')[2]}_reward"

    async def reward(
        prompts: Sequence[Text],
        completions: Sequence[Text],
        answer: Sequence | None = None,
        no_answer_penalty: float = 0.0,
        **columns,
    ) -> list[float | None]:
        load_verifier(verifier)  # a name that is wrong is said at once, not row by row
        _check(name, answer, no_answer_penalty, columns)
        named = columns.get("verifier") if verifier in BUILT_IN_VERIFIERS else None  # data cannot name one's own
        rows = [
            row
            for row, gold in enumerate(answer)
            if gold is not None and (named is None or named[row] in (None, verifier))
        ]
        texts = [_reply(completions[row]) for row in rows]
        problems = [Problem(f"row {row}", _question(prompts[row]), str(answer[row]), verifier) for row in rows]
        # Lengths and limits tell kinds of silence apart, which cost the same.
        judged = await judge_all(texts, problems, [0] * len(rows), [False] * len(rows), verifier_pool())
        rewards: list[float | None] = [None] * len(completions)
        for row, output in zip(rows, judged, strict=True):
            if output.verdict is not None:
                rewards[row] = 0.0 - no_answer_penalty if output.no_answer else output.reward
        if rows and (log_metric := columns.get("log_metric")):
            log_metric(f"rewards/{name}/failure_rate", sum(o.verdict is None for o in judged) / len(rows))
            log_metric(f"rewards/{name}/no_answer_rate", sum(bool(o.no_answer) for o in judged) / len(rows))
        return rewards

    reward.__name__ = reward.__qualname__ = name  # TRL logs by it
    reward.__doc__ = (
        f"The reward of the verifier `{verifier}`: 1 for a right answer, 0 for a wrong one, `-no_answer_penalty` for\n"
        "none, None where the verifier failed or a row is not for it. See [`verifier_reward`]."
    )
    return reward


def _check(name: str, answer: Sequence | None, penalty: float, columns: dict) -> None:
    if answer is None:
        there = ", ".join(repr(column) for column in sorted({"prompt", *columns} - {*NO_COLUMNS}))
        raise InvalidInputError(
            f"{name} reads the gold answers from the column 'answer', and the dataset has only {there}: rename the "
            "column that holds them, dataset.rename_column('solution', 'answer')"
        )
    if isinstance(penalty, bool) or not isinstance(penalty, int | float) or not 0 <= penalty < float("inf"):
        raise InvalidInputError(f"no_answer_penalty={penalty!r} is out of range: it must be a number from 0")


def _question(prompt: Text) -> str:
    """What was asked: all that the user said."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(_text(message) for message in prompt if message["role"] == "user")


def _reply(completion: Text) -> str:
    """Where the answer is: the last message. One that a tool wrote is none of the model's."""
    if isinstance(completion, str):
        return completion
    return _text(completion[-1]) if completion and completion[-1]["role"] == "assistant" else ""


def _text(message: dict) -> str:
    """The text of a message, whose content may be parts (text, images), or nothing beside calls of tools."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


instructions_reward = verifier_reward("instructions")
letters_reward = verifier_reward("letters")
math_reward = verifier_reward("math")
planning_reward = verifier_reward("planning")
