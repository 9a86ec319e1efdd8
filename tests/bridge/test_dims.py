"""Batch axes come from names, never from lengths.

Subjects, groups, sites, states, components, visits and the entries of shared vectors all number
three, so that whatever guesses from a shape guesses wrong. The yardstick is a plain loop over
single trajectories, each of which is handed its own slice of every parameter.
"""

from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pymc.dims as pmd
import pymc_dynsys as pds
import pytest
import xarray as xr
from numpyro import distributions as dist

from tests.bridge.evaluate import Param, assert_same, evaluate, loop

N = 3
LABELS = {
    "site": ["x", "y", "z"],
    "group": ["g1", "g2", "g3"],
    "subject": ["ann", "bob", "cal"],
    "state": ["s1", "s2", "s3"],
    "twin": ["s1", "s2", "s3"],
    "time": [0.0, 0.4, 1.1],
    "component": ["c1", "c2", "c3"],
}
SIZES = dict.fromkeys(LABELS, N)
TIMES = np.array(LABELS["time"])
PANELS = {
    "two levels": ("subject",),
    "three levels": ("group", "subject"),
    "four levels": ("site", "group", "subject"),
}


def linear_drift(x, rate, target, coupling):
    return 0.2 * coupling @ x - rate * x + target


def nonlinear_drift(x, rate, target, coupling):
    return 0.2 * jnp.tanh(coupling @ x) - rate * x + target


def scalar_law(x, sd):
    return dist.Normal(x[0] - 0.5 * x[2], sd)


def vector_law(x, sd):
    return dist.Normal(jnp.array([x[1], x[0] + x[2], x[2]]), sd)


SYSTEMS = {
    (role, kind): (
        pds.ODE(drift, law, initial=jnp.array([0.5, -0.2, 0.1]))
        if role == "ODESolve"
        else pds.SDE(
            drift,
            diffusion=jnp.array([0.3, 0.5, 0.2]),
            observation=law,
            initial=dist.Normal(jnp.array([0.5, -0.2, 0.1]), 0.7),
        )
    )
    for role, drift in (
        ("Kalman", linear_drift),
        ("EKF", nonlinear_drift),
        ("EnKF", nonlinear_drift),
        ("ODESolve", nonlinear_drift),
    )
    for kind, law in (("scalar", scalar_law), ("vector", vector_law))
}
LIKELIHOODS = {
    "Kalman": pds.Kalman(),
    "EKF": pds.EKF(pds.LocalLinearization(dt=0.5)),
    "EnKF": pds.EnKF(ensemble_size=7, discretization=pds.EulerMaruyama(dt=0.5)),
    "ODESolve": pds.ODESolve(),
}

SCALARS = {
    "two levels": [(), ("subject",)],
    "three levels": [(), ("subject",), ("group",), ("group", "subject"), ("subject", "group")],
    "four levels": [(), ("group",), ("subject", "site")],
}
VECTORS = {
    "two levels": [
        (None,),
        ("state",),
        ("group",),
        ("subject", "state"),
        ("state", "subject"),
        ("group", "subject"),
    ],
    "three levels": [
        (None,),
        ("state",),
        ("site",),
        ("group", "state"),
        ("state", "subject", "group"),
        ("group", "subject", "site"),
    ],
    "four levels": [(None,), ("subject", "state"), ("site", "twin", "subject", "group")],
}
MATRICES = {
    "two levels": [(None, None), ("state", "twin"), ("twin", "subject", "state")],
    "three levels": [(None, None), ("state", "group", "twin")],
    "four levels": [("state", "twin", "site")],
}


def draw_params(panel: str, rate: Any, target: Any, coupling: Any) -> dict[str, Param]:
    rng = np.random.default_rng(7)
    dims = {"rate": rate, "target": target, "coupling": coupling, "sd": ()}
    return {name: Param.draw(rng, d, SIZES, N) for name, d in dims.items()}


def draw_data(batch: tuple[str, ...], kind: str, missing: bool = False) -> np.ndarray:
    rng = np.random.default_rng(11)
    shape = (*(SIZES[dim] for dim in batch), N, *((N,) if kind == "vector" else ()))
    y = rng.normal(size=shape)
    if missing:
        y[rng.uniform(size=shape) < 0.3] = np.nan
    return y


def dims_of(batch: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return (*batch, "time", *(("component",) if kind == "vector" else ()))


def free(name: str, param: Param) -> Any:
    """A PyMC variable with the dims of the parameter; an axis without a name has none."""
    if None in param.dims:
        return pm.Normal(name, 1.0, 1.0, shape=param.values.shape)
    return pm.Normal(name, 1.0, 1.0, dims=param.dims or None)


def panel_model(
    role: str, kind: str, batch: tuple[str, ...], params: dict[str, Param], y: Any, make: Any = free
) -> pm.Model:
    with pm.Model(coords=LABELS) as model:
        values = {name: make(name, param) for name, param in params.items()}
        pds.Trajectory(
            "y",
            SYSTEMS[role, kind],
            params=values,
            observed=y,
            dims=dims_of(batch, kind),
            likelihood=LIKELIHOODS[role],
        )
    return model


def compare(role: str, kind: str, panel: str, params: dict[str, Param], missing: bool = False) -> None:
    batch = PANELS[panel]
    y = draw_data(batch, kind, missing)
    model = panel_model(role, kind, batch, params, y)
    expected = loop(
        SYSTEMS[role, kind],
        LIKELIHOODS[role],
        params,
        y,
        TIMES,
        {dim: SIZES[dim] for dim in batch},
    )
    got = evaluate(model, {name: param.values for name, param in params.items()})
    assert got.log_likelihood.shape == (N,) * len(batch)
    assert set(got.gradient) == set(params)
    assert_same(got, expected)


def some_combinations(panel: str) -> list[tuple[Any, Any, Any]]:
    """Each placement of each parameter at least once."""
    longest = max(len(SCALARS[panel]), len(VECTORS[panel]), len(MATRICES[panel]))
    return [
        tuple(kinds[panel][i % len(kinds[panel])] for kinds in (SCALARS, VECTORS, MATRICES))
        for i in range(longest)
    ]


def all_combinations() -> list[tuple[str, Any, Any, Any]]:
    return [
        (panel, *placement)
        for panel in PANELS
        for placement in product(SCALARS[panel], VECTORS[panel], MATRICES[panel])
    ]


@pytest.mark.parametrize(
    ("panel", "rate", "target", "coupling"),
    [(panel, *placement) for panel in PANELS for placement in some_combinations(panel)],
)
def test_every_placement_of_parameters_is_the_loop_over_subjects(panel, rate, target, coupling):
    compare("Kalman", "vector", panel, draw_params(panel, rate, target, coupling))
