# /// script
# dependencies = ["hf-treecot[scale]"]
# ///
"""Grow trees in many processes or on a cluster: `treecot build` in tasks, whose trees are merged into one dataset.

`treecot scale` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.scale import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
