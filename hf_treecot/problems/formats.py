"""How the rows of well-known datasets are read as problems.

This module knows columns. It must not know where rows come from, nor how a problem is solved or checked.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..domains.blocksworld import parse_pddl, parse_query, to_pddl, to_query


Row = Mapping[str, Any]


def _text(answer: Any) -> str:
    """An answer as text. Numbers are taken; what a table holds where a number was lost is not."""
    if answer is None or isinstance(answer, str):
        return answer or ""
    if isinstance(answer, bool) or not isinstance(answer, int | float) or not math.isfinite(answer):
        raise ValueError("an answer is a text or a finite number")
    return str(answer)


@dataclass(frozen=True)
class ProblemFormat:
    """
    How the rows of a dataset are read.

    Args:
        prompt, answer, problem_id (`str`): The columns of the prompt, of the answer, and of the id, if there is one.
        verifier (`str`): Which verifier checks the answers.
        read_answer (`Callable`): Makes the gold answer of the answer column; raises `ValueError`.
        read_row (`Callable`, *optional*): Instead of prompt and answer: makes a row's problems, as pairs of prompt and
            answer; none if the verifier cannot check it.
        columns (`tuple[str]`): Columns that a row must have for `read_row`.
        license (`str`): Licence of the dataset.
        evaluation_only (`bool`): Nothing may be trained on it.
    """

    prompt: str = ""
    answer: str = ""
    problem_id: str = ""
    verifier: str = "math"
    read_answer: Callable[[Any], str] = _text
    read_row: Callable[[Row], Sequence[tuple[str, str]]] | None = None
    columns: tuple[str, ...] = ()
    license: str = ""
    evaluation_only: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which a row cannot be read."""
        return self.columns if self.read_row else (self.prompt, self.answer)

    def read(self, row: Row) -> Sequence[tuple[str, str]]:
        """The problems of a row, as pairs of prompt and answer."""
        return self.read_row(row) if self.read_row else [(row[self.prompt], self.read_answer(row[self.answer]))]


def _gsm8k_answer(answer: Any) -> str:
    _, marker, final = str(answer).rpartition("####")
    if not marker:
        raise ValueError("there is no '#### ' before the final answer")
    return final.strip().replace(",", "")


def _whole_number(answer: Any) -> str:
    text = _text(answer).strip().removesuffix(".0")
    return str(int(text))


def _aime_answer(answer: Any) -> str:
    number = int(_whole_number(answer))
    if not 0 <= number <= 999:
        raise ValueError("answers of AIME are whole numbers from 0 to 999")
    return str(number)


def _instructions(ids: Sequence[str], arguments: Sequence[Row | str]) -> list[dict]:
    if len(ids) != len(arguments):
        raise ValueError(f"{len(ids)} instructions with the arguments of {len(arguments)}")
    loaded = [json.loads(given) if isinstance(given, str) else given or {} for given in arguments]
    # A table of rows with different keys fills in None.
    return [
        {"id": name, "arguments": {key: value for key, value in given.items() if value is not None}}
        for name, given in zip(ids, loaded, strict=True)
    ]


def _ifeval(row: Row) -> list[tuple[str, str]]:
    instructions = _instructions(row["instruction_id_list"], row["kwargs"])
    return [(row["prompt"], json.dumps({"instructions": instructions}))]


def _multi_if(row: Row) -> list[tuple[str, str]]:
    """One problem a turn: its prompt is all that the user said so far, its instructions are those that hold by now."""
    problems, turns = [], []
    for turn in (1, 2, 3):
        prompt = row.get(f"turn_{turn}_prompt")
        if not prompt or prompt == "None":
            break
        turns.append(json.loads(prompt)["content"])
        instructions = _instructions(
            json.loads(row[f"turn_{turn}_instruction_id_list"]), json.loads(row[f"turn_{turn}_kwargs"])
        )
        answer = {"instructions": instructions, "multilingual": True, "turns": list(turns)}
        problems.append(("\n\n".join(turns), json.dumps(answer)))
    return problems


def _planbench(row: Row) -> list[tuple[str, str]]:
    if not str(row.get("domain") or "blocksworld").startswith("blocksworld"):
        return []  # another domain: there is no verifier for it
    return [(row["query"], to_pddl(parse_query(row["query"])))]


def _pddl(row: Row) -> list[tuple[str, str]]:
    problem = parse_pddl(row["pddl"])
    return [(to_query(problem), to_pddl(problem))]


# The first whose columns are all there, and whose answers can all be read, is taken.
FORMATS: Mapping[str, ProblemFormat] = {
    "ifeval": ProblemFormat(
        problem_id="key", verifier="instructions", read_row=_ifeval,
        columns=("prompt", "instruction_id_list", "kwargs"), license="apache-2.0",
    ),
    "multi_if": ProblemFormat(
        problem_id="key", verifier="instructions", read_row=_multi_if,
        columns=("turn_1_prompt", "turn_1_instruction_id_list", "turn_1_kwargs"), license="cc-by-nc-2.0",
        evaluation_only=True,
    ),
    "planbench": ProblemFormat(
        verifier="planning", read_row=_planbench, columns=("query", "ground_truth_plan"), license="mit",
    ),
    "pddl": ProblemFormat(problem_id="problem_id", verifier="planning", read_row=_pddl, columns=("pddl",)),
    "treecot": ProblemFormat("prompt", "answer", "problem_id"),
    "gsm8k": ProblemFormat("question", "answer", read_answer=_gsm8k_answer),
    "math_500": ProblemFormat("problem", "answer", "unique_id"),
    "aime": ProblemFormat("problem", "expected_answer", "id", read_answer=_aime_answer),
    "aime_hub": ProblemFormat("problem", "answer", "id", read_answer=_aime_answer),
    "math": ProblemFormat("problem", "answer", "id"),
    "letter_count": ProblemFormat("problem", "solution", "id", "letters", _whole_number),
}  # fmt: skip
