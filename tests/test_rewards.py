"""Verifiers as TRL's reward functions: called as TRL calls them, and by it."""

import asyncio
import functools
import os
import pickle
import re
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from trl.trainer.utils import get_callable_name, is_async_callable

from hf_treecot import load_problems
from hf_treecot.errors import InvalidInputError
from hf_treecot.rewards import (
    instructions_reward,
    letters_reward,
    math_reward,
    planning_reward,
    verifier_reward,
)
from hf_treecot.verifiers.worker import VerifierPool, verifier_pool


QUESTION = "What is 6 times 7?"
RIGHT, WRONG, NONE = r"So it is \boxed{42}.", r"<answer>\boxed{41}</answer>", "<thinking>Six times seven is"


def call(reward, prompts, completions, **columns):
    """As TRL calls it."""
    return asyncio.run(
        reward(prompts=prompts, completions=completions, completion_ids=[[0]] * len(prompts), **columns)
    )


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


@pytest.mark.parametrize("reward", [instructions_reward, letters_reward, math_reward, planning_reward])
def test_trl_knows_their_names_and_can_send_them_to_other_processes(reward):
    assert is_async_callable(reward)
    assert get_callable_name(functools.partial(reward, no_answer_penalty=1)).endswith("_reward")
    assert pickle.loads(pickle.dumps(reward)) is reward


@pytest.mark.parametrize("conversational", [False, True])
def test_right_wrong_and_no_answer(conversational):
    prompts, completions = [QUESTION] * 3, [RIGHT, WRONG, NONE]
    if conversational:
        prompts = [[{"role": "system", "content": "Think."}, user(text)] for text in prompts]
        completions = [[assistant(text)] for text in completions]
    assert call(math_reward, prompts, completions, answer=["42"] * 3) == [1.0, 0.0, 0.0]
    careful = functools.partial(math_reward, no_answer_penalty=0.5)
    assert call(careful, prompts, completions, answer=[42] * 3) == [1.0, 0.0, -0.5]


def test_of_several_turns_the_last_message_answers_all_that_the_user_said():
    prompt = [user("What is 6 times 7?"), assistant(r"\boxed{42}"), user("And 8 times that, as 6 \\cdot 7 \\cdot 8?")]
    tool = {"role": "tool", "content": r"\boxed{336}"}
    asked = assistant(None, tool_calls=[{"type": "function", "function": {"name": "multiply", "arguments": {}}}])
    completions = [
        [assistant(r"\boxed{336}")],
        [assistant(r"\boxed{1}"), asked, tool, assistant(r"\boxed{336}")],
        [assistant(r"\boxed{336}"), asked, tool],
        [asked],
        [assistant([{"type": "text", "text": r"It is \boxed{3"}, {"type": "text", "text": "36}"}])],
        [assistant(r"\boxed{6 \cdot 7 \cdot 8}")],  # restates the question
        [],
    ]
    reward = functools.partial(math_reward, no_answer_penalty=1.0)
    rewards = call(reward, [prompt] * len(completions), completions, answer=["336"] * len(completions))
    assert rewards[:5] == [1.0, 1.0, -1.0, -1.0, 1.0]
    assert rewards[5] <= 0
    assert rewards[6] == -1.0


def test_every_kind_of_problem_has_its_own_reward_in_one_dataset():
    problems = [problem for name in ("letters", "blocks", "arithmetic") for problem in load_problems(name, limit=1)]
    rows = [asdict(problem) for problem in problems]
    columns = {name: [row[name] for row in rows] for name in ("answer", "verifier", "problem_id")}
    prompts, completions = [row["prompt"] for row in rows], [rf"\boxed{{{row['answer']}}}" for row in rows]
    for reward in (letters_reward, planning_reward, math_reward, instructions_reward):
        rewards = call(reward, prompts, completions, **columns)
        kinds = [f"{kind}_reward" == reward.__name__ for kind in columns["verifier"]]
        assert any(kinds) == (reward is not instructions_reward)
        assert [value is not None for value in rewards] == kinds
    assert call(letters_reward, prompts, completions, **columns) == [1.0, None, None]


def test_a_dataset_without_gold_answers_is_refused():
    with pytest.raises(InvalidInputError, match="'answer'.* has only 'prompt', 'solution': .*rename_column"):
        call(math_reward, [QUESTION], [RIGHT], solution=["42"], trainer_state=None, log_metric=print)


def test_a_row_without_gold_answer_has_no_reward():
    assert call(math_reward, [QUESTION] * 2, [RIGHT, RIGHT], answer=[None, "42"]) == [None, 1.0]


@pytest.mark.parametrize("penalty", [-1, "1", None, True, float("nan"), [0.5]])
def test_a_penalty_that_is_none_is_refused(penalty):
    with pytest.raises(InvalidInputError, match="no_answer_penalty"):
        call(functools.partial(math_reward, no_answer_penalty=penalty), [QUESTION], [RIGHT], answer=["42"])


