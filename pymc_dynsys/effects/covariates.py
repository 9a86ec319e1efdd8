"""Effects of measured covariates, by name and around a centre: ``covariates``."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import current_value
from pymc_dynsys.bridge.dims import named_dims
from pymc_dynsys.effects.terms import Layout, refuse_taken
from pymc_dynsys.reading.values import as_float


def covariates(
    name: str, coefficients: Any, table: Any, *, within: Any = None, center: Any = True
) -> Any:
    r"""What covariates add to a parameter: :math:`\sum_c \beta_c (x_{ic} - \bar x_c)`.

    Parameters
    ----------
    name : str
        Name of the ``pm.Deterministic`` that is added to the model.
    coefficients : variable
        The :math:`\beta`. For one covariate it has no dim of its own; for several it has one dim
        more, such as ``covariate``, whose labels in the model are their names. It may vary by
        group: then `within` says which.
    table : DataArray, Series, variable with dims, Dataset, DataFrame or dict of them
        The covariates :math:`x`: one of them, or several by name. Those that no label of the
        coefficients names are left out. The index of a Series or DataFrame has the name of the
        dim. A ``pm.Data`` can be changed with ``pm.set_data``.
    within : DataArray, Series, list of them, or dict, optional
        Which group each member belongs to, as in :func:`varying`.
    center : bool, number, dict or DataArray, optional
        :math:`\bar x`: by default the mean of each covariate in the table, so that the intercept
        is that of an average member. Numbers (one, or by name) set it, which new subjects need:
        the model of theirs takes the centre of the model that was fitted. False centres nothing. It
        is computed once: ``pm.set_data`` on a covariate leaves it where it is.

    Returns
    -------
    TensorVariable
        The deterministic, over the dims of the covariates. The centre is kept as the data variable
        ``<name>_center``, and so comes back in ``idata.constant_data``.

    Raises
    ------
    TypeError, ValueError
        For a name of the coefficients that the table lacks, text, missing or infinite values, and
        dims that `within` does not speak of.

    Warns
    -----
    UserWarning
        If a centred covariate is the same for all, so that it says nothing.

    Examples
    --------
    >>> import pandas as pd, pymc as pm
    >>> from pymc_dynsys import effects
    >>> babies = pd.DataFrame(
    ...     {"log_weight": [0.1, 0.4, -0.2], "apgar5": [1.0, 0.0, 1.0]},
    ...     index=pd.Index(["a", "b", "c"], name="subject"),
    ... )
    >>> coords = {"subject": ["a", "b", "c"], "covariate": ["log_weight", "apgar5"]}
    >>> with pm.Model(coords=coords) as model:
    ...     slopes = pm.Normal("slopes", 0.0, 1.0, dims="covariate")
    ...     effect = effects.covariates("effect", slopes, babies.to_xarray())
    >>> model.named_vars_to_dims["effect"], model["effect_center"].get_value().round(2)
    (('subject',), array([0.1 , 0.67]))
    """
    model = pm.modelcontext(None)
    refuse_taken(name, [name, f"{name}_center"], model)
    beta, beta_dims = named_dims("coefficients", coefficients, model, f"{name}: ")
    Layout(name, (), None, model).require_known("coefficients", beta, beta_dims)
    beta = pt.as_tensor(beta)
    columns = _columns(name, table, model)
    axis, names = _covariate_dim(name, beta_dims, columns, model)
    dims = tuple(dict.fromkeys(dim for c in names for dim in columns[c][1]))
    layout = Layout(name, dims, within, model)
    centered = not (isinstance(center, bool | np.bool_) and not center)
    centers = _centers(name, center, {c: columns[c] for c in names}) if centered else None
    values = [layout.place(c, columns[c][0]) for c in names]
    rest = tuple(dim for dim in beta_dims if dim != axis)
    each = [beta.take(i, axis=beta_dims.index(axis)) if axis else beta for i in range(len(names))]
    slopes = [layout.spread("coefficients", own, rest) for own in each]
    layout.require_used()
    if centers is not None:
        means = pm.Data(f"{name}_center", centers if axis else centers[0], dims=axis)
        values = [x - (means[i] if axis else means) for i, x in enumerate(values)]
    terms = [slope * x for slope, x in zip(slopes, values, strict=True)]
    return pm.Deterministic(name, layout.fill(sum(terms[1:], start=terms[0])), dims=dims)


def _columns(name: str, table: Any, model: pm.Model) -> dict[str, tuple[Any, tuple[str, ...]]]:
    """Each covariate as something with named dims, and these dims."""
    table = _labelled(name, "table", table)
    single = isinstance(table, xr.DataArray | Variable)
    if not single and not isinstance(table, Mapping):  # a Dataset is a Mapping
        raise TypeError(
            f"{name}: table must be a labelled array, a variable with dims, or several by name; "
            f"got {type(table).__qualname__}"
        )
    items = [(table.name, table)] if single else list(table.items())
    several = {model.name_of(str(c)): _labelled(name, f"table[{c!r}]", x) for c, x in items}
    if len(several) < len(items):
        raise ValueError(f"{name}: table has two columns of one name among {[c for c, _ in items]}")
    return {c: (x, _dims_of(name, c, x, model)) for c, x in several.items()}


def _labelled(name: str, role: str, x: Any) -> Any:
    """Pandas objects as xarray ones, whose rows are along the dim that their index names."""
    if not isinstance(x, pd.DataFrame | pd.Series):
        return x
    if x.index.name is None:
        raise TypeError(
            f"{name}: {role} is a {type(x).__qualname__}, whose rows have no name in the model; "
            "write .rename_axis('subject'), with the dim that the rows are along"
        )
    return x.to_xarray()


def _dims_of(name: str, column: str, x: Any, model: pm.Model) -> tuple[str, ...]:
    if isinstance(x, xr.DataArray):
        return tuple(map(str, x.dims))
    if isinstance(x, Variable) and model.root.named_vars.get(x.name) is x:
        dims = model.root.named_vars_to_dims.get(x.name)
        if dims and None not in dims:
            return tuple(map(str, dims))
    raise TypeError(
        f"{name}: covariate {column!r} has no names for its axes; give an xr.DataArray with dims, "
        "or a pm.Data with dims"
    )


def _covariate_dim(
    name: str, dims: tuple[str | None, ...], columns: Mapping[str, Any], model: pm.Model
) -> tuple[str | None, list[str]]:
    """The dim of the coefficients whose labels name covariates, and these names."""
    known = {dim: [str(label) for label in model.coords.get(dim or "") or ()] for dim in dims}
    own = {dim for _, of in columns.values() for dim in of}
    naming = [dim for dim in dims if dim not in own and set(known[dim]) & set(columns)]
    # A group may be called like a covariate: a dim all of whose labels are some comes first.
    if naming:
        dim = min(naming, key=lambda dim: len(set(known[dim]) - set(columns)))
        lacking = [label for label in known[dim] if label not in columns]
        if lacking:
            raise ValueError(
                f"{name}: coefficients has the label {lacking[0]!r} along {dim!r}, and the "
                f"table has only {', '.join(map(repr, columns))}"
            )
        if len(set(known[dim])) < len(known[dim]):
            raise ValueError(f"{name}: coefficients has a label twice along {dim!r}: {known[dim]}")
        return dim, known[dim]
    if len(columns) == 1:
        return None, list(columns)
    raise ValueError(
        f"{name}: the table has {len(columns)} covariates, {', '.join(map(repr, columns))}, and "
        f"coefficients, with dims {dims}, has none whose labels name them; write "
        f"pm.Normal(..., dims='covariate') with coords={{'covariate': {list(columns)}}}"
    )


def _centers(name: str, center: Any, columns: Mapping[str, tuple[Any, Any]]) -> np.ndarray:
    """Centre of each covariate, ``(covariate,)``.

    True takes their means, a number holds for all, and what has names is matched by name.
    """
    if isinstance(center, bool | np.bool_):
        return np.array([_mean(name, c, x) for c, (x, _) in columns.items()])
    if isinstance(center, pd.Series):
        center = center.to_dict()
    if isinstance(center, xr.DataArray):
        center = center.values.tolist() if center.ndim == 0 else center.to_series().to_dict()
    if isinstance(center, Mapping):
        center = {str(c): x for c, x in center.items()}
        lacking = [c for c in columns if c not in center]
        if lacking:
            raise ValueError(
                f"{name}: center has no {lacking[0]!r}; it has {', '.join(map(repr, center))}"
            )
        values = as_float(f"{name}: center", [center[c] for c in columns])
    else:
        number = as_float(f"{name}: center", center)
        if number.ndim:
            raise ValueError(
                f"{name}: center has shape {number.shape} and does not say which covariate each "
                f"number belongs to; write {{{next(iter(columns))!r}: ...}}"
            )
        values = np.full(len(columns), number)
    for c, x in zip(columns, values, strict=True):
        if not np.isfinite(x):
            raise ValueError(f"{name}: the center of {c!r} is {x}; it must be finite")
    return values


def _mean(name: str, column: str, x: Any) -> float:
    values = current_value(x) if isinstance(x, Variable) else x.values
    if values is None:
        raise ValueError(
            f"{name}: covariate {column!r} is itself random, so it has no mean to be centred at; "
            "give center a number"
        )
    values = as_float(f"{name}: covariate {column!r}", values)
    if values.size > 1 and np.ptp(values) == 0:
        warnings.warn(
            f"{name}: covariate {column!r} is {values.flat[0]} for all; centred it is 0, and its "
            "coefficient has only its prior",
            UserWarning,
            stacklevel=4,
        )
    return float(values.mean())
