"""Plans for Blocksworld: every step is possible, and at the end the goal holds."""

from ..base import Problem, Verdict
from ..domains.blocksworld import parse_pddl, simulate
from .plan_text import MAX_LENGTH, NotAnAction, read_plans


VERSION = "3"


def verify(completion: str, problem: Problem) -> Verdict:
    """
    Follow the stated plan from the initial state to the goal.

    Args:
        completion (`str`): The text of an answer thought. It must state one plan, as often as it likes; see
            [`~verifiers.plan_text.read_plans`] for what is read as a plan.
        problem ([`Problem`]): Its `answer` is the problem in PDDL.

    Returns:
        [`Verdict`]: 1 if the goal holds at the end, else 0; its `reason` says which step is not an action, which one
        cannot be taken, or what is missing at the end. A text that names no action states no plan.

    Raises:
        ValueError: The problem cannot be parsed.
    """
    world = parse_pddl(problem.answer)
    if len(completion) > MAX_LENGTH:
        return Verdict(0.0, completion[:200], "unparseable: too long")
    try:
        plans = read_plans(completion)
    except NotAnAction as error:
        return Verdict(0.0, completion.strip()[:200], f"unparseable: {error}")
    if not plans:
        return Verdict(0.0, None, "no_answer")
    answer = "\n".join(f"({' '.join(action)})" for action in plans[-1])
    if len(plans) > 1:
        return Verdict(0.0, answer, "ambiguous")
    fault = simulate(world, plans[0])
    return Verdict(float(not fault), answer, f"wrong: {fault}" if fault else "right")
