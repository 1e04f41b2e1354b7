"""Blocksworld: states, the four actions, and problems from PDDL, from PlanBench's wording, and made at random.

A plain STRIPS world, strict to the letter of the domain. This module knows nothing of models, answers or rewards.
"""

import random
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


Fact = tuple[str, ...]  # ("on", "a", "b"), ("ontable", "a"), ("clear", "a"), ("holding", "a"), ("handempty",)
Action = tuple[str, ...]  # ("pick-up", "a"), ("put-down", "a"), ("stack", "a", "b"), ("unstack", "a", "b")

COLOURS = (
    "red blue orange yellow white magenta black cyan green violet silver gold brown pink grey olive teal maroon"
).split()
OPTIMAL_BLOCKS = 4  # up to so many blocks, `solve` searches all states
RULES = """\
I have a table and some blocks that I want to rearrange. There are four actions:
pick up a block from the table; put down a block on the table; unstack a block from on top of another block; stack a \
block on top of another block.
I have one hand. I can pick up or unstack a block only if my hand is empty and no other block is on top of it. I can \
put down or stack only the block that I hold, and stack it only on a block that has no other block on top of it."""


@dataclass(frozen=True)
class Blocksworld:
    """
    A planning problem.

    Args:
        initial (`frozenset[Fact]`): All that holds at first.
        goal (`frozenset[Fact]`): What must hold at the end.
    """

    initial: frozenset[Fact]
    goal: frozenset[Fact]

    @property
    def blocks(self) -> list[str]:
        """The names of the blocks, in alphabetical order."""
        return sorted({name for fact in self.initial for name in fact[1:]})


def effects(action: Action) -> tuple[set[Fact], set[Fact], set[Fact]]:
    """
    What an action needs, what it adds and what it deletes.

    Raises:
        ValueError: There is no such action.
    """
    name, *blocks = action
    if len(blocks) != {"pick-up": 1, "put-down": 1, "stack": 2, "unstack": 2}.get(name):
        raise ValueError(f"there is no action {name!r} of {len(blocks)} blocks")
    block, other = blocks[0], blocks[-1]
    free = {("clear", block), ("handempty",)}
    placed = {("ontable", block) if len(blocks) == 1 else ("on", block, other), *free}
    held = {("holding", block)} if len(blocks) == 1 else {("holding", block), ("clear", other)}
    if name in ("pick-up", "unstack"):
        return placed, held, placed
    return held, placed, held


def simulate(problem: Blocksworld, plan: Sequence[Action]) -> str:
    """
    Follow a plan.

    Args:
        problem ([`Blocksworld`]): Where it starts, and where it should end.
        plan (`Sequence[Action]`): The actions.

    Returns:
        `str`: What is wrong with it: the first step that cannot be taken and why, or what is missing at the end;
        empty if the plan is right.
    """
    state, blocks = set(problem.initial), set(problem.blocks)
    for number, action in enumerate(plan, start=1):
        if unknown := set(action[1:]) - blocks:
            return f"step {number}: there is no block {min(unknown)}"
        needs, adds, deletes = effects(action)
        if missing := needs - state:
            return f"step {number} ({' '.join(action)}): not ({' '.join(min(missing))})"
        state = state - deletes | adds
    if missing := problem.goal - state:
        return f"at the end: not ({' '.join(min(missing))})"
    return ""


def parse_pddl(text: str) -> Blocksworld:
    """
    Read a problem in PDDL.

    Args:
        text (`str`): A `(define (problem …) …)` with `:init` and `:goal`, of the four-action domain.

    Raises:
        ValueError: It is not such a problem.
    """
    tokens = re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text.lower()))
    stack: list[list] = [[]]
    for token in tokens:
        if token == "(":  # noqa: S105
            stack.append([])
        elif token == ")":  # noqa: S105
            if len(stack) == 1:
                raise ValueError("PDDL: a parenthesis is closed that was not opened")
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1:
        raise ValueError("PDDL: there must be exactly one (define …), with all parentheses closed")
    sections = {part[0]: part[1:] for part in stack[0][0] if isinstance(part, list) and part}
    if not {":init", ":goal"} <= sections.keys():
        raise ValueError("PDDL: a problem needs (:init …) and (:goal …)")
    goal = sections[":goal"]
    if len(goal) == 1 and goal[0][:1] == ["and"]:
        goal = goal[0][1:]
    return _problem(map(_fact, sections[":init"]), map(_fact, goal))


