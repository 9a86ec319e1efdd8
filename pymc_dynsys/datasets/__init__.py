"""Small tables of real data that come with the package."""

from pymc_dynsys.datasets.load import load_data

__all__ = ["load_data"]
