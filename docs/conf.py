"""Sphinx, with MyST since all guides are Markdown, and furo since it reads well on a phone: what most projects use."""

import re

import hf_treecot


project = "hf_treecot"
author = "The hf_treecot team"
project_copyright = "2026, the hf_treecot team"
version = release = hf_treecot.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "hf_treecot"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings give them
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_rtype = False
suppress_warnings = ["myst.xref_missing"]  # notebooks and files beside the pages
CODE = re.compile(r"(?<![`:\\])(\[?)`(?P<name>[^`\n]+)`(\]?)(?!`)")


def read_as_markdown(app, what, name, obj, options, lines):
    """Docstrings are in Hugging Face's format, which is Markdown: its code and its links become those of Sphinx."""
    text = "\n".join(lines)
    # A fence becomes an indented block, and a name in brackets is code.
    text = re.sub(
        r"```\w*\n(.*?)```",
        lambda match: "::\n\n" + re.sub(r"(?m)^", "    ", match.group(1)),
        text,
        flags=re.DOTALL,
    )
    text = re.sub(r"\|(\w+)\|", r"\\|\1\\|", text)  # absolute values, not substitutions
    text = CODE.sub(lambda match: f"``{match['name'].lstrip('~')}``", text)
    text = re.sub(r"(?<!\\)\[([^\]\n]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`__", text)
    lines[:] = text.split("\n")


def setup(app):
    """Before napoleon reads the sections of a docstring."""
    app.connect("autodoc-process-docstring", read_as_markdown, priority=100)
