"""The words of plans: what numbers a step, names an action, goes with one, or takes a plan back."""

import re


TAGGED = re.compile(r"\[PLAN\](.*?)(?=\[PLAN\]|\[\s*PLAN[ _]END\s*\]|\Z)", re.DOTALL | re.IGNORECASE)
NUMBER = re.compile(
    r"(?:step|action)?\s*\(?#?(\d{1,4}|[a-z](?=[.)]))\s*(?:[.):\]-]|\s-)\s*|step\s+(\d{1,4})\s+", re.IGNORECASE
)
BULLET = re.compile(r"^(?:[-•+>→–—]|<li>)\s*")
# Steps in quotes, in lists of a program and in cells of a table.
QUOTED = re.compile(r"[\"“']((?:un-?stack|stack|pick|put)\b[^\"“”'\n]*)[\"”'](?: ?,| ?\])?", re.IGNORECASE)
ARGUMENTS = re.compile(r"\(\s*(['\"])(\w+)\1(?:\s*,\s*\1(\w+)\1)?\s*\)")
INLINE_NUMBER = re.compile(r"(?<=[\w.;,)]) (?=\d{1,2}[.)] (?:un-?stack|stack|pick|put)\b)", re.IGNORECASE)
GERUND = re.compile(r"^(un-?stack|stack|pick|put)t?ing\b", re.IGNORECASE)
CELL = re.compile(r"^\|\s*(?:(\d{1,4}|[a-z])\s*\|\s*)?")
# What may stand before the verb of a step.
LEAD = re.compile(
    r"(?:(?:action|plan|answer|the (?:answer|plan) is|and|then|next|finally|lastly|last|first(?:ly)?|now|"
    r"second(?:ly)?|again|also|after (?:that|this)|afterwards?|quickly|carefully|simply|just|you|we|i|"
    r"(?:the )?(?:robot|arm|agent)|"
    r"should|can|will|would|must|(?:need|have|want|going) to)\b(?: ?[:,])? ?)*",
    re.IGNORECASE,
)
BLOCK = r"(?:the\s+)?(?:clear\s+)?(?:block\s+)?(?!the\b|block\b|it\b|from\b|on\b|onto\b|down\b|up\b)(\w+)(?:\s+block)?"
FROM = r"(?:\s+(?:from|off)(?:\s+of)?)?(?:\s+on)?(?:\s+top)?(?:\s+of)?"
ONTO = r"(?:\s+on(?:to)?)?(?:\s+top)?(?:\s+of)?"
WORDS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("pick-up", rf"pick(?:ed|s)?(?:[\s-]*up)?\s+{BLOCK}(?:\s+up)?(?:\s+(?:from|off)\s+(?:the\s+)?table)?"),
        (
            "put-down",
            rf"put(?:s|ted)?(?:[\s-]*down)?\s+{BLOCK}(?:\s+back)?(?:\s+down)?(?:\s+on(?:to)?\s+(?:the\s+)?table)?",
        ),
        ("put-down", rf"place[sd]?\s+{BLOCK}(?:\s+(?:back|down))*\s+on(?:to)?\s+the\s+table"),
        ("unstack", rf"(?:unstack|un-stack)(?:ed|s)?\s+{BLOCK}{FROM}\s+{BLOCK}"),
        ("stack", rf"stack(?:ed|s)?\s+{BLOCK}{ONTO}\s+{BLOCK}"),
        ("stack", rf"place[sd]?\s+{BLOCK}\s+on(?:to)?(?:\s+top)?(?:\s+of)?\s+(?!the\s+table|table){BLOCK}"),
    )
)
CALLS = tuple(
    (name, re.compile(rf"\(?\s*{verb}\s*[\s(]\s*{arguments}(?:\s*\))*", re.IGNORECASE))
    for name, verb, arguments in (
        ("pick-up", r"pick[\s_-]*up", BLOCK),
        ("put-down", r"put[\s_-]*down", BLOCK),
        ("unstack", r"unstack", rf"{BLOCK}[\s,]+{BLOCK}"),
        ("stack", r"stack", rf"{BLOCK}[\s,]+{BLOCK}"),
    )
)
ACTIONS = (*CALLS, *WORDS)
# What may follow an action in its line: a remark. An action may follow too, and is then read.
END = re.compile(
    r"\s*(?:$|[.,;:!()\[\]|]|[-–—]+(?=\s)|->|→|=>|\bso\b|\bsince\b|\bbecause\b|"
    r"\b(?:as|to|which|then|and|next to)\b)",
    re.I,
)
SENTENCE = re.compile(
    r"[.;,:] | ?\| ?| [-–—]+ |\) ?,? ?(?=\()| (?:and )?then | and |\\\\| ?(?:->|→|=>) ?", re.IGNORECASE
)
PRONOUN = re.compile(r"^((?:un-?stack|stack|pick|put)\w*(?: (?:up|down))?) it\b", re.IGNORECASE)
NEW_LINE = re.compile(r"\\\\(?![a-zA-Z])|\\n|</?(?:ol|ul|li|p|br) ?/?>", re.IGNORECASE)
REMARK = re.compile(r"(?<!\w)\((?!\s*(?:un-?stack|stack|pick|put)\b)([^()]*)\)", re.IGNORECASE)  # in brackets
# A step with one of these verbs tells what to do, in words that are not read.
VERB = re.compile(
    r"\b(?:un-?stack|stack|pick|put|place|move|lift|grab|take|drop|set|lower|remove|release|return)\w*\b",
    re.IGNORECASE,
)
# What goes with an action in its step: a reason, a state of the world.
ASIDE = re.compile(
    r"(?:so|since|because|as|which|to|in order|while|with|after|before|when|where|now that|once|this|that|it|on|onto|"
    r"from|off|for|if|both|separate|next to|aside|making|leaving|freeing|achieving|completing|\w+ing)\b|"
    r".*(?:'re|'s|\b(?:is|are|was|be|becomes?|remains?|has|hand|hands|empty|clear|free|hold(?:s|ing)?|held|"
    r"goal|state|done|not|cannot|can't)\b)|"
    r"\W*$",
    re.IGNORECASE,
)
# Words by which a clause is about blocks, or about what was done.
DOES = frozenset("block blocks everything them it step steps repeat undo reverse".split())
# What takes a plan, or a step of it, back.
TAKEN_BACK = re.compile(
    r"\b(?:do not|don't|never) (?:do|follow|execute|use|take) (?:this|that|it|these|the following)\b|"
    r"\b(?:this|that|it|the plan|the above) (?:plan )?(?:is|was) (?:wrong|incorrect|invalid|impossible)\b|"
    r"\bskip (?:this|it)\b|\bno valid plan\b",
    re.IGNORECASE,
)
