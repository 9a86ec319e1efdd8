"""``reparametrize``: the same posterior, other coordinates; learnt, chosen, refused."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy import stats

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


def smallest_sd(y, sd, tau):
    """The tau at which a dense normal of the data, its mean fitted, is 1e-4 of its most."""

    def log_density(log_tau):
        of = stats.norm(scale=np.sqrt(np.exp(2.0 * log_tau) + sd**2))
        mean = np.average(y, weights=of.std() ** -2.0)
        return log_tau + of.logpdf(y - mean).sum()

    grid = np.log(tau) + np.arange(-12.0, 5.01, 0.05)
    densities = np.array([log_density(log_tau) for log_tau in grid])
    return min(tau, np.exp(grid[densities >= densities.max() + np.log(1e-4)][0]))


def test_the_share_is_that_of_the_smallest_sd_that_data_allow():
    """Normal data of known precision: tau^2 / (tau^2 + sd^2), whatever tau the draws have seen."""
    names = [f"s{i}" for i in range(30)]
    rng = np.random.default_rng(5)
    sd = rng.uniform(0.1, 3.0, 30)
    y = rng.normal(2.0 + rng.normal(0.0, 1.5, 30), sd)
    with pm.Model(coords={"subject": names}) as model:
        tau = pm.Uniform("tau", 0.0, 5.0)
        mu = pm.Normal("mu", 0.0, 10.0)
        theta = pm.Normal("theta", mu, tau, dims="subject")
        pm.Normal("y", theta, sd, observed=y, dims="subject")
    draws = xr.Dataset(
        {
            "tau": ("draw", np.full(30, 1.6)),
            "mu": ("draw", rng.normal(2.0, 0.1, 30)),
            "theta": (("draw", "subject"), rng.normal(2.0, 1.5, (30, 30))),
        }
    )
    draws["tau"][-1] = 1.7
    tau = smallest_sd(y, sd, 1.6)
    assert 0.3 < tau < 1.2
    found = information_shares(model, ["theta"], draws)["theta"]
    np.testing.assert_allclose(found, tau**2 / (tau**2 + sd**2), rtol=1e-3)


def test_a_run_that_has_not_seen_the_neck_does_not_centre(centred):
    """Eight schools allow an sd of zero; the draws say nothing of it, and still none is centred."""
    rng = np.random.default_rng(0)
    draws = xr.Dataset(
        {
            "tau": ("draw", rng.uniform(15.0, 25.0, 40)),
            "mu": ("draw", rng.normal(8.0, 3.0, 40)),
            "theta": (("draw", "school"), rng.normal(8.0, 20.0, (40, 8))),
        }
    )
    assert (information_shares(centred, ["theta"], draws)["theta"] < 1e-3).all()


def test_each_scale_has_a_neck_of_its_own():
    """Of two kinds of members one is known well; the other is not centred on its account."""
    kind = np.repeat([0, 1], 12)
    rng = np.random.default_rng(3)
    sd = np.where(kind == 0, 0.01, 30.0)
    with pm.Model() as model:
        tau = pm.Uniform("tau", 0.0, 5.0, shape=2)
        theta = pm.Normal("theta", 0.0, tau[kind], shape=24)
        pm.Normal("y", theta, sd, observed=rng.normal(0.0, np.sqrt(1.0 + sd**2)))
    draws = xr.Dataset(
        {
            "tau": (("draw", "kind"), rng.uniform(0.8, 1.2, (30, 2))),
            "theta": (("draw", "member"), rng.normal(0.0, 1.0, (30, 24))),
        }
    )
    shares = information_shares(model, ["theta"], draws)["theta"]
    assert (shares[kind == 0] > 0.99).all() and (shares[kind == 1] < 1e-3).all()


def test_an_sd_that_is_known_has_no_neck():
    """Groups with an sd of 2: their share is that of what their data say."""
    with pm.Model() as model:
        mean = pm.Normal("mean", 0.0, 1.0)
        theta = pm.Normal("theta", mean, 2.0, shape=8)
        pm.Normal("y", theta, SD, observed=Y)
    draws = xr.Dataset(
        {
            "mean": ("draw", np.zeros(20)),
            "theta": (("draw", "member"), np.random.default_rng(0).normal(size=(20, 8))),
        }
    )
    shares = information_shares(model, ["theta"], draws)["theta"]
    np.testing.assert_allclose(shares, 4.0 / (4.0 + np.square(SD)), rtol=1e-6)


def test_a_group_knows_what_its_data_say_and_not_its_members():
    """Members' offsets are held while the groups are measured."""
    of = [0, 0, 0, 0, 1]
    with pm.Model() as model:
        group = pm.Normal("group", pm.Normal("mean"), 2.0, shape=2)
        theta = pm.Normal("theta", group[of], pm.Uniform("tau", 0.0, 5.0), shape=5)
        pm.Normal("y", theta, SD[:5], observed=Y[:5])
    rng = np.random.default_rng(5)
    draws = xr.Dataset(
        {
            "mean": ("draw", np.zeros(30)),
            "tau": ("draw", rng.uniform(1.0, 3.0, 30)),
            "group": (("draw", "g"), rng.normal(size=(30, 2))),
            "theta": (("draw", "subject"), rng.normal(size=(30, 5))),
        }
    )
    shares = information_shares(model, ["group", "theta"], draws)
    known = np.array([np.sum(SD[:4] ** -2.0), SD[4] ** -2.0])
    np.testing.assert_allclose(shares["group"], 4.0 / (4.0 + 1.0 / known), rtol=1e-6)


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