def _fact(expression) -> Fact:
    arity = {"on": 2, "ontable": 1, "on-table": 1, "clear": 1, "holding": 1, "handempty": 0, "arm-empty": 0}
    if not isinstance(expression, list) or not all(isinstance(item, str) for item in expression):
        raise ValueError(f"PDDL: {expression!r} is not a fact of Blocksworld")
    name, *blocks = expression
    if arity.get(name) != len(blocks):
        raise ValueError(f"PDDL: ({' '.join(expression)}) is not a fact of Blocksworld")
    return ({"on-table": "ontable", "arm-empty": "handempty"}.get(name, name), *blocks)


def to_pddl(problem: Blocksworld) -> str:
    """A problem in PDDL, on three lines."""

    def write(facts) -> str:
        return " ".join(f"({' '.join(fact)})" for fact in sorted(facts))

    return (
        f"(define (problem blocks) (:domain blocksworld-4ops) (:objects {' '.join(problem.blocks)})\n"
        f"(:init {write(problem.initial)})\n(:goal (and {write(problem.goal)})))"
    )


PHRASES = (
    (r"the hand is empty", "handempty"),
    (r"the (\w+) block is on top of the (\w+) block", "on"),
    (r"the (\w+) block is (?:on the table|a base)", "ontable"),
    (r"the (\w+) block is clear", "clear"),
    (r"the (\w+) block is in (?:the|my) hand", "holding"),
)
STATEMENT = re.compile(r"initial conditions I have that,?(.*?)\.\s*My goal is to have that,?(.*?)\.", re.DOTALL)


def parse_query(text: str) -> Blocksworld:
    """
    Read a problem in PlanBench's wording: its last statement, since the ones before it are examples.

    Args:
        text (`str`): "As initial conditions I have that, … My goal is to have that …"

    Raises:
        ValueError: There is no statement, or a part of it is not a fact of Blocksworld.
    """
    statements = STATEMENT.findall(text)
    if not statements:
        raise ValueError("there is no 'As initial conditions I have that, … My goal is to have that …'")

    def facts(listed: str) -> Iterator[Fact]:
        for phrase in re.split(r",\s*(?:and\s+)?|\s+and\s+", " ".join(listed.lower().split())):
            matches = ((re.fullmatch(pattern, phrase), name) for pattern, name in PHRASES)
            found = next(((match, name) for match, name in matches if match), None)
            if found is None:
                raise ValueError(f"{phrase!r} is not a fact of Blocksworld")
            yield (found[1], *found[0].groups())

    return _problem(facts(statements[-1][0]), facts(statements[-1][1]))


def _problem(initial, goal) -> Blocksworld:
    problem = Blocksworld(frozenset(initial), frozenset(goal))
    if not problem.goal:
        raise ValueError("a Blocksworld problem needs a goal")
    if unknown := {name for fact in problem.goal for name in fact[1:]} - set(problem.blocks):
        raise ValueError(f"the goal speaks of a block {min(unknown)!r} that is not there at first")
    return problem


def to_query(problem: Blocksworld) -> str:
    """A problem in words, with the rules and what the answer looks like."""
    words = {
        "handempty": "the hand is empty",
        "on": "the {} block is on top of the {} block",
        "ontable": "the {} block is on the table",
        "clear": "the {} block is clear",
        "holding": "the {} block is in the hand",
    }

    def listed(facts) -> str:
        phrases = [words[name].format(*blocks) for name, *blocks in sorted(facts)]
        return " and ".join(filter(None, (", ".join(phrases[:-1]), phrases[-1])))

    return (
        f"{RULES}\n\nAs initial conditions I have that, {listed(problem.initial)}.\n"
        f"My goal is to have that {listed(problem.goal)}.\n\nGive me a plan: one action a line, such as "
        '"unstack the red block from on top of the blue block", "put down the red block", "pick up the red block", '
        '"stack the red block on top of the blue block".'
    )


