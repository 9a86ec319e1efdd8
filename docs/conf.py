"""How the site is built: ``uv run --group docs sphinx-build -W -j 4 docs docs/_build/html``.

Every page is executed. ``DOCS=smoke`` in the environment makes the pages draw a few samples only,
to see that they run; without it they compute all that their text says.
"""

import os
import re
import sys
import urllib.error
import urllib.request
import warnings
from importlib.metadata import version as version_of
from pathlib import Path

from docutils import nodes
from jupyter_cache import get_cache
from sphinx.application import Sphinx

SMOKE = os.environ.get("DOCS") == "smoke"

os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent / "gallery"), os.environ.get("PYTHONPATH", "")]
)
# Plots come with the page, whatever backend scripts are told to use.
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
# An executed page is a reader's session: progress bars and warnings of the machine are not for it.
os.environ.setdefault("PYTHONWARNINGS", "ignore")

project = "pymc_dynsys"
author = "The pymc_dynsys developers"
copyright = "2026, the pymc_dynsys developers"
release = version_of("pymc-dynsys")
version = release

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
]
copybutton_exclude = ".linenos, .gp, .go"  # of an example the code is copied, without its prompts
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]

# A copy of MathJax 3.2.2 with its fonts (SVG), so that formulas are also there without a network.
# Version 4 would fetch the rarer glyphs from elsewhere.
mathjax_path = "mathjax/tex-svg.js"

# Pages

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(
    Path(__file__).parent / "_build" / ("pages_smoke" if SMOKE else "pages_full")
)
# Made here, since the processes that read pages side by side would all make it at once.
get_cache(nb_execution_cache_path).list_cache_records()
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_output_stderr = "remove"
nb_merge_streams = True
# Sphinx forks after autodoc imported the package; the forks read docstrings and run no JAX.
warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)


def _show_full_effort(app: Sphinx, doctree: nodes.document) -> None:
    """Readers see the draws that a page means, not also the few that a smoke build takes."""
    for block in doctree.findall(nodes.literal_block):
        source = re.sub(r"\beffort\(([^,()]+), [^,()]+\)", r"\1", block.rawsource)
        if source != block.rawsource:
            block.rawsource = source
            block.children = []
            block += nodes.Text(source)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("doctree-read", _show_full_effort)


# Reference

autosummary_generate = [str(page) for page in Path(__file__).parent.glob("api/*.rst")]
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autodoc_typehints = "none"


def _reachable(inventories: dict[str, str]) -> dict[str, tuple[str, None]]:
    """Those whose list of names can be had now; without a network the site has no links to them."""
    found: dict[str, tuple[str, None]] = {}
    for name, url in inventories.items():
        try:
            with urllib.request.urlopen(f"{url}objects.inv", timeout=5):
                found[name] = (url, None)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            print(f"no links to {name}: {error}", file=sys.stderr)
    return found


intersphinx_mapping = _reachable(
    {
        "python": "https://docs.python.org/3/",
        "pymc": "https://www.pymc.io/projects/docs/en/stable/",
        "arviz": "https://python.arviz.org/en/stable/",
        "xarray": "https://docs.xarray.dev/en/stable/",
        "jax": "https://docs.jax.dev/en/latest/",
    }
)

# Looks

html_theme = "pydata_sphinx_theme"
html_title = f"pymc_dynsys {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "tutorial": []}
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "header_links_before_dropdown": 7,
}
if SMOKE:
    html_theme_options["announcement"] = (
        "This copy of the site was built with a few draws: its figures are not results."
    )
