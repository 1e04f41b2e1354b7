# /// script
# dependencies = ["hf-treecot"]
# ///
"""Rounds of growing trees, training on them and evaluating, each with the model of the round before.

`treecot evolve` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.evolve import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
