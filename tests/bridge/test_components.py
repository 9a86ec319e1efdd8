"""An observation that names its components, and one that does not, against a dense Gaussian."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests import dense

TIMES = np.array([0.0, 0.7, 1.5, 3.0])
DATA, COORDS = ["sad", "down", "glad"], ["glad", "sad", "down"]
Y = np.random.default_rng(3).normal([1.0, 5.0, -2.0], size=(4, 3))
Y[2, 1] = np.nan
TABLE = xr.DataArray(Y, coords={"time": TIMES, "item": DATA})
OFFSET = {"sad": 1.0, "down": 5.0, "glad": -2.0}
SD = {"sad": 0.3, "down": 0.5, "glad": 0.2}


def system(observation):
    return pds.SDE(
        states=("low", "high"),
        drift=lambda low, high: (-0.5 * low, low - high),
        diffusion=(0.3, 0.4),
        initial=dist.Normal(jnp.zeros(2), 1.0),
        observation=observation,
    )


def by_name(low, high):
    return {
        "down": pds.Gaussian(high + 5.0, 0.25),
        "sad": dist.Normal(low + 1.0, 0.3),
        "glad": dist.Normal(-low - 2.0, 0.2),
    }


def in_order_of_data(low, high):
    mean = jnp.stack([low + 1.0, high + 5.0, -low - 2.0])
    return dist.Normal(mean, jnp.array([0.3, 0.5, 0.2]))


def in_a_tuple(low, high):
    laws = by_name(low, high)
    return tuple(laws[name] for name in DATA)


NAMED, VECTOR = system(by_name), system(in_order_of_data)
EXPECTED = dense.log_likelihood(
    dense.LinearSystem(
        A=np.array([[-0.5, 0.0], [1.0, -1.0]]),
        c=np.zeros(2),
        L=np.diag([0.3, 0.4]),
        H=np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]),
        d=np.array(list(OFFSET.values())),
        R=np.diag(list(SD.values())) ** 2,
        m0=np.zeros(2),
        P0=np.eye(2),
    ),
    Y,
    TIMES,
)


def build(of, coords, observed=TABLE, **arguments):
    with pm.Model(coords={"time": TIMES, **coords}) as model:
        observed = observed() if callable(observed) else observed
        arguments = {"dims": ("time", "item"), **arguments}
        pds.Trajectory("y", of, observed=observed, **arguments)
    return model


def logp(model):
    return float(model.compile_logp(mode="FAST_COMPILE")({}))


@pytest.mark.parametrize("observed", [TABLE, TABLE[:, ::-1], TABLE.to_pandas()], ids=repr)
@pytest.mark.parametrize("order", [DATA, COORDS])
def test_named_components_have_no_order(observed, order):
    np.testing.assert_allclose(logp(build(NAMED, {"item": order}, observed)), EXPECTED, rtol=1e-9)


def test_a_tuple_of_gaussian_laws_is_one_gaussian():
    """So that Kalman takes it, which is what is chosen."""
    model = build(system(in_a_tuple), {"item": DATA})
    np.testing.assert_allclose(logp(model), EXPECTED, rtol=1e-9)
    assert isinstance(model["y"].owner.op.spec.likelihood, pds.Kalman)


def test_simulated_components_have_their_names():
    paths = pds.simulate(NAMED, {}, TIMES, n=400, random_seed=1)["observations"]
    assert paths["component"].values.tolist() == ["down", "sad", "glad"]
    for name, mean in OFFSET.items():
        assert abs(float(paths.sel(component=name)[:, 0].mean()) - mean) < 0.3


def test_a_vector_keeps_the_order_of_the_data():
    np.testing.assert_allclose(logp(build(VECTOR, {"item": DATA})), EXPECTED, rtol=1e-9)
    unlabelled = build(VECTOR, {}, lambda: (pm.Data("w", np.zeros(3), dims="item"), TABLE)[1])
    assert list(unlabelled.coords["item"]) == DATA


@pytest.mark.parametrize(
    "observed",
    [TABLE, TABLE.to_pandas(), lambda: pds.data("z", TABLE, dims=("time", "item"))],
    ids=["array", "frame", "data"],
)
def test_a_vector_whose_order_the_model_changes_is_an_error(observed):
    words = r"the data come as 'sad', 'down', 'glad'.*coords are 'glad', 'sad', 'down'.*mapping"
    with pytest.raises(ValueError, match=words):
        build(VECTOR, {"item": COORDS}, observed)


@pytest.mark.parametrize(
    ("observation", "coords", "message"),
    [
        (by_name, ["sad", "down", "bad"], "names the components 'down', 'sad', 'glad', and the"),
        (by_name, None, r"do not say which is which; label them, pm\.Model\(coords=\{'item'"),
        (lambda low: {}, DATA, "a mapping without components"),
        (lambda low: (), DATA, "a tuple without components"),
        (lambda low: (dist.Normal(low, 1.0), low, low), DATA, "entry 1 is .*in a tuple each"),
        (lambda low: {"sad": low, "down": low, "glad": low}, DATA, "component 'sad' is"),
        (
            lambda low: dict.fromkeys(DATA, dist.Normal(jnp.stack([low, low]), 1.0)),
            DATA,
            r"component 'sad' is Normal of shape \(2,\)",
        ),
    ],
)
def test_names_that_do_not_fit(observation, coords, message):
    of = {} if coords is None else {"item": coords}
    with pytest.raises(ValueError, match=message):
        build(
            system(observation),
            of,
            lambda: (None if coords else pm.Data("w", np.zeros(3), dims="item"), Y)[1],
        )


def test_names_need_labels_of_the_data():
    with pytest.raises(ValueError, match=r"coords=\{'component'"):
        build(NAMED, {}, Y, dims=None, times=TIMES)


def test_labels_may_be_numbers():
    of = system(lambda low, high: {2: dist.Normal(high, 0.5), 1: dist.Normal(low, 0.3)})
    plain = system(lambda low, high: dist.Normal(jnp.stack([low, high]), jnp.array([0.3, 0.5])))
    table = pd.DataFrame(Y[:, :2], TIMES, [1, 2])
    want = logp(build(plain, {"item": [1, 2]}, table))
    np.testing.assert_allclose(logp(build(of, {"item": [1, 2]}, table)), want, rtol=1e-12)


def test_a_table_of_days_that_is_read_as_components_says_so(caplog):
    """Matrices over four days look like those of four components."""
    caplog.set_level("INFO", "pymc_dynsys")
    system = pds.linear_gaussian(
        F=np.eye(2), Q=np.eye(2), H=np.ones((4, 2)), R=np.ones(4), m0=np.zeros(2), P0=np.eye(2)
    )
    with pm.Model(coords={"subject": range(3), "day": range(4)}):
        pds.Trajectory("y", system, observed=np.zeros((3, 4)), dims=("subject", "day"))
    assert "'subject' is the time, and 'day' holds the 4 components of a visit" in caplog.text
