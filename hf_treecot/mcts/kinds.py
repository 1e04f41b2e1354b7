"""What a pattern is made of: kinds of thoughts, which of them may follow which, and what a wrong answer adds.

Types and the questions that they answer. They must not know where patterns come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


KINDS = (
    "sub_task",
    "thinking",
    "hypothesis",
    "double_check",
    "reflection",
    "thinking_from_scratch",
    "reclarify",
    "answer",
)
CHANGES_OF_MIND = frozenset({"reflection", "double_check", "reclarify", "thinking_from_scratch"})
FREE = ""  # the kind that is asked for where the model chooses it
ROLES = ("generator", "critic")
MOST_CHILDREN = 64  # of a kind under one thought


@dataclass(frozen=True)
class ThoughtSpec:
    """
    What a pattern says about one kind of thought (paper, section 3; figure 2).

    Args:
        kind (`str`): One of [`KINDS`].
        tag (`str`): The thought is written between `<tag>` and `</tag>`.
        description (`str`): What the model is told about this kind, in the `{thoughts}` slot of the system prompt.
        role (`str`): Which engine writes it: `"generator"` or `"critic"`.
        prefills (`tuple[str]`): Openings; the i-th sample of a node starts with the i-th, cyclically.
        next (`Mapping[str, int]`): Kinds that may follow, and how many children of each an expansion asks for.
        terminal (`bool`): An answer: it is verified, and nothing follows.
        closed (`bool`): The thought is its prefill; nothing is generated.
        continue_unfinished (`bool`): Whether a thought that hit its token budget may be followed by others. If not,
            the chain ends there without an answer.
    """

    kind: str
    tag: str
    description: str = ""
    role: str = "generator"
    prefills: tuple[str, ...] = ("",)
    next: Mapping[str, int] = field(default_factory=dict)
    terminal: bool = False
    closed: bool = False
    continue_unfinished: bool = False

    @property
    def opening(self) -> str:
        """The opening tag; nothing where there is none."""
        return f"<{self.tag}>" if self.tag else ""

    @property
    def closing(self) -> str:
        """The closing tag; nothing where there is none."""
        return f"</{self.tag}>" if self.tag else ""


@dataclass(frozen=True)
class OnWrong:
    """
    What a wrong answer adds to the tree, so that later simulations can correct themselves (paper, figure 2: "False").

    Args:
        add (`str`): The kind that is added.
        under (`tuple[str]`): It goes under the nearest ancestor of the answer that is of one of these kinds.
        count (`int`): How many are added.
        max_per_node (`int`): At most so many thoughts are added under one ancestor, however many answers are wrong.
    """

    add: str
    under: tuple[str, ...]
    count: int = 1
    max_per_node: int = 1


@dataclass(frozen=True)
class Pattern:
    """
    One transition pattern.

    Args:
        name (`str`): Its name, recorded with every tree.
        start (`Mapping[str, int]`): The kinds that may come first, and how many of each.
        thoughts (`Mapping[str, ThoughtSpec]`): The kinds it uses.
        system_prompts (`Mapping[str, str]`): The system prompt of each role; `{thoughts}` lists the kinds.
        on_wrong ([`OnWrong`], *optional*): What a wrong answer adds. None: a wrong answer ends its chain for good.
        description (`str`): What it is for.
        free (`bool`): The model itself chooses the kind of every thought, or writes none. `next` then
            says nothing; see [`free_thoughts`].
    """

    name: str
    start: Mapping[str, int]
    thoughts: Mapping[str, ThoughtSpec]
    system_prompts: Mapping[str, str] = field(default_factory=dict)
    on_wrong: OnWrong | None = None
    description: str = ""
    free: bool = False

    def next_kinds(self, kind: str | None) -> Mapping[str, int]:
        """The kinds that may follow `kind` (None: that may come first), with how many children of each."""
        if self.free and kind is not None:
            return {FREE: 1}
        return self.start if kind is None else self.thoughts[kind].next

    def system_prompt(self, role: str) -> str:
        """The system prompt of a role, its `{thoughts}` slot filled; empty if the pattern has none for it."""
        listing = "\n".join(f"- {spec.opening}: {spec.description}" for spec in self.thoughts.values())
        return self.system_prompts.get(role, "").replace("{thoughts}", listing).strip()
