"""Configuration of the docs site, which ``make docs-site`` builds."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))
(REPOSITORY,) = re.findall('^repository = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)

from trackmllib import __version__  # noqa: E402

project = "trackmllib"
author = "trackmllib contributors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
# Each name that is not found is an error, except for types that have no page here.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|pathlib)\..+|pd\.DataFrame|Figure"),
    ("py:class", r"Explanation|RunLinks|SearchState|trackmllib\.(domain|reporting)\..+"),
    ("py:class", r"trackmllib\.testing\.E"),
]
# Links like page.md#a-heading, as on GitHub.
myst_heading_anchors = 4
# Otherwise "--" becomes a dash in the help of commands.
smartquotes_action = "qe"

# One option of autolog() per line.
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_use_rtype = False
copybutton_prompt_text = "$ "

html_theme = "furo"
html_title = f"trackmllib {version}"
html_copy_source = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}


def links_out_of_the_site(app, docname, source):
    """Let links to files of the repository, such as notebooks, lead there."""
    folder = Path(app.srcdir, docname).parent

    def replaced(match):
        path = (folder / match[1]).resolve()
        if path.is_relative_to(app.srcdir) or not path.is_relative_to(ROOT) or not path.exists():
            return match[0]
        return f"]({REPOSITORY}/blob/main/{path.relative_to(ROOT)}{match[2] or ''})"

    source[0] = re.sub(r"\]\((\.\.?/[^)#\s]+)(#[^)]*)?\)", replaced, source[0])


def setup(app):
    app.connect("source-read", links_out_of_the_site)
