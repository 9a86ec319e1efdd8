"""Where resets and steady states lie among the rows of a layout."""

from typing import Any, NamedTuple

from pymc_dynsys.discretization.events import Doses
from pymc_dynsys.discretization.known import numpy_for
from pymc_dynsys.discretization.layout import Marks


class LawsAtRows(NamedTuple):
    """Events that say a law, ``(*batch, law)``, as ``Laws`` has them, and the row of each.

    The row is -1 where there is none: padding, and what comes after the last visit.
    """

    row: Any
    kind: Any
    amount: Any = None
    interval: Any = None
    duration: Any = None


def laws_at_rows(marks: Marks, doses: Doses | None) -> LawsAtRows | None:
    """Rows of the events that say a law; None where there are none."""
    if doses is None or doses.laws is None:
        return None
    xp = numpy_for(marks.dose, doses.laws.event)
    event = xp.asarray(doses.laws.event)[..., None]
    here = (event >= 0) & (event == xp.asarray(marks.dose)[..., None, :])
    row = xp.where(here.any(-1), here.argmax(-1), -1)
    return LawsAtRows(row, *doses.laws[1:5])
