# /// script
# dependencies = ["hf-treecot"]
# ///
"""The paper's ablation on the starter model: what each part of the method does to accuracy and to the no-answer rate.

`treecot ablation` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.ablation import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
