"""The starter model and its data."""

import asyncio
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from hf_treecot.base import Problem
from hf_treecot.cli import starter
from hf_treecot.domains import arithmetic, blocks, letters
from hf_treecot.domains.blocksworld import Blocksworld
from hf_treecot.engines.engine import Request
from hf_treecot.engines.local import LocalEngine
from hf_treecot.errors import InvalidInputError
from hf_treecot.evaluation.outputs import answer_all
from hf_treecot.mcts.pattern import available_patterns, load_pattern
from hf_treecot.problems.generators import generate_problems
from hf_treecot.starter.built_in import model_path
from hf_treecot.starter.chains import write_chain
from hf_treecot.starter.drills import adding, counting, placing, standing
from hf_treecot.starter.hasty import HastyRecipe, hasty_examples, hasty_hash, hasty_model
from hf_treecot.starter.training import (
    WEIGHTS,
    StarterRecipe,
    recipe_hash,
    shipped_weights,
    starter_model,
    train_starter,
)
from hf_treecot.verifiers import load_verifier


TASKS = {"letters": letters, "arithmetic": arithmetic, "blocks": blocks}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", available_patterns())
def test_training_chains_follow_the_pattern_and_end_right(kind, name):
    rng, pattern, kinds = random.Random(0), load_pattern(name), Counter()
    specs = {spec.tag: spec for spec in pattern.thoughts.values()}
    for _ in range(100):
        task = TASKS[kind].random_task(rng)
        text = "".join(segment.text for segment in write_chain(task, pattern, rng))
        previous = None
        for line in text.split("\n"):
            tag = line[1 : line.index(">")]
            assert line.endswith(f"</{tag}>")
            spec = specs[tag]
            added = pattern.on_wrong and spec.kind == pattern.on_wrong.add and previous in pattern.on_wrong.under
            assert spec.kind in pattern.next_kinds(previous) or added
            assert any(line.startswith(f"<{tag}>{prefill}") for prefill in spec.prefills)
            kinds[spec.kind] += 1
            previous = spec.kind
        problem = Problem("p", task.prompt, task.gold, task.verifier)
        assert re.fullmatch(r"<answer>The answer is: \\boxed\{.+\}</answer>", line)
        assert load_verifier(task.verifier)(line, problem).reason == "right"
    assert set(kinds) == set(pattern.thoughts)


def test_wrong_thoughts_carry_no_loss_and_right_ones_do():
    rng, wrong = random.Random(0), 0
    for pattern in map(load_pattern, available_patterns()):
        for index in range(100):
            task = (letters, arithmetic)[index % 2].random_task(rng)
            for segment in write_chain(task, pattern, rng):
                if totals := re.findall(r"The total is (\d+)\.", segment.text):
                    assert segment.trained == (int(totals[0]) == task.result)
                    wrong += not segment.trained
    assert wrong > 50
    task = letters.LettersTask("banana", "a", "n", letters.PHRASINGS[0])
    for style, _ in task.styles:
        text, result = task.work(style, rng)
        assert result == task.result == 5
        assert text.endswith("The total is 5.")
        assert all(task.work(style, random.Random(i), wrong=True)[1] != 5 for i in range(50))
    assert task.work("tally", rng)[0] == "a appears 3 times. n appears 2 times. 3 + 2 = 5. The total is 5."


def test_drills_train_only_what_can_be_known():
    rng = random.Random(0)
    for _ in range(50):
        segments = adding(rng)
        text = "".join(segment.text for segment in segments)
        trained = [segment.text for segment in segments if segment.trained]
        assert trained == [f" {result}." for result in re.findall(r"= (\d+)\.", text)]
        for a, operator, b, result in re.findall(r"(\d+) ([+*-]) (\d+) = (\d+)", text):
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[operator] == int(result)
        text = "".join(segment.text for segment in counting(rng))
        word = text.split(".")[0].split()[-1]
        for letter, count in re.findall(r"(\w) appears (\d+)", text):
            assert word.count(letter) == int(count)


def test_arithmetic_by_hand():
    task = arithmetic.ArithmeticTask("Mia", "apples", 10, (("+", 5), ("*", 2), ("-", 4)), ("A.", "B.", "C."))
    assert task.prompt == "Mia has 10 apples. A. B. C. How many apples does Mia have now?"
    assert task.result == 26
    assert task.work("steps", random.Random(0))[0] == "10 + 5 = 15. 15 * 2 = 30. 30 - 4 = 26. The total is 26."
    assert task.work("glance", random.Random(0))[0] == "((10 + 5) * 2) - 4 = 26. The total is 26."
    assert all(task.work("steps", random.Random(i), wrong=True)[1] != 26 for i in range(50))


