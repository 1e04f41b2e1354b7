"""Blocksworld problems of three blocks in few words, and how a person would think them through."""

import random
from dataclasses import dataclass
from itertools import pairwise

from .blocksworld import (
    COLOURS,
    Action,
    Blocksworld,
    random_problem,
    simulate,
    solve,
    to_pddl,
)


NUM_BLOCKS = 3
Place = tuple[str, str]  # a block, and what it is on
Plan = tuple[Action, ...]
WORDS = {
    "pick-up": "pick up {}",
    "put-down": "put down {}",
    "stack": "stack {} on {}",
    "unstack": "unstack {} from {}",
}


@dataclass(frozen=True)
class BlocksTask:
    """One problem: where every block is, and what is to be on what, in the order in which it is told."""

    world: Blocksworld
    initial: tuple[Place, ...]
    goal: tuple[Place, ...]

    name = "blocks"
    verifier = "planning"
    styles = (("apart", 0.75), ("direct", 0.25))

    @property
    def prompt(self) -> str:
        """The problem, as it is asked."""
        return f"{'. '.join(map(_told, self.initial))}. Get {_listed(self.goal)}. What is the plan?"

    @property
    def gold(self) -> str:
        """The gold answer, as the verifier reads it."""
        return to_pddl(self.world)

    def is_right(self, plan: Plan) -> bool:
        """Whether a plan reaches the goal."""
        return not simulate(self.world, plan)

    def answer(self, plan: Plan) -> str:
        """A plan, as an answer states it."""
        return ", ".join(map(_step, plan))

    def plan(self, style: str) -> str:
        """What a thinker of this style is going to do."""
        first = "I put all blocks on the table" if style == "apart" else "I move what is in the way"
        return f"{first}, then I build {_listed(self._from_the_bottom())}."

    def restate(self) -> str:
        """The problem in other words."""
        return f"the question: a plan to build {_listed(self._from_the_bottom())}."

    def work(self, style: str, rng: random.Random, wrong: bool = False) -> tuple[str, Plan]:
        """The reasoning in one style and its plan; `wrong` makes one slip in it."""
        plan = self._apart_and_together() if style == "apart" else tuple(solve(self.world))
        if wrong:  # two steps are forgotten, or taken in the wrong order
            slips = [plan[:i] + plan[i + 2 :] for i in range(0, len(plan), 2)]
            slips += [(*plan[:i], plan[i + 1], plan[i], *plan[i + 2 :]) for i in range(0, len(plan), 2)]
            plan = rng.choice([slip for slip in slips if slip and not self.is_right(slip)])
        # Not in the words of the answer: a model that has written it twice alike takes one for the other.
        steps = " ".join(f"{_step(action)}." for action in plan)
        return f"{self.standing()} {self.building()} {steps} The goal is reached.", plan

    def standing(self) -> str:
        """What stands on what at first, from the top."""
        tower = self._tower()
        return f"from the top {' and '.join(tower)}." if tower else "all on table."

    def building(self) -> str:
        """What is to stand on what, from the bottom."""
        return f"build {_listed(self._from_the_bottom())}."

    def _tower(self) -> list[str]:
        """Blocks that stand on each other at first, from the top: of three there is one tower at most."""
        below = {block: under for block, under in self.initial if under != "table"}
        if not below:
            return []
        tower = [next(block for block in below if block not in below.values())]
        while tower[-1] in below:
            tower.append(below[tower[-1]])
        return tower

    def _from_the_bottom(self) -> list[Place]:
        moved = {block for block, _ in self.goal}
        return sorted(self.goal, key=lambda place: place[1] in moved)

    def _apart_and_together(self) -> Plan:
        plan: list[Action] = []
        for upper, lower in pairwise(self._tower()):
            plan += [("unstack", upper, lower), ("put-down", upper)]
        for place in self._from_the_bottom():
            plan += [("pick-up", place[0]), ("stack", *place)]
        return tuple(plan)


def random_task(rng: random.Random) -> BlocksTask:
    """A random problem whose goal does not hold at first."""
    world = random_problem(NUM_BLOCKS, rng, COLOURS)
    facts = sorted(world.initial)
    initial = [fact[1:] for fact in facts if fact[0] == "on"] + [(f[1], "table") for f in facts if f[0] == "ontable"]
    goal = [fact[1:] for fact in sorted(world.goal)]
    return BlocksTask(world, tuple(rng.sample(initial, len(initial))), tuple(rng.sample(goal, len(goal))))


def _step(action: Action) -> str:
    name, *blocks = action
    return WORDS[name].format(*blocks)


def _told(place: Place) -> str:
    return f"{place[0]} is on {place[1]}"


def _listed(places) -> str:
    return " and ".join(f"{block} on {under}" for block, under in places)
