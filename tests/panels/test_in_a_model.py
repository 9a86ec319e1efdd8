"""A model takes a panel as it is: values, dims, labels and times."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.panels import coords, panel

FRAME = pd.DataFrame(
    {
        "id": ["b", "b", "a", "a", "a", "c"],
        "t": [0.0, 1.5, 0.0, 1.0, 4.0, 2.0],
        "y": [0.1, 0.2, 0.3, np.nan, 0.5, 0.7],
        "w": [1.0, 1.0, 2.0, 2.0, 2.0, 3.0],
        "heat": [0.5, 0.1, -0.4, 0.9, 0.3, 0.2],
        "g": ["u", "u", "v", "v", "v", "u"],
    }
)
OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu, w, heat: -0.5 * w * (level - mu) + heat,
    diffusion=0.1,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 0.1),
)


def model_of(data, **options):
    with pm.Model(coords=coords(data)) as model:
        mu_group = pm.Normal("mu_group", dims="g")
        mu = pm.Deterministic("mu", mu_group[data["g_index"].values], dims="subject")
        pds.Trajectory(
            "y",
            OU,
            params={"mu": mu, "w": data["w"]},
            **{"inputs": {"heat": data["heat"]}, "observed": data["y"], **options},
            likelihood=pds.Kalman(),
        )
    return model


def logp(model, point):
    return model.compile_logp(model["y"], sum=False)(point)[0]


POINT = {"mu_group": np.array([0.3, -0.8])}
ROLES = {
    "subject": "id",
    "time": "t",
    "observed": "y",
    "inputs": "heat",
    "covariates": "w",
    "groups": "g",
}


def test_times_are_the_panels_and_not_the_numbers_of_its_visits():
    data = panel(FRAME, **ROLES)
    plain = {"times": data["time"].values, "inputs": {"heat": data["heat"].values}}
    explicit = logp(model_of(data, observed=data["y"].drop_vars(["visit", "time"]), **plain), POINT)
    np.testing.assert_array_equal(logp(model_of(data), POINT), explicit)


def test_each_subject_as_if_it_were_alone():
    data = panel(FRAME, **ROLES)
    together = logp(model_of(data), POINT)
    for i, label in enumerate(data["subject"].values):
        alone = panel(FRAME[FRAME["id"] == label], **{**ROLES, "groups": ()})
        alone = alone.assign(g_index=data["g_index"].sel(subject=[label]))
        alone = alone.assign_coords(g=data["g"])
        assert logp(model_of(alone), POINT)[0] == pytest.approx(together[i], rel=1e-10)


def test_order_of_rows_does_not_matter_to_the_model():
    data, shuffled = (panel(frame, **ROLES) for frame in (FRAME, FRAME[::-1]))
    np.testing.assert_array_equal(logp(model_of(data), POINT), logp(model_of(shuffled), POINT))
