# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""REDI (Xu et al., 2025) on pairs of right and wrong chains: no reference model.

`treecot redi` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.redi import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
