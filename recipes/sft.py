# /// script
# dependencies = ["hf-treecot[tracking]"]
# ///
"""Supervised fine-tuning on the longest right chains of trees (paper, section 4.1), with TRL's SFTTrainer.

`treecot sft` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.sft import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
