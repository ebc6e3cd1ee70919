"""Sphinx: `make docs`. The site is built, and read, without the network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from sphinx.ext import autosummary

import clipsoid

project = "clipsoid"
author = "the clipsoid authors"
copyright = "the clipsoid authors"
version = release = clipsoid.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "myst_parser",
    "numpydoc",
    "commandline",
    "mathml",
]
nitpicky = True
exclude_patterns = ["_build", "_ext", "_templates"]
templates_path = ["_templates"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# Single backticks in docstrings link to what they name, and are code where they name nothing.
default_role = "autolink"
autosummary_generate = True
# Where a summary does not end.
autosummary.WELL_KNOWN_ABBREVIATIONS += ("Eq.",)
autodoc_member_order = "bysource"
# Docstrings say what the types are.
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"clipsoid {release}"
html_static_path = ["_static"]
html_css_files = ["clipsoid.css"]
html_copy_source = False
html_show_sphinx = False
