"""Panels as users have them: from a tidy table to a labelled ``xarray.Dataset``."""

from pymc_dynsys.panels.frame import panel
from pymc_dynsys.panels.labels import coords

__all__ = ["coords", "panel"]
