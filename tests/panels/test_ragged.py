"""Subjects of one, two and sixty visits, and what is missing in them, against a plain loop."""

import time

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bridge.evaluate import Param, assert_same, evaluate, loop

NAN = np.nan
N_VISITS = {"one": 1, "two": 2, "many": 60, "none": 4, "part": 7}
COUPLED = pds.SDE(
    states=("fast", "slow"),
    drift=lambda fast, slow, mu, rate: (-rate * (fast - slow), -0.3 * (slow - mu)),
    diffusion=lambda sigma: (sigma, 0.2),
    initial=dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)),
    observation=lambda fast, slow: dist.Normal(jnp.stack([fast, slow]), jnp.array([0.1, 0.2])),
)
CURVED = pds.SDE(
    states=("fast", "slow"),
    drift=lambda fast, slow, mu, rate: (-rate * jnp.sinh(fast - slow), -0.3 * (slow - mu)),
    diffusion=lambda sigma: (sigma, 0.2),
    initial=COUPLED.initial,
    observation=COUPLED.observation,
)
LIKELIHOODS = {
    "Kalman": (COUPLED, pds.Kalman()),
    "EKF": (CURVED, pds.EKF(pds.EulerMaruyama(0.25))),
    "EnKF": (CURVED, pds.EnKF(20, pds.EulerMaruyama(0.25))),
}


def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    parts = []
    for label, n in N_VISITS.items():
        values = rng.normal(size=(n, 2))
        if label == "none":
            values[:] = NAN
        if label == "part":
            values[[0, 3, 3, 5], [1, 0, 1, 0]] = NAN
        parts.append(
            pd.DataFrame(
                {
                    "id": label,
                    "t": np.sort(rng.uniform(0.0, 12.0, n)).round(3),
                    "u": values[:, 0],
                    "v": values[:, 1],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


ROLES = {"subject": "id", "time": "t", "observed": ["u", "v"]}
MU = np.array([0.3, -0.6, 1.1, 0.2, -0.4])
POINT = {"mu": MU, "rate": np.array(0.8), "sigma": np.array(0.5)}


def model_of(data, name):
    """The data in a model whose free parameters have no transform."""
    system, likelihood = LIKELIHOODS[name]
    with pm.Model(coords=pds.coords(data)) as model:
        params = {
            "mu": pm.Normal("mu", dims="subject"),
            "rate": pm.Normal("rate", 1.0),
            "sigma": pm.Normal("sigma", 1.0, 0.1),
        }
        with pytest.warns(UserWarning, match="no value observed for subject='none'"):
            pds.Trajectory(
                "y", system, params=params, observed=data["observed"], t0=0.0, likelihood=likelihood
            )
    return model


@pytest.mark.parametrize(
    "name",
    ["Kalman", *(pytest.param(name, marks=pytest.mark.slow) for name in ("EKF", "EnKF"))],
)
def test_a_ragged_panel_is_the_loop_over_its_subjects(name):
    data = pds.panel(table(), **ROLES)
    assert data.sizes == {"subject": 5, "visit": 60, "component": 2}
    params = {
        "mu": Param(MU, ("subject",)),
        "rate": Param(POINT["rate"]),
        "sigma": Param(POINT["sigma"]),
    }
    y, times = data["observed"].values, data["time"].values
    expected = loop(*LIKELIHOODS[name], params, y, times, {"subject": 5}, 0.0)
    got = evaluate(model_of(data, name), POINT)
    assert_same(got, expected)
    silent = data["subject"].values.tolist().index("none")
    assert got.log_likelihood[silent] == 0.0
    assert got.gradient["mu"][silent] == 0.0


@pytest.mark.parametrize("name", ["Kalman"])
def test_order_of_rows_does_not_matter(name):
    one, other = (
        evaluate(model_of(pds.panel(frame, **ROLES), name), POINT)
        for frame in (table(), table().sample(frac=1.0, random_state=1))
    )
    np.testing.assert_array_equal(one.log_likelihood, other.log_likelihood)
    for parameter in POINT:
        np.testing.assert_array_equal(one.gradient[parameter], other.gradient[parameter])


def test_ten_thousand_rows_make_a_model_without_a_wait():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": rng.integers(0, 400, 10_000),
            "t": rng.uniform(0.0, 100.0, 10_000),
            "u": rng.normal(size=10_000),
            "v": rng.normal(size=10_000),
        }
    )
    start = time.perf_counter()
    data = pds.panel(frame, **ROLES)
    with pm.Model(coords=pds.coords(data)):
        params = {
            "mu": pm.Normal("mu", dims="subject"),
            "rate": pm.Normal("rate", 1.0),
            "sigma": 0.3,
        }
        pds.Trajectory("y", COUPLED, params=params, observed=data["observed"])
    assert time.perf_counter() - start < 2.0
