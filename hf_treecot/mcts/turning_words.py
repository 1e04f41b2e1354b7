"""Turning words: how thoughts of a kind begin where no tags say so, as reasoning models write them.

Written by selection, where chains become prose, and read where the prose of others becomes thoughts. This module
knows kinds and words alone.
"""

import re


# Whole sentences, since a thought goes on in its own words.
CONNECTIVES = {
    "sub_task": "Let me break this down.",
    "hypothesis": "Here is an idea to try.",
    "double_check": "Let me double-check.",
    "reflection": "Wait, something is off.",
    "thinking_from_scratch": "Let me start over.",
    "reclarify": "Let me restate the problem.",
}
_ME = (
    r"(?:let me|let's|let us|i(?:'ll| will| should| need to| want to| must| can| could| have to)?|"
    r"we(?:'ll| can| should| need to)?)"
)
_AGAIN = r"(?:just |quickly |also |first |now |go back and |try to |again )*"
# The more telling come first: "let me check again from the start" starts over.
_OPENINGS = {
    "thinking_from_scratch": (
        rf"{_ME} {_AGAIN}(?:start (?:over|again|afresh|from)|restart|begin again|rethink|re-think|think again from)|"
        r"start(?:ing)? (?:over|again|from scratch)|(?:going )?back to (?:the (?:start|beginning)|square one)|"
        r"from scratch|the previous is the wrong answer"
    ),
    "reclarify": (
        rf"{_ME} {_AGAIN}(?:restate|re-?read|rephrase|clarify|reclarify|parse the (?:problem|question))|"
        r"re-?reading (?:the|this)|the (?:problem|question) (?:says|asks|states|is asking|wants)|to ensure clarity|"
        r"looking back at the (?:problem|question)"
    ),
    "double_check": (
        rf"{_ME} {_AGAIN}(?:double[- ]?check|re-?check|check|verify|confirm|test (?:this|that|it)|make sure|"
        r"re-?verify|validate|plug)|to (?:double[- ]?check|verify|be (?:sure|safe|thorough|certain)|confirm)|"
        r"(?:double[- ])?checking|verifying|just to (?:be|make|double|verify)|as a (?:sanity )?check|sanity check|"
        r"does (?:this|that|it) make sense|is (?:this|that|it) (?:right|correct)"
    ),
    "hypothesis": (
        r"alternatively|maybe|perhaps|"
        r"(?:another|a different|one) (?:way|approach|method|idea|possibility|thought|option)|"
        r"what if|suppose|or (?:maybe|perhaps)|here is an idea|i propose|"
        rf"{_ME} {_AGAIN}(?:try|approach|consider|think of (?:it|this) (?:differently|another)|assume|suppose|guess)"
    ),
    "reflection": (
        r"something (?:is|'s|seems|must be) (?:wrong|off|not)|(?:that|this|it)(?:'s| is| was| can't be| cannot be)? "
        r"(?:not (?:right|correct|it|possible)|wrong|incorrect|impossible|a mistake|can't be|doesn't|does not)|"
        r"i (?:think i )?(?:made|must have made|have made|see) (?:a|an|my) (?:mistake|error)|i was wrong|"
        r"(?:on|upon) second thought|my mistake|oops|not quite|"
        rf"{_ME} {_AGAIN}(?:reconsider|re-?examine|reflect|re-?evaluate|think again|correct)"
    ),
    "sub_task": (
        r"first(?:ly)?,? (?:i|we|let)|to (?:solve|answer|do|tackle|find) this|"
        rf"{_ME} {_AGAIN}(?:break|plan|outline|understand|figure out what)|i need to (?:find|figure|solve|break)"
    ),
}
OPENINGS = {kind: re.compile(rf"(?:{words})\b", re.IGNORECASE) for kind, words in _OPENINGS.items()}
FIRST_WORDS = 100  # characters
MOST_FILLERS = 5
STOP = re.compile(r"(?:wait|hmm+|hm|hold on|no|nope|oh|ah|uh|huh|actually)\b[\s,.!…—-]*", re.IGNORECASE)
FILLER = re.compile(
    r"(?:but|so|and|okay|ok|alright|now|well|then|hence|also|just|yeah|yes|or)\b[\s,.!…—-]*", re.IGNORECASE
)


def opening_kind(text: str) -> str | None:
    """
    The kind of thought that a text opens as; None if its first words do not say.

    Args:
        text (`str`): A paragraph, or a sentence. "Wait", "Hmm" and the like make a reflection of it, unless what
            follows says better: "Wait, let me double-check" is a double-check.
    """
    rest, stops = text[:FIRST_WORDS].lstrip(" \t\r\n*_#>-\"'“"), False
    for _ in range(MOST_FILLERS):
        for kind, opening in OPENINGS.items():
            if opening.match(rest):
                return kind
        stop = STOP.match(rest)
        moved = stop or FILLER.match(rest)
        if moved is None:
            break
        stops = stops or stop is not None
        rest = rest[moved.end() :]
    return "reflection" if stops else None
