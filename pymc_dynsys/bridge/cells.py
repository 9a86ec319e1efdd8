"""Data in long form: the cells that are there, and what belongs to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.basic import Variable
from pytensor.tensor.subtensor import Subtensor

from pymc_dynsys.bridge.dims import dim_length
from pymc_dynsys.bridge.expressions import Unproved, known_dims, proved_dims
from pymc_dynsys.reading.labels import in_order
from pymc_dynsys.reading.values import as_float, refuse_infinite


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of an array that are there, as :func:`observed_cells` finds them.

    Attributes
    ----------
    values : array, (cell,)
        Their values.
    dim : str
        Dim of the model along which they lie.
    index : dict of str to array of int, (cell,)
        Position of each cell along each dim of the array.
    """

    values: np.ndarray
    dim: str
    index: dict[str, np.ndarray]

    def of(self, variable: Variable) -> Any:
        """What belongs to each cell, ``(cell,)``, of a variable with dims of the array.

        Parameters
        ----------
        variable : TensorVariable
            With all dims of the array or some: a variable of the model, a component of a path,
            ``x[..., 0]``, or an elementwise expression of those whose dims can be told.

        Returns
        -------
        TensorVariable
            Of shape ``(cell,)``.

        Raises
        ------
        ValueError
            If it has a dim that the array lacks or an axis of another length, or if it has several
            axes and nothing tells which dims they are.
        """
        model = pm.modelcontext(None)
        dims = _dims_of(variable, model)
        if dims is None and len(self.index) > 1 and variable.type.ndim:
            raise ValueError(
                f"cells: nothing tells which dims the axes of {variable.name or variable} are; "
                "take the entries before you compute with them, 2 * cells.of(x[..., 0]), or name "
                "them, "
                f"pm.Deterministic('z', z, dims={tuple(self.index)})"
            )
        dims = tuple(self.index) if dims is None else dims
        unknown = [dim for dim in dims if dim not in self.index]
        if unknown or len(dims) != variable.type.ndim:
            raise ValueError(
                f"cells: the data have the dims {tuple(self.index)}, and "
                f"{variable.name or variable} has {dims} with {variable.type.ndim} axes; take one "
                "component of a path, x[..., 0]"
            )
        lengths = [dim_length(model, dim) for dim in dims]
        for dim, length, known in zip(dims, variable.type.shape, lengths, strict=True):
            if length not in (None, known):
                raise ValueError(
                    f"cells: {variable.name or variable} has {length} entries along {dim!r}, which "
                    f"has length {known}; its axes are those of the data, {tuple(self.index)}"
                )
        return pt.as_tensor(variable)[tuple(self.index[dim] for dim in dims)]


def observed_cells(
    array: Any, dims: Sequence[str] | None = None, *, name: str | None = None
) -> Cells:
    """Find the cells of an array that are not missing, for the likelihood of a model.

    PyMC makes a variable of every missing value it is given, a discrete one of a missing count,
    and then there is no NUTS. In long form nothing is missing.

    Parameters
    ----------
    array : DataArray or array
        Data, NaN where missing. Labels are matched to the model's.
    dims : sequence of str, optional
        Its dims; default those of the DataArray.
    name : str, optional
        The cells lie along the dim ``<name>_cell``, which is added to the model; default the name
        of the DataArray, else ``datum``.

    Returns
    -------
    Cells
        ``values``, their ``dim``, and ``of`` which takes from variables what belongs to them.

    Raises
    ------
    ValueError, TypeError
        If no cell is there, values are infinite or no numbers, or labels are not the model's.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> walk = pds.DiscreteTime(
    ...     states=("level",),
    ...     transition=lambda level: dist.Normal(level, 0.1),
    ...     initial=dist.Normal(0.0, 1.0),
    ... )
    >>> counts = np.array([[3.0, np.nan, 2.0], [0.0, 1.0, np.nan]])
    >>> with pm.Model(coords={"subject": ["a", "b"], "time": [0.0, 1.0, 2.0]}) as model:
    ...     x = pds.Path("x", walk, dims=("subject", "time"))
    ...     cells = pds.observed_cells(counts, ("subject", "time"), name="count")
    ...     rate = pm.math.exp(cells.of(x[..., 0]))
    ...     count = pm.Poisson("count", rate, observed=cells.values, dims=cells.dim)
    >>> cells.values
    array([3., 2., 0., 1.])
    """
    model = pm.modelcontext(None)
    if dims is None and not isinstance(array, xr.DataArray):
        raise TypeError("dims: an array without names needs them, such as ('subject', 'time')")
    own = name or (str(array.name) if getattr(array, "name", None) is not None else "datum")
    names = tuple(
        map(str, array.dims if dims is None else (dims,) if isinstance(dims, str) else dims)
    )
    for dim in names:
        if dim not in model.dim_lengths:
            raise ValueError(
                f"dims: the model has no dim {dim!r}; its coords have "
                f"{', '.join(map(repr, model.dim_lengths)) or 'nothing'}"
            )
    values = as_float(own, in_order(own, array, names, dict(model.coords)))
    expected = tuple(dim_length(model, dim) for dim in names)
    if values.shape != expected:
        raise ValueError(f"{own}: shape {values.shape}, expected {expected}, {names}")
    refuse_infinite(own, values, [model.coords.get(dim) for dim in names], names)
    places = np.nonzero(~np.isnan(values))
    if not len(places[0]):
        raise ValueError(f"{own}: all of its values are missing")
    dim = f"{own}_cell"
    model.add_coord(dim, np.arange(len(places[0])))
    return Cells(values[places], dim, dict(zip(names, places, strict=True)))


def _dims_of(variable: Variable, model: pm.Model) -> tuple[str, ...] | None:
    """Dims of a variable: named, proved, or left by an index; None where nothing tells."""
    known = known_dims(variable, model)
    if known is not None:
        return None if None in known else tuple(str(dim) for dim in known)
    node = variable.owner
    if node is not None and isinstance(node.op, Subtensor):
        above = _dims_of(node.inputs[0], model)
        return None if above is None else _left(above, node.op.idx_list)
    try:
        return proved_dims(variable, model)
    except Unproved:
        return None


def _left(dims: tuple[str, ...], index: Sequence[Any]) -> tuple[str, ...] | None:
    """Dims that an index of whole axes and single entries leaves; None for other indices."""
    left = []
    for dim, entry in zip(dims, index, strict=False):
        if isinstance(entry, slice):
            if entry != slice(None):
                return None
            left.append(dim)
    return (*left, *dims[len(index) :])
