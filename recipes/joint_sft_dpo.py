# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""The paper's joint objective, conservative DPO plus SFT, on pairs of right and wrong chains (section 4.3).

`treecot joint` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.joint import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
