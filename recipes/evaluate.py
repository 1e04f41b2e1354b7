# /// script
# dependencies = ["hf-treecot[evaluation]"]
# ///
"""How often models are right, how often they give no answer at all and why, and what sampling and search add.

`treecot evaluate` does the same; `--help` says what it takes.
"""

import sys


# A script's directory comes first in the search path, where this file would stand for the library named `evaluate`.
sys.path.pop(0)
try:
    from hf_treecot.cli.evaluate import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
