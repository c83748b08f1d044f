"""How Sphinx builds the pages of this folder; scripts/docs.sh runs it."""

import contextlib
import io
import os
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import nst_jax as nst
from nst_jax import cli

project, author = "nst_jax", "the nst_jax authors"
copyright = f"2026, {author}"
version = release = nst.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme, html_title, html_favicon = "furo", "nst_jax", "favicon.svg"
html_math_renderer = "mathml"
# A text in single backquotes is code, as it reads in the sources.
default_role = "code"
# The tables that benchmarks write stand in no menu; the pages that explain them link there.
suppress_warnings = ["toc.not_included"]
autodoc_typehints = "none"  # the signatures have what the docstrings say, and longer
autodoc_member_order = "bysource"
napoleon_use_rtype = False
maximum_signature_line_length = 88


class Help(SphinxDirective):
    """What a command says of itself: ``.. help:: stylize``."""

    optional_arguments, final_argument_whitespace = 1, True

    def run(self) -> list[nodes.Node]:
        words = self.arguments[0].split() if self.arguments else []
        os.environ["COLUMNS"] = "80"
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
            cli.main([*words, "--help"])
        text = told.getvalue()
        return [nodes.literal_block(text, text, language="text")]


def with_bars(*described: Any) -> None:
    """Leaves the bars of equations, outside of code, as they are: they would be substitutions."""
    lines: list[str] = described[-1]
    for place, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")
            parts[::2] = [text.replace("|", "\\|") for text in parts[::2]]
            lines[place] = "`".join(parts)


def write_equation(translator: Any, node: Any) -> None:
    """Equations in the browser's own language, so that pages ask no other host for a program."""
    equation = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    translator.body.append(equation)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.add_directive("help", Help)
    app.add_html_math_renderer("mathml", (write_equation, None), (write_equation, None))
    app.connect("autodoc-process-docstring", with_bars)
