import random
import time

import pytest

from hf_treecot.base import Problem
from hf_treecot.domains.blocksworld import (
    parse_pddl,
    parse_query,
    random_problem,
    simulate,
    solve,
    to_pddl,
    to_query,
)
from hf_treecot.verifiers.plan_text import NotAnAction, read_plans
from hf_treecot.verifiers.planning import verify


PDDL = """
; c is on b is on a
(define (problem BW-rand-3) (:domain blocksworld-4ops) (:objects a b c )
(:init (handempty) (ontable a) (on b a) (on c b) (clear c))
(:goal (and (on a b) (on c a))))
"""
QUERY = (
    "My plan is as follows… [STATEMENT]\nAs initial conditions I have that, the {} block is clear, the hand is empty, "
    "the blue block is on top of the red block, the {} block is on top of the blue block and the red block is on the "
    "table.\nMy goal is to have that the red block is on top of the blue block and the {} block is on top of the red "
    "block.\n\nMy plan is as follows:\n\n[PLAN]"
)
RIGHT = "(unstack c b) (put-down c) (unstack b a) (put-down b) (pick-up a) (stack a b) (pick-up c) (stack c a)"
PROBLEM = Problem("p", "?", to_pddl(parse_pddl(PDDL)), "planning")


def check(plan):
    return verify(plan, PROBLEM)


def test_pddl_and_planbench_statements_are_read():
    world = parse_pddl(PDDL)
    assert world.blocks == ["a", "b", "c"]
    assert world.goal == {("on", "a", "b"), ("on", "c", "a")}
    assert parse_pddl(to_pddl(world)) == world
    orange, last = QUERY.format(*["orange"] * 3), QUERY.format(*["white"] * 3)
    assert parse_query(orange).blocks == ["blue", "orange", "red"]
    assert ("on", "orange", "blue") in parse_query(orange).initial
    assert parse_query(orange + last).blocks == ["blue", "red", "white"]  # what comes before is an example


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one"),
        ("(define (problem x)", "exactly one"),
        ("(define))", "closed that was not opened"),
        ("(define (problem x) (:init (handempty)))", "needs"),
        ("(define (:init (clear a) (ontable a)) (:goal (flies a)))", "flies a"),
        ("(define (:init (on a)) (:goal (clear a)))", "on a"),
        ("(define (:init (clear a)) (:goal (clear b)))", "'b' that is not there"),
        ("(define (:init (clear a)) (:goal (and)))", "needs a goal"),
    ],
)
def test_other_pddl_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pddl(text)


def test_other_statements_are_refused():
    with pytest.raises(ValueError, match="there is no"):
        parse_query("How many blocks are there?")
    with pytest.raises(ValueError, match="'the red block is happy' is not a fact"):
        parse_query("As initial conditions I have that, the red block is happy. My goal is to have that, x.")


@pytest.mark.parametrize(
    "plan",
    [
        RIGHT,
        RIGHT.replace(") (", ")\n("),
        f"The answer is:\n{RIGHT}",
        f"[PLAN]\n{RIGHT}\n[PLAN END] That was easy.",
        "unstack the c block from on top of the b block\nput down the c block\n"
        "unstack the b block from on top of the a block\nput down the b block\n"
        "pick up the a block\nstack the a block on top of the b block\n"
        "pick up the c block\nstack the c block on top of the a block",
        "1. Unstack block C from block B.\n2) Put down C\n(3) unstack B from A\nStep 4: put B on the table\n"
        "- pick up block A from the table\n* **stack A on B**\n• Pick up C.\n8. stack C on top of A",
        r"\boxed{" + RIGHT.replace(") (", r") \\ (") + "}",
        f"```\n{RIGHT}\n```",
        "unstack c b, put down c, unstack b a, put down b, pick up a, then stack a on b, pick up c, and stack c on a",
    ],
)
def test_right_plans_in_many_forms(plan):
    verdict = check(plan)
    assert (verdict.reward, verdict.reason) == (1.0, "right")
    assert verdict.answer.startswith("(unstack c b)\n(put-down c)")


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ("", "no_answer"),
        ("The answer is:", "no_answer"),
        (RIGHT.replace("(put-down c) ", ""), "wrong: step 2 (unstack b a): not (handempty)"),
        (RIGHT.replace("(pick-up c) (stack c a)", ""), "wrong: at the end: not (on c a)"),
        (RIGHT.replace("(put-down c)", "(put-down d)"), "wrong: step 2: there is no block d"),
        ("(pick-up c)", "wrong: step 1 (pick-up c): not (ontable c)"),
        ("(stack c a)", "wrong: step 1 (stack c a): not (clear a)"),
        (RIGHT + "\n(fly c)", "unparseable: '(fly c)' is not an action"),
        ("(unstack c b)\nthen do the obvious", "wrong: at the end: not (on a b)"),
        ("(fly c)", "no_answer"),
        ("I would move some blocks around.", "no_answer"),
        ("[PLAN]\n1. Move c to the table\n[PLAN END]", "unparseable: 'Move c to the table' is not an action"),
        (
            "1. unstack c from b\n2. slide c to the table\n3. pick up a",
            "unparseable: 'slide c to the table' is not an",
        ),
        (f"{RIGHT}\n\nOr, instead:\n\n1. pick up c", "ambiguous"),
        ("1. unstack c from b\n2. put down c\n\nAgain:\n\n1. unstack c from b\n2. stack c on a", "ambiguous"),
        (f"[PLAN]{RIGHT}[PLAN END] or [PLAN](pick-up c)[PLAN END]", "ambiguous"),
        ("(pick-up c) " * 20_000, "unparseable: too long"),
    ],
)
def test_wrong_plans_say_what_is_wrong(plan, reason):
    verdict = check(plan)
    assert verdict.reward == 0.0
    assert verdict.reason.startswith(reason)


