"""Worlds that problems and verifiers both need: Blocksworld, instructions, and the tasks of the starter model.

A domain makes tasks, solves them and says what is true in it. It must not know problems, verifiers or models.
"""