def test_blocks_by_hand():
    rng = random.Random(0)
    places = (("red", "blue"), ("gold", "red"), ("blue", "table"))
    initial = {("on", "red", "blue"), ("on", "gold", "red"), ("ontable", "blue"), ("clear", "gold"), ("handempty",)}
    world = Blocksworld(frozenset(initial), frozenset({("on", "red", "gold"), ("on", "gold", "blue")}))
    task = blocks.BlocksTask(world, places, (("red", "gold"), ("gold", "blue")))
    assert task.prompt == (
        "red is on blue. gold is on red. blue is on table. Get red on gold and gold on blue. What is the plan?"
    )
    assert task.plan("apart") == "I put all blocks on the table, then I build gold on blue and red on gold."
    assert task.work("apart", rng)[0] == (
        "from the top gold and red and blue. build gold on blue and red on gold. unstack gold from red. "
        "put down gold. unstack red from blue. put down red. pick up gold. stack gold on blue. pick up red. "
        "stack red on gold. The goal is reached."
    )
    flat = blocks.BlocksTask(world, tuple((block, "table") for block in ("red", "gold", "blue")), (("red", "blue"),))
    assert flat.standing() == "all on table."


def test_plans_of_blocks_are_right_and_slips_are_not():
    rng = random.Random(0)
    for _ in range(100):
        task = blocks.random_task(rng)
        problem = Problem("p", task.prompt, task.gold, task.verifier)
        for style, _ in task.styles:
            for wrong in (False, True):
                plan = task.work(style, rng, wrong)[1]
                assert task.is_right(plan) is not wrong
                answer = f"\\boxed{{{task.answer(plan)}}}"
                assert load_verifier("planning")(answer, problem).reward == float(not wrong)


def test_the_drill_of_places():
    rng = random.Random(0)
    for _ in range(20):
        text = "".join(segment.text for segment in placing(rng))
        places = set(re.findall(r"(\w+) is on (\w+)", text))
        unstacked = re.findall(r"unstack (\w+) from (\w+)", text)
        assert len(unstacked) == 6
        assert set(unstacked) <= places
        assert {(upper, lower) for lower, upper in re.findall(r"(\w+) is under (\w+)", text)} <= places


def test_the_drill_of_standing_blocks():
    rng = random.Random(0)
    for _ in range(20):
        asked, stands, build = (segment.text for segment in standing(rng))
        told, goal = asked.removesuffix(" What is the plan?").split("Get ")
        places = set(re.findall(r"(\w+) is on (\w+)", told))
        tower = stands.removeprefix(" from the top ").removesuffix(".").split(" and ")
        if stands == " all on table.":
            assert {under for _, under in places} == {"table"}
        else:
            assert {*pairwise(tower), (tower[-1], "table")} <= places
        assert sorted(re.findall(r"(\w+) on (\w+)", build)) == sorted(re.findall(r"(\w+) on (\w+)", goal))


def test_the_data_is_the_same_in_every_process():
    code = "from hf_treecot.starter.training import *; print(recipe_hash(StarterRecipe()))"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": str(seed)}
        ).stdout
        for seed in (1, 2)
    }
    assert hashes == {recipe_hash(StarterRecipe()) + "\n"}
    assert recipe_hash(replace(StarterRecipe(), num_steps=1)) != recipe_hash(StarterRecipe())


def test_training_resumes_and_is_reproducible(tmp_path):
    import torch
    from safetensors.torch import load_file

    recipe = StarterRecipe(
        num_steps=6, num_drill_steps=2, batch_size=2, hidden_size=16, num_heads=2, intermediate_size=16
    )
    for name in ("a", "b"):
        train_starter(recipe, tmp_path / name)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not (tmp_path / "a" / "checkpoints").exists()
    path = starter_model(recipe, tmp_path)
    modified = (path / "model.safetensors").stat().st_mtime_ns
    assert starter_model(recipe, tmp_path) == path
    assert (path / "model.safetensors").stat().st_mtime_ns == modified  # trained once


def test_the_weights_of_the_package_are_those_of_the_recipe_and_small():
    from transformers import AutoModelForCausalLM

    path = starter_model()
    assert path.parent == WEIGHTS
    assert path.name == f"starter-{recipe_hash(StarterRecipe())}"
    assert StarterRecipe(**json.loads((path / "recipe.json").read_text())) == StarterRecipe()
    assert sum(file.stat().st_size for file in path.iterdir()) < 1_100_000
    assert str(AutoModelForCausalLM.from_pretrained(path).dtype) == "torch.float32"  # on disk they are bfloat16


