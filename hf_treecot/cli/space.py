"""Look inside trees of thoughts, judge them, and talk to the models that they made, in a browser.

    treecot space                                             # the demo's run and models, else packaged examples
    treecot space --source runs/demo --models starter runs/demo/sft runs/demo/joint_sft_dpo
    treecot space --source user/name --models Qwen/Qwen2.5-1.5B-Instruct

On a Space there is no command line: the variables TREECOT_SOURCE, TREECOT_MODELS (separated by commas) and
TREECOT_JUDGEMENTS_REPO say the same.
"""

from importlib.util import find_spec

from ..space.arguments import SpaceArguments
from .parser import fail, parse, run


def main(args: list[str] | None = None) -> None:
    """Serve until it is stopped."""
    arguments = parse("space", SpaceArguments, __doc__, args)
    for module in ("gradio", "latex2mathml"):
        if find_spec(module) is None:
            fail(f"{module} is not installed: pip install 'hf-treecot[space]'")
    from ..space.app import serve

    run(lambda: serve(arguments))
