"""What pages share: where the data are, how much to compute, how plots look."""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats

SMOKE = os.environ.get("DOCS") == "smoke"
EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = EXAMPLES / "data"
ORACLES = EXAMPLES.parent / "tests" / "oracles" / "data"

sys.path.append(str(EXAMPLES))  # pages that tell an example's story draw with its functions


def effort(full: int, smoke: int) -> int:
    """As many draws, members or steps as the page needs, or a few to see that it runs."""
    return smoke if SMOKE else full


set_matplotlib_formats("retina")
plt.rcParams.update(
    {
        "figure.figsize": (8.0, 4.0),
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "font.size": 10,
    }
)
