"""How a tree is searched: budgets, sampling, and by name the functions that spend them.

Only numbers and names; what they do is in `mcts.spending`, which is also where the names come from.
"""

from dataclasses import dataclass, field

from ..errors import InvalidInputError
from .spending import BRANCHINGS, CHILD_SELECTIONS, STOPPINGS


GREEDY = ("never", "first_chain", "continuations")


@dataclass(frozen=True)
class SearchConfig:
    """
    How a tree is searched.

    The defaults are those of the authors' released demo.

    Args:
        num_simulations (`int`): Simulations after which a tree with enough right answers is done.
        min_right (`int`): Right answers that make a tree a success.
        max_right (`int`): Right answers at which it stops at once.
        give_up_factor (`int`): Give up after `give_up_factor * num_simulations` with fewer than `min_right`.
        exploration_constant (`float`): C of UCB in the paper's form, `v/N + C * sqrt(ln N_parent / N)`.
        max_depth (`int`): Thoughts in a chain; the last one can only be an answer.
        max_new_tokens (`int`): Generated tokens of a thought.
        max_chain_tokens (`int`): Generated tokens of a chain.
        max_tree_tokens (`int`, *optional*): No simulation begins once a tree has so many generated tokens.
        temperature, top_p (`float`): Sampling.
        simulations_in_flight (`int`): More than one searches one tree with virtual losses, for interactive use: faster
            for a single tree, but its shape then depends on which thought is written first.
        virtual_loss (`float`): Visits without reward that a simulation in flight counts for on its path.
        keep_reasoning (`bool`): Keep in the tree what a reasoning model thought before it wrote a thought.
        child_selection (`str`): By which score a simulation goes down: `"uct"`, `"puct"` (with the model's own
            probability of a kind as prior, which costs a few tokens an expansion), `"thompson"` (a draw of the
            posterior of its value).
        branching (`str`): Where a simulation asks for a thought besides those of the pattern, and goes on from it:
            `"pattern"`: nowhere; `"root"`: at the root, so that it begins a chain of its own; `"entropy"`: instead of
            the thought that the model was least sure of (TreeRL); `"disagreement"`: where the answers below disagree
            most; `"thompson"`: where a draw says that another one is worth more than those that are there, with
            every kind and every model as an arm (AB-MCTS).
        stopping (`str`): `"rewards"`: the rule of `num_simulations`, `min_right`, `max_right` and `give_up_factor`.
            `"majority_decided"`: besides, as soon as more answers would hardly change the majority
            (Adaptive-Consistency). `"probability_decided"`: as soon as they would hardly change the most probable
            one, which takes fewer where chains are short.
        decided_probability (`float`): How sure that must be.
        greedy (`str`): What is written greedily whatever the temperature: `"never"` anything, the `"first_chain"`, or
            besides all `"continuations"` of a thought that was sampled.
    """

    num_simulations: int = field(
        default=32, metadata={"help": "Simulations that make a tree with enough right answers."}
    )
    min_right: int = field(default=4, metadata={"help": "Right answers that are enough."})
    max_right: int = field(default=8, metadata={"help": "Right answers at which a tree stops at once."})
    give_up_factor: int = field(default=4, metadata={"help": "Give up after so many times num_simulations."})
    exploration_constant: float = field(default=2.0, metadata={"help": "C of UCB, in the paper's form."})
    max_depth: int = field(default=16, metadata={"help": "Thoughts in a chain."})
    max_new_tokens: int = field(default=512, metadata={"help": "Generated tokens of a thought."})
    max_chain_tokens: int = field(default=4096, metadata={"help": "Generated tokens of a chain."})
    max_tree_tokens: int | None = field(
        default=None, metadata={"help": "Generated tokens after which no simulation of a tree begins."}
    )
    temperature: float = field(default=0.7, metadata={"help": "Sampling temperature."})
    top_p: float = field(default=0.9, metadata={"help": "Nucleus."})
    simulations_in_flight: int = field(
        default=1, metadata={"help": "Simulations of one tree at the same time; more than one is not reproducible."}
    )
    virtual_loss: float = field(
        default=1.0, metadata={"help": "Visits without reward that a simulation in flight counts for."}
    )
    keep_reasoning: bool = field(
        default=False, metadata={"help": "Keep in the tree what a reasoning model thought before it wrote a thought."}
    )
    child_selection: str = field(
        default="uct", metadata={"help": f"How a simulation goes down: {', '.join(CHILD_SELECTIONS)}."}
    )
    branching: str = field(
        default="pattern",
        metadata={"help": f"Where more thoughts are asked for than the pattern says: {', '.join(BRANCHINGS)}."},
    )
    stopping: str = field(
        default="rewards",
        metadata={"help": f"When a search is over: {', '.join(STOPPINGS)}."},
    )
    decided_probability: float = field(
        default=0.95, metadata={"help": "How sure the majority must be to stop: decided."}
    )
    greedy: str = field(default="never", metadata={"help": f"What is written greedily: {', '.join(GREEDY)}."})

    def __post_init__(self):
        for name in ("num_simulations", "min_right", "max_right", "give_up_factor", "max_depth", "max_new_tokens"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("max_chain_tokens", "simulations_in_flight"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        if self.max_tree_tokens is not None:
            _require("max_tree_tokens", self.max_tree_tokens, self.max_tree_tokens >= 1, "at least 1")
        for name in ("exploration_constant", "temperature", "virtual_loss"):
            _require(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        _require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1 (1 is off)")
        _require("decided_probability", self.decided_probability, 0.5 <= self.decided_probability < 1, "from 0.5 to 1")
        for name, names in (
            ("child_selection", CHILD_SELECTIONS),
            ("branching", BRANCHINGS),
            ("stopping", STOPPINGS),
            ("greedy", GREEDY),
        ):
            if getattr(self, name) not in names:
                raise InvalidInputError(f"{name}={getattr(self, name)!r} is unknown: use one of {', '.join(names)}")
        _require("max_right", self.max_right, self.max_right >= self.min_right, f"at least min_right={self.min_right}")


def _require(name: str, value: float, condition: bool, remedy: str) -> None:
    if not condition:
        raise InvalidInputError(f"{name}={value!r} is out of range: it must be {remedy}")
