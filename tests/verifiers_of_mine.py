"""Verifiers of a user's own, good and bad."""

import dataclasses
import math
import os
import time

from hf_treecot.base import Verdict


def chatty(completion, problem):
    print("I print to standard output, which must not disturb anything")
    return Verdict(1.0, completion, "right")


def tell_environment(completion, problem):
    return Verdict(0.0, " ".join(sorted(os.environ)), "wrong")


def hang(completion, problem):
    while True:
        time.sleep(1)


def crash(completion, problem):
    raise ZeroDivisionError("division by zero")


def die_the_first_time(completion, problem):
    """Dies, but not where it is asked again; the answer names the file by which it knows."""
    try:
        os.close(os.open(completion, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return Verdict(1.0, completion, "right")
    os._exit(3)


def die(completion, problem):
    os._exit(3)


def eat_memory(completion, problem):
    return Verdict(float(len(bytearray(64 * 2**30)) > 0), None, "right")


def no_verdict(completion, problem):
    return True


@dataclasses.dataclass
class Judgement:
    score: float


def other_verdict(completion, problem):
    return Judgement(1.0)


def reward_of_answer(completion, problem):
    rewards = {
        "nan": math.nan,
        "infinite": math.inf,
        "two": 2,
        "minus": -0.1,
        "text": "1.0",
        "yes": True,
        "null": None,
    }
    return Verdict(rewards[completion], completion, "right")


def number_answer(completion, problem):
    return Verdict(1, 42, "right")


def no_reason(completion, problem):
    return Verdict(1, "42", None)


def not_json(completion, problem):
    return Verdict(1.0, {42}, "right")


def garbage(completion, problem):
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"this is no JSON\n")
        except OSError:
            continue
    return Verdict(1.0, "42", "right")


def long_line(completion, problem):
    return Verdict(1.0, "4" * (65 * 2**20), "right")


not_callable = 42
