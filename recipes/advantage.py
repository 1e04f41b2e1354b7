# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""All verified chains of trees at once, each thought weighed by its advantage in the search.

`treecot advantage` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.advantage import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
