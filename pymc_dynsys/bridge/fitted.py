"""A trajectory found again in its model, with its data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
from pymc.model.fgraph import clone_model
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import constant, current_value
from pymc_dynsys.bridge.dims import labels_of
from pymc_dynsys.bridge.random_variable import Specification, TrajectoryRV
from pymc_dynsys.filters.batch import Program


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trajectory of a model, with the current values of its data.

    Attributes
    ----------
    name : str
        Name of the variable.
    spec : Specification
        System, likelihood, simulator and schedule.
    params : dict of str to Variable
        PyTensor expressions of the parameters, batch axes first.
    dims : tuple of str
        ``(*batch, time[, component])``; generic names where the model has none.
    coords : dict of str to array
        Labels along each dim.
    y, times, t0 : array
        Data ``(*batch, time[, component])``; times ``(*batch, time)`` and starts ``(*batch,)``
        with length-one axes where shared.
    """

    name: str
    spec: Specification
    params: dict[str, Variable]
    dims: tuple[str, ...]
    coords: dict[str, np.ndarray]
    y: np.ndarray
    times: np.ndarray
    t0: np.ndarray

    @property
    def rank(self) -> int:
        """Number of batch dims."""
        return len(self.dims) - (1 if self.spec.system.n_observed is None else 2)

    @property
    def batch_dims(self) -> tuple[str, ...]:
        """Names of the batch dims."""
        return self.dims[: self.rank]

    @property
    def batch(self) -> tuple[int, ...]:
        """Lengths of the batch dims."""
        return self.y.shape[: self.rank]

    @property
    def time_dim(self) -> str:
        """Name of the time dim."""
        return self.dims[self.rank]

    @property
    def labels(self) -> list[np.ndarray]:
        """Labels along the batch dims."""
        return [self.coords[dim] for dim in self.batch_dims]

    @property
    def program(self) -> Program:
        """The likelihood for the data as they are."""
        spec, complete = self.spec, not np.isnan(self.y).any()
        return Program(spec.system, spec.likelihood, complete, spec.schedule)


def find_trajectory(model: pm.Model, var_name: str | None = None) -> Fitted:
    """The trajectory of a model, the one called `var_name` if there are several."""
    if not isinstance(model, pm.Model):
        raise TypeError(f"model: expected a pm.Model, got {type(model).__name__}")
    found = {
        str(rv.name): rv
        for rv in model.basic_RVs
        if rv.owner is not None and isinstance(rv.owner.op, TrajectoryRV)
    }
    if not found:
        raise ValueError("model: there is no Trajectory in it")
    if var_name is None:
        if len(found) > 1:
            raise ValueError(f"var_name: the model has several trajectories, {', '.join(found)}")
        var_name = next(iter(found))
    if var_name not in found:
        raise ValueError(f"var_name: no trajectory {var_name!r}; there is {', '.join(found)}")
    rv = found[var_name]
    op: TrajectoryRV = rv.owner.op
    times, t0, *params = op.dist_params(rv.owner)
    value = model.rvs_to_values[rv]
    y = current_value(value)
    if y is None:
        raise ValueError(
            f"{var_name}: it is not observed, so there are no data to condition on; use "
            "pm.observe(model, {...}) or pds.simulate"
        )
    n = 1 if op.spec.system.n_observed is None else 2
    dims, coords = _dims(model, var_name, y, n)
    if "state" in dims:
        raise ValueError(
            f"{var_name}: it has a dim 'state', which in results is that of the latent states; "
            "rename it"
        )
    return Fitted(
        name=var_name,
        spec=op.spec,
        params=dict(zip(op.spec.system.param_shapes, params, strict=True)),
        dims=dims,
        coords=coords,
        y=np.asarray(y, float),
        times=_padded(_known("times", times), y.ndim - n + 1),
        t0=_padded(_known("t0", t0), y.ndim - n),
    )


def _dims(
    model: pm.Model, name: str, y: np.ndarray, n_own: int
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    named = model.named_vars_to_dims.get(name)
    if named is None:
        batch = [f"{name}_dim_{i}" for i in range(y.ndim - n_own)]
        dims = (*batch, "time", "component")[: y.ndim]
        return tuple(dims), {d: np.arange(n) for d, n in zip(dims, y.shape, strict=True)}
    dims = tuple(map(str, named))
    labels = labels_of(model, dims)
    return dims, dict(zip(dims, map(_plain, labels), strict=True))


def _plain(labels: Any) -> np.ndarray:
    """Labels with the dtype of what they are."""
    return np.asarray(list(labels))


def _known(what: str, variable: Variable) -> np.ndarray:
    value = current_value(variable)
    if value is None:
        raise ValueError(f"{what}: not known, since random variables of the model enter")
    return np.asarray(value, float)


def _padded(array: np.ndarray, ndim: int) -> np.ndarray:
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)


def with_data(model: pm.Model, name: str, y: np.ndarray) -> pm.Model:
    """A copy of the model that observes other values of one variable."""
    copy = clone_model(model)
    rv = copy[name]
    old = copy.rvs_to_values[rv]
    new = constant(y)
    new.name = old.name
    copy.rvs_to_values[rv] = new
    copy.values_to_rvs.pop(old)
    copy.values_to_rvs[new] = rv
    return copy