def test_a_problem_that_cannot_be_read_is_a_failure():
    with pytest.raises(ValueError, match="PDDL"):
        verify("(pick-up a)", Problem("p", "?", "on a b", "planning"))


STEPS = "Unstack C from B; put down C; unstack B from A; put down B; pick up A; stack A on B; pick up C; stack C on A"
STEPS = STEPS.split("; ")


@pytest.mark.parametrize(
    "text",
    [
        "Here's the plan:\n\n" + "\n".join(f"{n}. **{s}.** (so that it works)" for n, s in enumerate(STEPS, 1)),
        "### Plan:\n"
        + "\n".join(f"**Step {n}:** {s}\n   - *Result*: the hand changes" for n, s in enumerate(STEPS, 1)),
        "\n".join(f"{n}. **{s}**: {s.lower()}, since it is clear." for n, s in enumerate(STEPS, 1)) + "\n\nDone!",
        "\n".join(f"{n}. {s} - {s}. Now go on." for n, s in enumerate(STEPS, 1)),
        "\n".join(f"{n}) {s}\n    - Action: {s}\n    - Preconditions: clear" for n, s in enumerate(STEPS, 1)),
        "\n".join(f"{n}. {s}" for n, s in enumerate(STEPS, 1))
        + "\n\n**In short:**\n\n"
        + "\n".join(f"- {s}" for s in STEPS),
        "\n".join(STEPS) + "\n\nThis plan should reach the goal, with A on B and C on A.",
        "You unstacked C from B. " + "\n".join(STEPS[1:]).replace("Pick", "Picked").replace("Stack", "Stacked"),
        "unstack(c, b)\nputdown(c)\nUnstack(B, A)\nPutDown(B)\nPick-up(A)\nStack(A, B)\nPICKUP C\nSTACK C A",
        "1. Unstack C from B and put it down.\n2. Unstack B from A, then put down B on the table.\n"
        "3. Pick up A and stack it on B.\n4. Pick up C -> stack it onto A.",
        "[PLAN]\n" + "\n".join(STEPS) + "\n[PLAN END]\n\nStatement: I could also pick up c.\n1. pick up c",
        "**[PLAN]**\n\n" + "\n".join(f"{n}. **{s}.**" for n, s in enumerate(STEPS, 1)) + "\n**[PLAN END]**",
    ],
)
def test_plans_in_the_words_of_language_models(text):
    assert check(text).reason == "right"


@pytest.mark.parametrize("line", ["3. Move B to the table", "3. Take B", "3. Return B to the table"])
def test_no_step_is_dropped(line):
    lines = [f"{n}. {step}" for n, step in enumerate(STEPS, 1)]
    with pytest.raises(NotAnAction, match="is not an action"):
        read_plans("\n".join([*lines[:2], line, *lines[2:]]).replace("3. Unstack B", "4. Unstack B"))


@pytest.mark.parametrize("num_blocks", [2, 3, 4, 5, 8, 13, 30])
def test_generated_problems_have_plans(num_blocks):
    for seed in range(10):
        world = random_problem(num_blocks, random.Random(seed))
        assert world == random_problem(num_blocks, random.Random(seed))
        assert len(world.blocks) == num_blocks
        assert parse_query(to_query(world)) == world == parse_pddl(to_pddl(world))
        plan = solve(world)
        assert simulate(world, plan) == ""
        assert simulate(world, plan[:-1]) != ""
        assert len(plan) <= 4 * num_blocks


def test_plans_of_few_blocks_are_shortest():
    world = parse_pddl(PDDL)
    assert len(solve(world)) == 8 == len(read_plans(RIGHT)[0])


