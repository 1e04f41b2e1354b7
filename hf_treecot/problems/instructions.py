"""Single-turn problems with instructions that can be checked, for data building: IFEval's kinds, other requests.

The words of an instruction are its checker's own. This module knows how instructions exclude each other.
"""

import random
from typing import Any

from ..domains.instructions import load_checker


TOPICS = (
    "a lighthouse keeper", "the first day at a new school", "growing tomatoes on a balcony", "a night train",
    "repairing an old bicycle", "the history of tea", "a lost umbrella", "how bridges stand up", "a family of foxes",
    "learning to swim as an adult", "the sounds of a market", "a village without clocks", "how glass is made",
    "moving to another city", "a chess match in the park", "the life of a river", "baking bread for a neighbour",
    "a museum of everyday things", "how maps were drawn", "a storm at sea", "the work of a beekeeper",
    "an unexpected letter", "saving water at home", "a walk through the forest in autumn",
)  # fmt: skip
REQUESTS = (
    "Write a short story about {}.", "Write a blog post about {}.", "Explain {} to a child.",
    "Write a letter to a friend about {}.", "Write a product description inspired by {}.",
    "Give advice to someone who is interested in {}.", "Write a poem about {}.", "Write a news report about {}.",
    "Write a dialogue about {}.", "Write a speech about {}.",
)  # fmt: skip
WORDS = "water light quiet letter window garden evening stone bridge kitchen summer market paper music friend".split()
ENDINGS = ("Is there anything else?", "That is all for today.", "Thank you for reading.", "What do you think?")
# Kinds that cannot be asked for together: at most one of each group.
GROUPS = {
    "keywords:existence": "words", "keywords:frequency": "words", "keywords:forbidden_words": "words",
    "keywords:letter_frequency": "letters", "length_constraints:number_sentences": "length",
    "length_constraints:number_words": "length", "length_constraints:number_paragraphs": "parts",
    "length_constraints:nth_paragraph_first_word": "parts", "detectable_content:number_placeholders": "placeholders",
    "detectable_content:postscript": "end", "detectable_format:number_bullet_lists": "parts",
    "detectable_format:number_highlighted_sections": "highlights", "detectable_format:multiple_sections": "parts",
    "detectable_format:title": "title", "combination:two_responses": "parts", "combination:repeat_prompt": "start",
    "startend:end_checker": "end", "change_case:capital_word_frequency": "case", "change_case:english_capital": "case",
    "change_case:english_lowercase": "case", "punctuation:no_comma": "comma", "startend:quotation": "start",
}  # fmt: skip
ALONE = ("detectable_format:json_format", "language:response_language")
LANGUAGES = ("de", "es", "fr", "it", "pt")
CASE_CHANGES = ("change_case:english_capital", "change_case:english_lowercase")
WORDS_AS_WRITTEN = ("combination:repeat_prompt", "detectable_content:postscript")  # have capitals of their own


def random_instructions(rng: random.Random, count: int | None = None) -> tuple[str, list[dict[str, Any]]]:
    """
    A random problem.

    Args:
        rng (`random.Random`): The same rng makes the same problem.
        count (`int`, *optional*): How many instructions; 1 to 3 if not given.

    Returns:
        `tuple[str, list[dict]]`: The prompt, and its instructions with `id` and `arguments`.
    """
    request = rng.choice(REQUESTS).format(rng.choice(TOPICS))
    kinds = [rng.choice(ALONE)] if count in (None, 1) and rng.random() < 0.08 else _kinds(rng, count)
    instructions = [{"id": kind, "arguments": _arguments(kind, request, rng)} for kind in kinds]
    words = [load_checker(i).build_description(**i["arguments"]) for i in instructions]
    return "\n".join([request, *words]), instructions


def _kinds(rng: random.Random, count: int | None) -> list[str]:
    wanted, kinds = count or rng.randint(1, 3), []
    for kind in rng.sample(list(GROUPS), len(GROUPS)):
        excluded = any(GROUPS[kind] == GROUPS[other] for other in kinds)
        cases = any(k in CASE_CHANGES for k in (kind, *kinds)) and any(k in WORDS_AS_WRITTEN for k in (kind, *kinds))
        if not excluded and not cases:
            kinds.append(kind)
        if len(kinds) == wanted:
            break
    return kinds


def _arguments(kind: str, request: str, rng: random.Random) -> dict[str, Any]:
    """Arguments for one kind that a writer can satisfy."""
    relation = rng.choice(("at least", "less than"))
    match kind.partition(":")[2]:
        case "existence":
            return {"keywords": sorted(rng.sample(WORDS, 2))}
        case "frequency":
            return {"keyword": rng.choice(WORDS), "frequency": rng.randint(2, 4), "relation": "at least"}
        case "forbidden_words":
            return {"forbidden_words": sorted(rng.sample(WORDS, 3))}
        case "letter_frequency":
            letter, frequency = rng.choice("bcfgkpvwz"), rng.randint(3, 12)
            return {"letter": letter, "let_frequency": frequency, "let_relation": relation}
        case "number_sentences":
            return {"num_sentences": rng.randint(4, 12), "relation": relation}
        case "number_words":
            return {"num_words": 10 * rng.randint(5, 20), "relation": relation}
        case "number_paragraphs":
            return {"num_paragraphs": rng.randint(2, 4)}
        case "nth_paragraph_first_word":
            paragraphs = rng.randint(2, 4)
            first_word = rng.choice(WORDS)
            return {
                "num_paragraphs": paragraphs, "nth_paragraph": rng.randint(1, paragraphs), "first_word": first_word
            }  # fmt: skip
        case "number_placeholders":
            return {"num_placeholders": rng.randint(2, 4)}
        case "postscript":
            return {"postscript_marker": rng.choice(("P.S.", "P.P.S"))}
        case "number_bullet_lists":
            return {"num_bullets": rng.randint(2, 5)}
        case "number_highlighted_sections":
            return {"num_highlights": rng.randint(1, 3)}
        case "multiple_sections":
            return {"section_spliter": rng.choice(("Section", "Part", "Day")), "num_sections": rng.randint(2, 4)}
        case "repeat_prompt":
            return {"prompt_to_repeat": request}
        case "end_checker":
            return {"end_phrase": rng.choice(ENDINGS)}
        case "capital_word_frequency":
            return {"capital_frequency": rng.randint(2, 6), "capital_relation": relation}
        case "response_language":
            return {"language": rng.choice(LANGUAGES)}
    return {}
