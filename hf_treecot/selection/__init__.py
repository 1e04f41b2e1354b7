"""From trees to rows: which chains and pairs are taken, in TRL's columns. Nothing is generated here.

It must not know files, the Hub or trainers.
"""
