"""The text on a trajectory and on a system says what the model holds."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

NAMES = ["ann", "bob", "cal"]
TIMES = np.array([0.0, 0.5, 2.0])

TWO = pds.SDE(
    states=("a", "b"),
    drift=lambda a, b, u: (u - a, a - b),
    diffusion=lambda a, s: (s * a, 0.1 * s),
    initial=lambda m: dist.MultivariateNormal(jnp.stack([m, m]), jnp.eye(2)),
    observation=lambda a, b: (dist.Poisson(jnp.exp(a)), dist.Normal(b, 1.0)),
)


def two_states(**arguments) -> pm.Model:
    """Counts and numbers, an input, a variable that differs by subject and one that does not."""
    y = np.ones((3, 3, 2))
    y[0, 0, 0] = y[1, 2] = np.nan
    u = xr.DataArray(np.ones((3, 3)), dims=("subject", "time"))
    with pm.Model(coords={"subject": NAMES, "time": TIMES, "kind": ["n", "z"]}) as model:
        log_s = pm.Normal("log_s")
        params = {"s": pm.math.exp(log_s), "m": pm.Normal("m", dims="subject")}
        dims = ("subject", "time", "kind")
        pds.Trajectory("y", TWO, params=params, inputs={"u": u}, observed=y, dims=dims, **arguments)
    return model


def test_counts_sources_askers_and_choice():
    said = dict(pds.describe(two_states()).rows)
    assert said["trajectories"] == "3 (subject)"
    assert said["visits"] == "9, from 0 to 2"
    assert said["observations"] == "15, and 3 missing; kind: n, z"
    assert said["s"] == "of log_s; the same for all; asked for by dynamics"
    assert said["m"] == "of m; varies over subject; asked for by initial"
    assert said["u"].startswith("input fixed; interpolation previous; varies over subject")
    assert said["proved: dynamics"].startswith("nonlinear; noises: 2; noise depends on")
    assert said["proved: observation"] == "(Poisson, Normal)"
    assert "observation is not Gaussian" in said["not linear-Gaussian"]
    assert said["likelihood"].startswith("Laplace(")
    assert "default" not in said["likelihood"]


def test_a_likelihood_that_is_not_the_default():
    said = dict(pds.describe(two_states(likelihood=pds.ParticleFilter())).rows)
    assert said["likelihood"].startswith("ParticleFilter(")
    assert "the default would be Laplace(" in said["likelihood"]
    assert said["gradient"] == "none"


@pytest.fixture(scope="module")
def dosed():
    """Two patients, three doses of which one is an infusion."""
    decay = pds.ODE(
        states=("gut", "blood"),
        drift=lambda gut, blood, k: (-gut, gut - k * blood),
        initial=(0.0, 0.0),
        observation=lambda blood: dist.Normal(blood, 1.0),
        events=pds.Dose("gut", bioavailability="F"),
    )
    events = xr.Dataset(
        {
            "event_time": (("subject", "event"), [[0.0, 2.0], [0.0, np.nan]]),
            "event_amount": (("subject", "event"), [[1.0, 2.0], [1.0, np.nan]]),
            "event_duration": (("subject", "event"), [[0.0, 0.5], [0.0, np.nan]]),
        },
        {"subject": NAMES[:2]},
    )
    with pm.Model(coords={"subject": NAMES[:2], "time": [0.0, 2.0]}) as model:
        params = {"k": 0.1, "F": pm.Beta("F", 2, 2)}
        dims = ("subject", "time")
        y = np.zeros((2, 2))
        pds.Trajectory("y", decay, params=params, events=events, observed=y, dims=dims)
    return model


def test_doses(dosed):
    said = dict(pds.describe(dosed).rows)
    assert said["doses"] == "3 for 2 trajectories, 1 of them infusions; into gut"
    assert said["k"] == "fixed; the same for all; asked for by dynamics"
    assert said["F"] == "of F; the same for all; asked for by events"
    assert said["proved: initial"] == "a known state"


def test_a_path_has_no_data_and_no_likelihood():
    with pm.Model(coords={"subject": NAMES, "time": TIMES}) as model:
        walk = pds.SDE(
            states="level",
            drift=lambda level, mu: mu - level,
            diffusion=0.1,
            initial=dist.Normal(0.0, 1.0),
        )
        pds.Path("path", walk, params={"mu": pm.Normal("mu")}, dims=("subject", "time"))
    found = pds.describe(model)
    assert found.title == "path: SDE(level)"
    assert {"observations", "likelihood"}.isdisjoint(dict(found.rows))
    assert dict(found.rows)["mu"] == "of mu; the same for all; asked for by dynamics"


def test_diffuse_states_of_a_sum_of_blocks_at_dates():
    months = np.array(["2024-01", "2024-02", "2024-03", "2024-04"], "datetime64[M]")
    with pm.Model(coords={"time": months.astype("datetime64[ns]")}) as model:
        system = pds.local_level(pm.HalfNormal("q")) + pds.white_noise(1.0)
        pds.Trajectory("y", system, observed=np.zeros(4), dims="time")
    said = dict(pds.describe(model).rows)
    assert said["trajectories"] == "1"
    assert said["visits"] == "4, from 2024-01-01 to 2024-04-01"
    assert said["proved: initial"].endswith("diffuse: level")
    assert said["level_sigma"].startswith("of q; asked for by dynamics")


def test_text_and_table_of_a_system():
    text, table = str(TWO), TWO._repr_html_()
    assert repr(TWO) == "SDE(a, b)" == text.splitlines()[0]
    assert "u (drift); s (diffusion); m (initial)" in text
    assert text.count("\n") == table.count("<tr>")
    unsafe = pds.ODE(drift=0.0, initial=(0.0,), events=lambda amount, k="<b>": amount)
    assert "&lt;b&gt;" in unsafe._repr_html_() and "<b>" not in unsafe._repr_html_()


def test_text_of_doses_steps_and_blocks():
    dosed = pds.ODE(
        states="c",
        drift=lambda c, k, half=2.0: -k * c / half,
        initial=(0.0,),
        events=pds.Dose("c", bioavailability="F", lag=lambda lag: lag),
    )
    assert "k (drift); F (events); lag (events)" in str(dosed)
    assert "f(c, k, half=2.0)" in str(dosed)
    steps = pds.DiscreteTime(
        transition=lambda x, q: dist.Normal(x, q), initial=dist.Normal(0.0, 1.0), step=0.5
    )
    assert "discrete, steps of 0.5" in str(steps) and "Normal(loc=0, scale=1)" in str(steps)
    blocks = pds.local_level(1.0) + pds.white_noise(1.0)
    assert repr(blocks) == "LinearGaussian(level + noise)"
    assert "level_sigma, noise_sigma" in str(blocks)


def test_names_of_the_package_are_its_public_ones():
    assert set(dir(pds)) == {*pds.__all__, "__version__"}