def test_the_simulator_agrees_with_unified_planning():
    pytest.importorskip("unified_planning")
    from verifier_accuracy import DOMAIN, mutated_plans, referee

    from hf_treecot.problems.loading import load_problems

    plans = mutated_plans(load_problems("blocksworld", limit=20), random.Random(0))
    verdicts = []
    for problem, plan in (next(plans) for _ in range(12)):
        verdicts.append(not simulate(parse_pddl(problem.answer), plan))
        assert verdicts[-1] == referee(DOMAIN, problem.answer, plan)
    assert set(verdicts) == {True, False}


WORLD = (
    "(define (problem x) (:domain blocksworld-4ops) (:objects red blue) (:init (handempty) (ontable blue) "
    "(on red blue) (clear red)) (:goal (and (on blue red))))"
)
STEPS = ("unstack red from blue", "put down red", "pick up blue", "stack blue on red")
IN_A_LINE, IN_LINES = ", ".join(STEPS), "\n".join(STEPS)
NUMBERED = "\n".join(f"{number}. {step}" for number, step in enumerate(STEPS, start=1))


def reward(text):
    return verify(text, Problem("p", "?", WORLD, "planning")).reward


@pytest.mark.parametrize(
    "text",
    [
        *(f"{IN_A_LINE}, {more}" for more in (
            "unstack blue", "lift blue from red", "destroy everything", "throw the blue block away",
            "finally unstack the blue block from on top of the red block",
        )),
        *(IN_A_LINE.replace("pick up blue", f"{more}, pick up blue") for more in ("stack red", "place red on blue")),
        IN_A_LINE.replace("stack blue on red", "stack blue on blue on red"),
        "(unstack red blue)(put-down red)(move red blue)(pick-up blue)(stack blue red)",
        *(f"{NUMBERED}\n5. {more}" for more in (
            "After that, unstack the blue block from on top of the red block", "Lastly, unstack blue from red",
            "Also unstack blue from red", "You must unstack blue from red", "Carefully unstack blue from red",
            "The robot picks up the blue block from the red block", '"unstack blue from red"',
            "| unstack blue from red |",
            "Throw the blue block on the floor", "slide blue to the table", "Repeat step 1",
        )),
        *(f"{IN_LINES}\n{more}" for more in (
            "lastly unstack blue from red", "after that, unstack blue from red", '"unstack blue from red"',
            "We must then unstack blue from red", "Now you need to unstack blue from red", "| unstack blue from red |",
        )),
        f"Do not do the following:\n{IN_LINES}",
        f"{IN_LINES}\n\nWait, this is wrong. There is no valid plan.",
        NUMBERED.replace("blue\n2", "blue — skip this\n2"),
        NUMBERED.replace("blue\n2", "blue (do not do this)\n2"),
        NUMBERED.replace("blue\n2", "blue (stack it on blue)\n2"),
    ],
)  # fmt: skip
def test_a_plan_with_another_step_or_taken_back_is_not_the_right_one(text):
    assert reward(text) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        IN_A_LINE, IN_LINES, NUMBERED, NUMBERED.replace("\n", " "),
        "\n".join(f"| {number} | {step} |" for number, step in enumerate(STEPS, start=1)),
        "\n".join(f"| {number} | {step} | it is clear |" for number, step in enumerate(STEPS, start=1)),
        "[" + ", ".join(f'"{step}"' for step in STEPS) + "]",
        "```python\nplan = [" + ", ".join(f"'{step}'" for step in STEPS) + "]\n```",
        "\n".join(f"{number}. “{step}”" for number, step in enumerate(STEPS, start=1)),
        "\n".join(f"{letter}) {step}" for letter, step in zip("abcd", STEPS, strict=True)),
        "<ol>" + "".join(f"<li>{step}</li>" for step in STEPS) + "</ol>",
        "Unstack red from blue. Put down red. Next I pick up blue. Stack blue on red.",
        "1. Unstacking the red block from the blue block\n2. Putting down the red block\n"
        "3. Picking up the blue block\n4. Stacking the blue block on the red block",
        "unstack('red','blue')\nput_down('red')\npick_up('blue')\nstack('blue','red')",
        "1. Unstack red from blue: Unstack the red block from the blue block. Now your hand holds it.\n"
        "2. Place the red block on the table (you put red down on the table).\n3. Pick up blue, since it is clear.\n"
        "4. Place the blue block on top of red.",
    ],
)  # fmt: skip
def test_a_plan_is_read_in_lists_tables_and_programs(text):
    assert reward(text) == 1.0


@pytest.mark.parametrize(
    "text",
    ["stack a on b so" + " " * 100_000 + "x", "stack a on b (" + "\t" * 100_000, "now " * 50_000, "| " * 50_000],
)
def test_reading_takes_time_that_grows_with_the_text(text):
    start = time.perf_counter()
    verify(text, PROBLEM)
    assert time.perf_counter() - start < 5  # it took minutes
