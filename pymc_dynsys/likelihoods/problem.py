"""One trajectory as a likelihood sees it."""

from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.systems.bound import Params


class Data(NamedTuple):
    """One trajectory's data: ``y`` is ``(row, component)``, free of NaN where `seen` is False.

    ``seen`` says which values are there. It is None when every value is known to be there, which
    spares every later step from carrying a mask that varies by trajectory.
    """

    y: Float[Array, "row component"]
    seen: Bool[Array, "row component"] | None


class Problem(NamedTuple):
    """One trajectory as a likelihood sees it, laid out on rows.

    ``noise`` is what :meth:`Likelihood.draw_noise` drew, time first; None where nothing was drawn.
    """

    params: Params
    data: Data
    grid: TimeGrid
    noise: Any = None
