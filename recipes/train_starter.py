# /// script
# dependencies = ["hf-treecot"]
# ///
"""Train the starter model, or say where it is: a small model that knows all patterns and three kinds of problems.

`treecot starter` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.starter import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
