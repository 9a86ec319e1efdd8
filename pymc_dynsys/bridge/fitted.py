"""A trajectory found again in its model, and its parameters at draws from a posterior."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from pymc.model.fgraph import clone_model
from pymc.sampling.jax import get_jaxified_graph
from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from pymc_dynsys.bridge.data import constant, current_value
from pymc_dynsys.bridge.dims import dim_length, labels_of
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


def renewed(
    fitted: Fitted, model: pm.Model, draws: xr.Dataset, random_seed: Any
) -> tuple[xr.Dataset, list[str]]:
    """Draws for a model with other labels than those of the fit, and the names of what is new.

    A variable none of whose labels along some dim are in the draws is drawn from its own law,
    given the variables that are; deterministic ones are left out, to be computed again.
    """
    reached = set(ancestors(list(fitted.params.values())))
    needed = [rv for rv in model.free_RVs if rv in reached]
    new = [rv.name for rv in needed if rv.name in draws and _is_new(rv.name, draws, model)]
    if not new:
        return draws, []
    kept = [rv.name for rv in needed if rv.name in draws and rv.name not in new]
    if not kept:
        raise ValueError(
            f"idata: all of {', '.join(new)} have other labels than the model, so nothing is left "
            "that was learnt from the data"
        )
    given = xr.DataTree.from_dict({"posterior": draws[kept]})
    drawn = pm.sample_posterior_predictive(
        given,
        model=model,
        var_names=new,
        random_seed=random_seed,
        progressbar=False,
        compile_kwargs={"mode": "FAST_COMPILE"},
    )
    fresh = drawn["posterior_predictive"].dataset[new]
    return xr.merge([draws[kept], fresh], compat="override", join="override"), new


def _is_new(name: str, draws: xr.Dataset, model: pm.Model) -> bool:
    """Whether labels of a variable are all different from those in the draws."""
    for dim in model.named_vars_to_dims.get(name, ()):
        if dim not in draws[name].dims or dim not in model.dim_lengths:
            continue
        wanted = {str(label) for label in labels_of(model, [dim])[0]}
        index = draws[name].indexes.get(dim)
        have = {str(label) for label in (range(draws.sizes[dim]) if index is None else index)}
        if wanted == have:
            continue
        both = wanted & have
        if both:
            raise ValueError(
                f"idata: along {dim!r} the model has {sorted(both)[0]!r} of the draws, but not the "
                "same labels; a model of new ones must have new ones only, or all of them"
            )
        return True
    return False


class ParameterDraws:
    """Parameters of a trajectory, computed from draws of the model's variables.

    Whatever the group holds is taken from it, the nearest ancestors of a parameter first; a free
    variable that it does not hold is an error.
    """

    def __init__(self, fitted: Fitted, model: pm.Model, draws: xr.Dataset) -> None:
        self.fitted = fitted
        outputs = list(fitted.params.values())
        held = {
            variable: name
            for name, variable in model.named_vars.items()
            if name in draws and isinstance(variable, Variable)
        }
        reached = set(ancestors(outputs, blockers=list(held))) | set(outputs)
        missing = [rv.name for rv in model.free_RVs if rv in reached and rv not in held]
        if missing:
            raise ValueError(
                f"idata: the draws do not hold {', '.join(missing)}, on which the parameters of "
                f"{fitted.name} depend; leave var_names out of pm.sample"
            )
        self.inputs = {held[v]: v for v in reached if v in held}
        self.arrays = {
            name: _stacked(name, v, draws, model) for name, v in sorted(self.inputs.items())
        }
        self.size = draws.sizes["chain"] * draws.sizes["draw"]
        places = {self.inputs[name]: self.inputs[name].type() for name in self.arrays}
        replaced = clone_replace(outputs, replace=places, rebuild_strict=False)
        graph = get_jaxified_graph([*places.values()], replaced)
        self._function = jax.jit(jax.vmap(graph) if self.arrays else graph)

    def at(self, which: np.ndarray) -> dict[str, Any]:
        """Values at some of the draws, ``(draw, *batch, ...)`` with all batch axes."""
        values = self._function(*(jnp.asarray(a[which]) for a in self.arrays.values()))
        shapes = self.fitted.spec.system.param_shapes
        named = zip(shapes.items(), values, strict=True)
        lead = len(which) if self.arrays else 1
        out = {}
        for (name, core), value in named:
            batch = value.shape[(1 if self.arrays else 0) : value.ndim - len(core)]
            missing = (1,) * (self.fitted.rank - len(batch))
            out[name] = value.reshape(lead, *missing, *batch, *core)
        return out


def _stacked(name: str, variable: Any, draws: xr.Dataset, model: pm.Model) -> np.ndarray:
    """Draws of one variable with one leading axis."""
    array = draws[name].transpose("chain", "draw", ...)
    own = tuple(map(str, array.dims[2:]))
    named = tuple(map(str, model.named_vars_to_dims.get(name, own)))
    if set(named) == set(own):
        array = array.transpose("chain", "draw", *named)
        for dim in named:
            _same_labels(name, dim, array, model)
    if array.ndim - 2 != variable.type.ndim:
        raise ValueError(
            f"idata: {name} has dims {own} in the draws and {variable.type.ndim} axes in the model"
        )
    values: np.ndarray = array.values.astype(variable.type.dtype)
    return values.reshape(-1, *values.shape[2:])


def _same_labels(name: str, dim: str, array: xr.DataArray, model: pm.Model) -> None:
    if dim not in model.dim_lengths:
        return
    expected = labels_of(model, [dim])[0]
    got = array.indexes[dim].values if dim in array.indexes else np.arange(array.sizes[dim])
    if len(got) != dim_length(model, dim) or [*map(str, got)] != [*map(str, expected)]:
        raise ValueError(
            f"idata: {name} has other labels along {dim!r} than the model: "
            f"{_shown(got)} and {_shown(expected)}"
        )


def _shown(labels: Any) -> str:
    some = ", ".join(map(str, labels[:4]))
    return f"[{some}, ...] ({len(labels)})" if len(labels) > 4 else f"[{some}]"


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