def test_where_it_is(capsys):
    starter.main([])
    assert capsys.readouterr().out == f"The starter model is in {starter_model()}\n"


@pytest.fixture(scope="module")
def engine():
    engine = LocalEngine.from_pretrained(str(starter_model()))
    yield engine
    engine.close()


def test_tokens_of_the_starter(engine):
    tokenizer = engine.tokenizer
    for name in available_patterns():
        for spec in load_pattern(name).thoughts.values():
            assert len(tokenizer.encode(spec.opening)) == len(tokenizer.encode(spec.closing)) == 1
    text = "What is \\frac{1}{2} of café, 小, <thinking>subsensual 1 2</thinking>\n?"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<|user|>Hi<|assistant|>Ho<|end|>"
    head = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert tokenizer.apply_chat_template(messages, tokenize=False).startswith(head)
    assert engine.render_chat([{"role": "system", "content": "Be brief."}, *messages[:1]]) == head


@pytest.mark.parametrize("temperature", [0.7, 1.0])
@pytest.mark.parametrize("generator", TASKS)
async def test_it_is_partly_competent(engine, generator, temperature):
    problems = list(generate_problems(generator, 100, seed=123))
    requests = [
        Request(engine.render_chat([{"role": "user", "content": p.prompt}]), ("</answer>",), 400, temperature, 1.0, i)
        for i, p in enumerate(problems)
    ]
    completions = await asyncio.gather(*(engine.generate(request) for request in requests))
    answers = [completion.text.rpartition("<answer>")[2] for completion in completions]
    right = sum(load_verifier(p.verifier)(a, p).reward for p, a in zip(problems, answers, strict=True))
    closed = sum(completion.finish_reason == "stop" for completion in completions)
    assert 0.30 <= right / len(problems) <= 0.97
    assert closed / len(problems) >= 0.97


def test_most_of_what_the_hasty_model_learns_is_a_direct_answer_that_is_right():
    examples = hasty_examples(HastyRecipe(), 300)
    direct = [(prompt, segments) for prompt, segments in examples if len(segments) == 1]
    assert 0.8 < len(direct) / len(examples) < 0.9
    assert all(segment.text.startswith("\\boxed{") and segment.trained for _, (segment,) in direct)
    assert hasty_hash(HastyRecipe()) != hasty_hash(HastyRecipe(seed=78))


def answers_of(model, source, count, temperature=0.0):
    engine = LocalEngine.from_pretrained(str(model))
    outputs = answer_all(
        list(generate_problems(source, count, seed=4321)), engine, max_new_tokens=200, temperature=temperature, seed=0
    )
    engine.close()
    return outputs


def test_the_hasty_model_answers_at_once_and_thinks_if_it_is_made_to(tmp_path):
    outputs = answers_of(model_path("hasty"), "arithmetic", 60)
    assert sum(output.tokens < 12 for output in outputs) >= 55
    assert sum(output.reward for output in outputs) <= 15  # the starter: 98 %
    problem = next(iter(generate_problems("arithmetic", 1, seed=4321)))
    engine = LocalEngine.from_pretrained(model_path("hasty"))
    prompt = engine.render_chat([{"role": "user", "content": problem.prompt}])
    thought = asyncio.run(engine.generate(Request(f"{prompt}<thinking>", ("</thinking>",), 100, 0.0, 1.0, 0))).text
    engine.close()
    assert " = " in thought


def test_trained_again_it_does_what_the_weights_of_the_package_do(tmp_path):
    """Not byte for byte: another processor sums otherwise."""
    again = hasty_model(directory=tmp_path)
    assert again.name == hasty_model().name
    for source, allowed in (("arithmetic", 12), ("letters", 18)):  # of 60: two standard errors of a difference
        ours, theirs = (
            sum(output.reward for output in answers_of(model, source, 60)) for model in (again, hasty_model())
        )
        assert abs(ours - theirs) <= allowed


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_broken_weights_of_the_package_are_named_with_the_remedy(tmp_path, monkeypatch, damage):
    whole = hasty_model()
    monkeypatch.setattr("hf_treecot.starter.training.WEIGHTS", tmp_path)
    assert shipped_weights("hasty-0") is None
    shutil.copytree(whole, tmp_path / "hasty-0")
    assert shipped_weights("hasty-0") == tmp_path / "hasty-0"
    file = tmp_path / "hasty-0" / "model.safetensors"
    file.unlink() if damage == "missing" else file.write_bytes(b"")
    with pytest.raises(
        InvalidInputError, match=r"model\.safetensors is missing or empty.: reinstall hf-treecot, or train"
    ):
        shipped_weights("hasty-0")
