"""Finding the answer in the text of an answer thought."""

import re


FINAL_ANSWER = re.compile(r"(?:####|answer\s+is\s*:?)\s*(.+)", re.IGNORECASE)


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{…}` whose braces are balanced, or None."""
    found = None
    for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text):
        depth = 1
        for position in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                found = text[match.end() : position]
                break
    return found


def final_answer(text: str) -> str | None:
    r"""The answer that a text states: the last `\boxed{…}`, else what follows the last `####` or "answer is"."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed.strip() or None
    stated = FINAL_ANSWER.findall(text)
    return stated[-1].strip().rstrip(".") or None if stated else None
