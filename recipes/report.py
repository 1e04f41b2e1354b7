# /// script
# dependencies = ["hf-treecot"]
# ///
"""One page about a run, with pictures: its trees, how training went, what that did to the model.

`treecot report` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.report import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
