# /// script
# dependencies = ["hf-treecot"]
# ///
"""Select other SFT and preference rows from trees that are there already, also from the Hub. Nothing is generated.

`treecot select` does the same; `--help` says what it takes.
"""

import sys


try:
    from hf_treecot.cli.select import main
except ModuleNotFoundError as error:
    if error.name != "hf_treecot":
        raise
    sys.exit("error: hf_treecot is not installed: pip install hf-treecot, or `pip install -e .` in the clone")

if __name__ == "__main__":
    sys.exit(main())
