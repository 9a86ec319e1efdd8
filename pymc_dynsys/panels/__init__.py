"""Panels as users have them: from a tidy table to a labelled ``xarray.Dataset``."""

from pymc_dynsys.panels.frame import coords, panel

__all__ = ["coords", "panel"]