def test_an_unknown_verifier_is_refused():
    with pytest.raises(InvalidInputError, match="verifier 'maths' cannot be loaded"):
        call(verifier_reward("maths"), [QUESTION], [RIGHT], answer=["42"])


def test_a_verifier_that_fails_is_no_reward_and_is_counted(caplog):
    logged = {}
    reward = verifier_reward("tests.verifiers_of_mine:crash")
    assert reward.__name__ == "crash_reward"
    columns = {"answer": ["42"] * 2, "verifier": ["math"] * 2, "log_metric": logged.__setitem__}
    assert call(functools.partial(reward, no_answer_penalty=1), [QUESTION] * 2, [RIGHT, NONE], **columns) == [None] * 2
    assert logged == {"rewards/crash_reward/failure_rate": 1.0, "rewards/crash_reward/no_answer_rate": 0.0}
    assert caplog.text.count("ZeroDivisionError") == 2


def test_silence_is_counted():
    logged = {}
    call(math_reward, [QUESTION] * 4, [RIGHT, WRONG, NONE, NONE], answer=["42"] * 4, log_metric=logged.__setitem__)
    assert logged == {"rewards/math_reward/failure_rate": 0.0, "rewards/math_reward/no_answer_rate": 0.5}


def test_a_think_block_is_no_answer():
    texts = [f"<think>{RIGHT}</think>", f"Hm, {WRONG}</think>{RIGHT}", f"<think>{RIGHT}", f"<think></think>{WRONG}"]
    reward = functools.partial(math_reward, no_answer_penalty=0.5)
    assert call(reward, [QUESTION] * 4, texts, answer=["42"] * 4) == [-0.5, 1.0, -0.5, 0.0]


def test_processes_are_kept_and_replaced_when_they_are_killed(monkeypatch):
    started = []
    start = VerifierPool._start

    async def counted(pool):
        started.append(pool)
        return await start(pool)

    monkeypatch.setattr(VerifierPool, "_start", counted)
    call(letters_reward, [QUESTION], ["The answer is: 42"], answer=["42"])
    count = len(started)
    for _ in range(3):  # each call in an event loop of its own
        assert call(letters_reward, [QUESTION], ["The answer is: 42"], answer=["42"]) == [1.0]
    assert len(started) == count
    workers = list(verifier_pool()._workers)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(worker.returncode is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert call(letters_reward, [QUESTION] * 2, ["The answer is: 42"] * 2, answer=["42", "1"]) == [1.0, 0.0]
    assert len(started) > count
    assert set(started) <= {verifier_pool()}


@pytest.mark.training
def test_grpo_trains_on_them(tmp_path):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from .tiny_models import save_tiny, tiny_tokenizer

    problems = [*load_problems("letters", limit=2), *load_problems("blocks", limit=2)]
    rows = [{**asdict(problem), "prompt": [user(problem.prompt)]} for problem in problems]
    crash = verifier_reward("tests.verifiers_of_mine:crash")
    trainer = GRPOTrainer(
        save_tiny(tmp_path / "model"),
        reward_funcs=[functools.partial(letters_reward, no_answer_penalty=0.5), planning_reward, crash],
        args=GRPOConfig(
            str(tmp_path / "run"), max_steps=2, logging_steps=1, per_device_train_batch_size=4, num_generations=2,
            max_completion_length=8, use_cpu=True, bf16=False, report_to="none", save_strategy="no", disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows), processing_class=tiny_tokenizer(),
    )  # fmt: skip
    trainer.train()
    logs = [log for log in trainer.state.log_history if "reward" in log]
    assert len(logs) == 2
    letters = [log["rewards/letters_reward/mean"] for log in logs if log["rewards/letters_reward/mean"] is not None]
    assert letters  # random weights do not answer
    assert set(letters) == {-0.5}
    assert all(log["rewards/crash_reward/mean"] is None for log in logs)
    assert [log["rewards/crash_reward/failure_rate"] for log in logs] == [1.0, 1.0]


@pytest.mark.training
def test_the_example_of_the_guide_trains(tmp_path, monkeypatch):
    import trl

    def shorter(output_dir):
        return config(
            output_dir, max_steps=1, per_device_train_batch_size=2, num_generations=2, max_completion_length=8,
            use_cpu=True, bf16=False, report_to="none", save_strategy="no", disable_tqdm=True,
        )  # fmt: skip

    config = trl.GRPOConfig
    monkeypatch.setattr(trl, "GRPOConfig", shorter)
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "GRPOTrainer" in code)
    names = {}
    exec(example, names)
    assert names["trainer"].state.global_step == 1
    assert "rewards/letters_reward/no_answer_rate" in names["trainer"].state.log_history[0]
