"""How Sphinx renders the manual (`make docs`)."""

import forge_min

project = "forge_min"
release = forge_min.__version__
extensions = ["myst_parser"]
myst_heading_anchors = 4
exclude_patterns = ["reference.py"]
smartquotes = False  # commands are copied as they are

html_theme = "furo"
html_title = f"forge_min {release}"
html_copy_source = html_show_sourcelink = False
html_use_index = False
html_show_search_summary = False  # it fetches each page, which browsers refuse for file://
