"""Verifiers of a user's own, good and bad."""

import os
import time

from hf_treecot.verifiers import Verdict


def chatty(completion, problem):
    print("I print to standard output, which must not disturb anything")
    return Verdict(1.0, completion, "right")


def hang(completion, problem):
    while True:
        time.sleep(1)


def crash(completion, problem):
    raise ZeroDivisionError("division by zero")


def die(completion, problem):
    os._exit(3)


def eat_memory(completion, problem):
    return Verdict(float(len(bytearray(64 * 2**30)) > 0), None, "right")
