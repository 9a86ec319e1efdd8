"""Labelled results: xarray in, xarray out."""

from pymc_dynsys.inference.simulate import simulate

__all__ = ["simulate"]
