# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""A value model: how likely a chain of thoughts is to end in a right answer, learnt from trees.

`treecot value` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.value import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
