"""``reparametrize``: the same posterior, other coordinates; learnt, chosen, refused."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys import effects
from pymc_dynsys.effects.information import information_shares
from tests.effects.compare import refuse_to_reparametrize as refuse
from tests.effects.test_by_hand import SCHOOLS, SD, Y


def eight_schools(centered=True):
    with pm.Model(coords=SCHOOLS) as model:
        mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
        theta = effects.varying("theta", mu, tau, dims="school", centered=centered)
        pm.Normal("y", theta, SD, observed=Y, dims="school")
    return model


@pytest.fixture(scope="module")
def centred():
    return eight_schools()


def test_nothing_of_the_given_model_changes(centred):
    before = [v.name for v in centred.free_RVs]
    new = pds.reparametrize(centred, centeredness=0.3)
    assert [v.name for v in centred.free_RVs] == before
    assert {v.name for v in new.free_RVs} == {"mu", "tau", "theta_offset"}
    assert new.named_vars_to_dims["theta"] == ("school",)
    assert new.named_vars_to_dims["theta_centeredness"] == ("school",)
    assert dict(new.coords) == dict(centred.coords)


def test_at_zero_it_is_the_non_centred_model(centred):
    new, by_hand = pds.reparametrize(centred, centeredness=0.0), eight_schools(centered=False)
    point = by_hand.initial_point() | {"theta_offset": np.linspace(-1.0, 1.0, 8)}
    here, there = (m.compile_logp()(point) for m in (new, by_hand))
    assert here == pytest.approx(there, abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, np.linspace(0.0, 1.0, 8)])
def test_the_law_is_the_same(centred, share):
    """Densities of eta and theta differ by the Jacobian, tau^(1 - share) for each member."""
    new = pds.reparametrize(centred, centeredness={"theta": share})
    mu, log_tau = 1.3, 0.7
    theta = np.linspace(-5.0, 9.0, 8)
    eta = share * mu + (theta - mu) * np.exp((np.asarray(share) - 1.0) * log_tau)
    rest = {"mu": np.array(mu), "tau_log__": np.array(log_tau)}
    there = centred.compile_logp()(rest | {"theta": theta})
    here = new.compile_logp()(rest | {"theta_offset": eta})
    jacobian = np.sum(np.broadcast_to(1.0 - np.asarray(share), 8)) * log_tau
    assert here == pytest.approx(there + jacobian, abs=1e-10)


def test_what_the_data_say_is_learnt(centred):
    """Uncertain schools want the non-centred form, precise ones the centred one."""
    few = pds.reparametrize(centred, random_seed=1, progressbar=False)
    assert (few["theta_centeredness"].get_value() < 0.25).all()
    with pm.Model(coords=SCHOOLS) as precise:
        mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
        theta = pm.Normal("theta", mu, tau, dims="school")
        pm.Normal("y", theta, SD / 100.0, observed=Y, dims="school")
    many = pds.reparametrize(precise, random_seed=1, progressbar=False)
    assert (many["theta_centeredness"].get_value() > 0.99).all()


def test_the_share_is_that_of_the_closed_form():
    """Normal data of known precision: tau^2 / (tau^2 + sd^2), of groups by their members too."""
    coords = {"group": list("AB"), "subject": list("abcde")}
    of = [0, 0, 0, 0, 1]
    with pm.Model(coords=coords) as model:
        tau = pm.Uniform("tau", 0.0, 5.0, shape=2)
        group = pm.Normal("group_mean", 0.0, tau[0], dims="group")
        theta = pm.Normal("theta", group[of], tau[1], dims="subject")
        pm.Normal("y", theta, SD[:5], observed=Y[:5], dims="subject")
    rng = np.random.default_rng(5)
    draws = xr.Dataset(
        {
            "tau": (("draw", "two"), rng.uniform(1.0, 3.0, (30, 2))),
            "group_mean": (("draw", "group"), rng.normal(size=(30, 2))),
            "theta": (("draw", "subject"), rng.normal(size=(30, 5))),
        }
    )
    shares = information_shares(model, ["group_mean", "theta"], draws)
    at = np.linspace(0, 29, 20).astype(int)
    tau1, tau2 = draws["tau"].values[at].T[:, :, None]
    low = np.quantile(tau2**2 / (tau2**2 + SD[:5] ** 2), 0.1, axis=0)
    np.testing.assert_allclose(shares["theta"], low, rtol=1e-6)
    # Vague members are nearly non-centred: a group knows what its data, not its members, say.
    # Its share is measured given the members' offsets, of which a part is still theirs: hence 15%.
    known = np.array([np.sum(SD[:4] ** -2.0), SD[4] ** -2.0])
    whole = np.quantile(tau1**2 / (tau1**2 + 1.0 / known), 0.1, axis=0)
    np.testing.assert_allclose(shares["group_mean"], whole, rtol=0.15)


def test_levels_and_labels():
    """Two levels at once, one share by label; only what has a hierarchy is touched."""
    coords = {"group": ["A", "B"], "subject": [1, 2, 3]}
    with pm.Model(coords=coords) as model:
        mu = pm.Normal("mu", 0.0, 1.0)
        group = pm.Normal("group_mean", mu, 2.0, dims="group")
        sd = pm.HalfNormal("sd", 1.0)
        pm.Normal("x", group[:, None], sd, dims=("group", "subject"))
    share = xr.DataArray([0.2, 0.7], {"group": ["B", "A"]})
    shares = {"group_mean": share, "x": 0.5}
    new = pds.reparametrize(model, centeredness=shares)
    assert {v.name for v in new.free_RVs} == {"mu", "sd", "group_mean_offset", "x_offset"}
    np.testing.assert_array_equal(new["group_mean_centeredness"].get_value(), [0.7, 0.2])
    assert new.named_vars_to_dims["x_offset"] == ("group", "subject")


def test_with_a_trajectory():
    """The new model is sampled, and what comes after sampling finds its parameters."""
    ou = pds.SDE(
        states=("level",),
        drift=lambda level, mu: -0.5 * (level - mu),
        diffusion=0.3,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.2),
    )
    y = np.array([[0.1, 0.4, np.nan, 0.3], [1.0, 1.2, 0.9, 1.1]])
    with pm.Model(coords={"subject": ["a", "b"], "time": np.arange(4.0)}) as model:
        sd = pm.HalfNormal("sd", 1.0)
        mu = pm.Normal("mu", 0.0, sd, dims="subject")
        pds.Trajectory("y", ou, params={"mu": mu}, observed=y, dims=("subject", "time"))
    new = pds.reparametrize(model, centeredness=0.5)
    idata = pm.sample(
        draws=5,
        tune=5,
        chains=1,
        nuts_sampler="numpyro",
        progressbar=False,
        random_seed=1,
        compute_convergence_checks=False,
        model=new,
    )
    assert idata["posterior"]["mu"].dims == ("chain", "draw", "subject")
    assert idata["constant_data"]["mu_centeredness"].dims == ("subject",)
    states = pds.sample_states(idata, model=new, progressbar=False, random_seed=1)
    assert states["posterior"]["states"].sizes["time"] == 4


def test_refusals(centred):
    non_centred = eight_schools(centered=False)
    refuse("no free pm.Normal whose mean or sd is random", non_centred)
    refuse("no free pm.Normal", pds.reparametrize(centred, centeredness=0.5))
    refuse("'theta': it is a deterministic, and a non-centred", non_centred, ["theta"])
    refuse("'tau': its distribution is", centred, ["tau"])
    refuse("'mu': its mean and sd are fixed", centred, ["mu"])
    refuse("'y': it is observed", centred, ["y"])
    refuse("'thetta': the model has no such variable; it has 'mu'", centred, ["thetta"])
    refuse("between 0 .* and 1 .*got 1.5", centred, centeredness=1.5)
    refuse("between 0", centred, centeredness=np.nan)
    refuse("says nothing of 'theta'", centred, centeredness={"mu": 0.1})
