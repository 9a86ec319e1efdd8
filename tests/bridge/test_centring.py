"""A line in the log where members are non-centred although there are many data of each."""

import logging

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

WALK = pds.SDE(
    states=("level",),
    drift=lambda level, mu: mu - level,
    diffusion=0.5,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 0.3),
)


def by_effects(centered):
    mean, sd = pm.Normal("mean"), pm.HalfNormal("sd")
    return pds.effects.varying("mu", mean, sd, dims="subject", centered=centered)


def by_hand():
    return pm.Normal("mean") + pm.HalfNormal("sd") * pm.Normal("raw", dims="subject")


@pytest.fixture
def log(caplog):
    def built(write, n_visits=40, seen=40):
        y = np.full((3, n_visits), np.nan)
        y[:, :seen] = 0.1
        with pm.Model(coords={"subject": list("abc"), "time": np.arange(float(n_visits))}):
            params = {"mu": write()}
            dims = ("subject", "time")
            pds.Trajectory("y", WALK, params=params, observed=y, dims=dims)
        return "\n".join(message for message in caplog.messages if "non-centred" in message)

    caplog.set_level(logging.INFO, "pymc_dynsys")
    logging.getLogger("pymc_dynsys").propagate = True
    return built


def test_many_data_of_members_that_are_not_centred(log):
    said = log(lambda: by_effects(False))
    assert "y: mu_offset: non-centred, with 40 data of each trajectory" in said
    assert "centered=True" in said and "pds.reparametrize(model)" in said


def test_what_is_written_by_hand_is_seen_too(log):
    assert "y: raw: non-centred" in log(by_hand)


@pytest.mark.parametrize(
    ("write", "seen"),
    [
        (lambda: by_effects(True), 40),
        (lambda: by_effects(False), 29),
        (lambda: pm.Normal("mu", 0.0, 1.0, dims="subject"), 40),
        (lambda: pm.Normal("mu", 1.0, 1.0, dims="subject") + pm.Normal("shift"), 40),
        (lambda: pm.Normal("mean") + pm.HalfNormal("sd") * pm.Normal("common"), 40),
        (lambda: 0.1, 40),
    ],
)
def test_nothing_is_said_where_it_is_as_it_should_be(log, write, seen):
    assert log(write, seen=seen) == ""
