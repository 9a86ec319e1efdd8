"""Labels of a panel's dims, for a model."""

from typing import Any

import xarray as xr


def coords(panel: xr.Dataset) -> dict[str, list[Any]]:
    """Labels of a panel's dims, as ``pm.Model(coords=)`` takes them.

    Parameters
    ----------
    panel : xarray.Dataset
        What :func:`panel` returned.

    Returns
    -------
    dict of str to list
        ``subject``, ``visit`` or ``time``, ``component`` if there are several, and each group.
        Events and records are no dims of a model and are left out.

    Raises
    ------
    TypeError, ValueError
        If it is no panel.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymc_dynsys as pds
    >>> frame = pd.DataFrame({"id": ["a", "a", "b"], "day": [0, 1, 3], "y": [0.1, 0.3, 0.2]})
    >>> pds.coords(pds.panel(frame, subject="id", time="day", observed="y"))
    {'subject': ['a', 'b'], 'visit': [0, 1]}
    """
    if not isinstance(panel, xr.Dataset):
        raise TypeError(
            f"panel: expected the Dataset that pymc_dynsys.panel returns, got "
            f"{type(panel).__qualname__}"
        )
    if "subject" not in panel.indexes:
        raise ValueError(
            f"panel: expected labels along a dim 'subject', got dims {tuple(panel.dims)}; make it "
            "with pymc_dynsys.panel"
        )
    names = [str(dim) for dim in panel.dims if dim in panel.indexes]
    names.sort(key=lambda name: (name != "subject", name not in ("visit", "time")))
    return {name: panel[name].values.tolist() for name in names}