def random_problem(num_blocks: int, rng: random.Random, names: Sequence[str] = ()) -> Blocksworld:
    """
    A random problem whose goal does not hold at first.

    Args:
        num_blocks (`int`): At least 2.
        rng (`random.Random`): The same rng makes the same problem.
        names (`Sequence[str]`): Blocks get some of these names; by default always the same.
    """
    if names:
        names = rng.sample(list(names), num_blocks)
    else:
        names = [*COLOURS, *(f"b{i}" for i in range(len(COLOURS), num_blocks))][:num_blocks]
    while True:
        initial, goal = _random_state(names, rng), _random_state(names, rng)
        problem = Blocksworld(initial, frozenset(fact for fact in goal if fact[0] == "on"))
        if problem.goal and not problem.goal <= initial:
            return problem


def _random_state(names: Sequence[str], rng: random.Random) -> frozenset[Fact]:
    stacks: list[list[str]] = []
    for name in rng.sample(list(names), len(names)):
        place = rng.randrange(len(stacks) + 1)
        if place == len(stacks):
            stacks.append([])
        stacks[place].append(name)
    facts: set[Fact] = {("handempty",)}
    for stack in stacks:
        facts |= {("ontable", stack[0]), ("clear", stack[-1])}
        facts |= {("on", upper, lower) for lower, upper in pairwise(stack)}
    return frozenset(facts)


def solve(problem: Blocksworld) -> list[Action]:
    """
    A plan: the shortest one for up to four blocks; else one at most twice as long, which takes to the table what is
    in the way and to its place what can go there.

    Args:
        problem ([`Blocksworld`]): With an empty hand at first.
    """
    if len(problem.blocks) <= OPTIMAL_BLOCKS:
        return _shortest_plan(problem)
    below = {fact[1]: fact[2] for fact in problem.initial if fact[0] == "on"}
    goal = {fact[1]: fact[2] for fact in problem.goal if fact[0] == "on"}
    wanted_on = {lower: upper for upper, lower in goal.items()}

    def in_place(block: str) -> bool:
        under = below.get(block)
        if block in goal and goal[block] != under:
            return False
        if under is None:
            return True
        if block not in goal and (("ontable", block) in problem.goal or under in wanted_on):
            return False
        return in_place(under)

    plan: list[Action] = []
    while misplaced := [block for block in problem.blocks if not in_place(block)]:
        covered = set(below.values())
        free = [block for block in misplaced if block not in covered]
        ready = [b for b in free if b in goal and goal[b] not in covered and in_place(goal[b])]
        block = (ready or [b for b in free if b in below])[0]
        under = below.pop(block, None)
        plan.append(("unstack", block, under) if under else ("pick-up", block))
        plan.append(("stack", block, goal[block]) if ready else ("put-down", block))
        if ready:
            below[block] = goal[block]
    return plan


def _shortest_plan(problem: Blocksworld) -> list[Action]:
    blocks = problem.blocks
    actions = [(name, block) for name in ("pick-up", "put-down") for block in blocks]
    actions += [(name, a, b) for name in ("stack", "unstack") for a in blocks for b in blocks if a != b]
    rules = [(action, *map(frozenset, effects(action))) for action in actions]
    came_from: dict[frozenset[Fact], tuple] = {problem.initial: ()}
    queue = deque([problem.initial])
    while queue:
        state = queue.popleft()
        if problem.goal <= state:
            plan = []
            while came_from[state]:
                state, action = came_from[state]
                plan.append(action)
            return plan[::-1]
        for action, needs, adds, deletes in rules:
            if needs <= state and (after := state - deletes | adds) not in came_from:
                came_from[after] = (state, action)
                queue.append(after)
    raise ValueError("no plan reaches the goal")
