"""The site: `python -m sphinx -W docs output/site` builds it from these pages and the docstrings.

Tutorials are not executed unless asked to: `-D nb_execution_mode=cache` runs their cells, some ten
minutes, and keeps what they show. `tests/test_tutorials.py` runs them all.
"""

import rim_lensing

project = "rim_lensing"
author = "rim_lensing developers"
copyright = "2026, rim_lensing developers"
release = version = rim_lensing.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
default_role = "code"
html_theme = "furo"
html_title = f"rim_lensing {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_execution_timeout = 1200
nb_execution_raise_on_error = True
nb_execution_show_tb = True

suppress_warnings = ["ref.python"]  # Fields that several classes have, under one name.
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Call arguments"]
