"""How Sphinx builds the documentation. Nothing is fetched: it builds without a network."""

project = "ctlha-trio"
author = "the ctlha-trio authors"
copyright = "2026, the ctlha-trio authors"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 3

html_theme = "furo"
html_title = "ctlha-trio"
