"""A posterior made by hand, so that what comes after sampling is tested without sampling."""

from collections.abc import Mapping

import numpy as np
import xarray as xr


def posterior(draws: Mapping[str, xr.DataArray | tuple | np.ndarray | float], n: int, **coords):
    """A DataTree as ``pm.sample`` returns it; values are ``(dims, array)`` with draws first."""
    data = {}
    for name, value in draws.items():
        dims, array = value if isinstance(value, tuple) else ((), value)
        array = np.asarray(array, float)
        if array.ndim == len(dims):
            array = np.broadcast_to(array, (n, *array.shape))
        data[name] = (("chain", "draw", *dims), array[None])
    known = {"chain": [0], "draw": np.arange(n), **coords}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(data, coords=known)})
