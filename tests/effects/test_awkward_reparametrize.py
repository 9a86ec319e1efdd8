"""``reparametrize`` with models and arguments that it was not written for."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.effects.compare import refuse_to_reparametrize as refuse


@pytest.fixture
def model():
    with pm.Model(coords={"subject": ["a", "b", "c"]}) as model:
        sd = pm.HalfNormal("sd", 1.0)
        theta = pm.Normal("theta", 0.0, sd, dims="subject")
        pm.Normal("y", theta, 1.0, observed=[1.0, 2.0, 3.0], dims="subject")
    return model


def test_names_alone_twice_or_as_variables(model):
    for names in ("theta", model["theta"], ["theta", "theta"]):
        new = pds.reparametrize(model, names, centeredness=0.5)
        assert {v.name for v in new.free_RVs} == {"sd", "theta_offset"}


def test_a_nested_model_stands_for_the_whole():
    with pm.Model(coords={"subject": ["a", "b"]}) as whole:
        sd = pm.HalfNormal("sd", 1.0)
        with pm.Model(name="inner"):
            pm.Normal("theta", 0.0, sd, dims="subject")
            new = pds.reparametrize(centeredness=0.5)
    assert new.parent is None
    assert {v.name for v in new.free_RVs} == {"sd", "inner::theta_offset"}
    assert {v.name for v in whole.free_RVs} == {"sd", "inner::theta"}


def test_shares_that_do_not_fit(model):
    for share in ([0.1, 0.2], xr.DataArray([0.1], dims="subject"), np.full((1, 3), 0.5)):
        refuse(r"has shape .* and 'theta' has \(3,\)", model, centeredness=share)
    refuse("has 'thetta': the model has no", model, centeredness={"theta": 0.1, "thetta": 0.2})
    refuse("has 'sd': its distribution is", model, centeredness={"theta": 0.1, "sd": 0.2})
    new = pds.reparametrize(model, centeredness=xr.DataArray(0.25))
    np.testing.assert_array_equal(new["theta_centeredness"].get_value(), 0.25)


def test_starts_cannot_be_kept():
    with pm.Model() as model:
        sd = pm.HalfNormal("sd", 1.0, initval=0.5)
        pm.Normal("theta", 0.0, sd, shape=2)
    refuse("'sd' has an initval", model, centeredness=0.5)


def test_runs_that_teach_nothing(model):
    refuse("expected draws >= 2", model, draws=1)
    with pm.Model() as discrete:
        rate = pm.Poisson("rate", 3.0)
        pm.Normal("theta", rate, 1.0, shape=2)
    refuse("'rate' is discrete.*give centeredness", discrete)


def test_a_run_that_does_not_move_is_refused(model, monkeypatch):
    still = xr.Dataset({"sd": (("chain", "draw"), np.ones((1, 5)))})
    still["theta"] = ("chain", "draw", "subject"), np.zeros((1, 5, 3))
    monkeypatch.setattr(pm, "sample", lambda **_: xr.DataTree.from_dict({"posterior": still}))
    refuse("the short run did not move 'theta'", model)


def test_the_law_of_a_model_with_everything():
    """Levels, shared sd vectors, no dims, two dims, scalars, deterministics and a potential."""
    with pm.Model(coords={"clinic": ["n", "s"], "subject": ["a", "b", "c"]}) as old:
        mu, sd = pm.Normal("mu", 0.0, 1.0), pm.HalfNormal("sd", 1.0, shape=3)
        g = pm.Normal("g", mu, sd[0], dims="clinic")
        d = pm.Deterministic("d", pm.math.exp(g), dims="clinic")
        t = pm.Normal("t", d[np.array([0, 1, 1])], sd, dims="subject")
        u = pm.Normal("u", t[:, None] + g, sd[1], dims=("subject", "clinic"))
        s = pm.Normal("s", mu, sd[2])
        pm.Normal("v", s, sd[2], shape=4)
        pm.Potential("p", -0.1 * (u**2).sum() * s)
    shares = {
        "g": 0.2,
        "t": xr.DataArray([0.1, 0.5, 0.9], {"subject": ["c", "b", "a"]}),
        "u": xr.DataArray(np.arange(6.0).reshape(2, 3) / 10.0, dims=("clinic", "subject")),
        "s": 0.7,
        "v": [0.0, 0.1, 0.2, 1.0],
    }
    new = pds.reparametrize(old, centeredness=shares)
    rng = np.random.default_rng(0)
    point = {k: rng.normal(0.0, 0.5, v.shape) for k, v in new.initial_point().items()}
    graph = new.replace_rvs_by_values([new[name] for name in shares])
    compiled = new.compile_fn(
        graph, inputs=new.value_vars, on_unused_input="ignore", mode="FAST_COMPILE"
    )
    centred = dict(zip(shares, compiled(point), strict=True))
    kept = {k: v for k, v in point.items() if not k.endswith("_offset")}
    log_sd = point["sd_log__"]
    logs = {"g": log_sd[0], "t": log_sd, "u": log_sd[1], "s": log_sd[2], "v": log_sd[2]}
    jacobian = sum(
        np.sum((1.0 - new[f"{name}_centeredness"].get_value()) * logs[name]) for name in shares
    )
    there = old.compile_logp(mode="FAST_COMPILE")(kept | centred) + jacobian
    assert new.compile_logp(mode="FAST_COMPILE")(point) == pytest.approx(there, abs=1e-10)
