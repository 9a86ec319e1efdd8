"""Inputs looked up by a label: random effects of occasions, in the model and in all results."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

NAN = np.nan
SUBJECTS, TIMES, OCCASIONS = ["a", "b"], np.array([0.0, 1.0, 2.5, 3.0]), ["one", "two", "three"]
Y = np.array([[0.1, 0.5, NAN, 1.2], [0.3, 0.2, 0.1, 0.4]])
VALUES = np.array([[0.4, 0.9, 0.2], [0.7, 0.1, 0.5]])
COORDS = {"subject": SUBJECTS, "time": TIMES, "occasion": OCCASIONS}
BY = xr.DataArray(
    [["one", "one", "two", "two"], ["two", "one", "one", "three"]],
    dims=("subject", "time"),
    coords={"subject": SUBJECTS, "time": TIMES},
    name="occasion",
)
SYSTEM = pds.SDE(
    states=("a",),
    drift=lambda a, rate: -rate * (a - 1.0),
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda a, rate: dist.Normal(a + rate, 0.5),
)
DRAWS = np.stack([VALUES, VALUES[:, ::-1] + 0.1])
IDATA = posterior(
    {"rate": (("subject", "occasion"), DRAWS)}, 2, subject=SUBJECTS, occasion=OCCASIONS
)


def build(rate=None, by=BY, coords=COORDS, gaps=None, dims=("subject", "occasion")):
    with pm.Model(coords=coords) as model:
        if rate is None:
            rate = pm.LogNormal("rate", 0.0, 1.0, dims=dims)
        pds.Trajectory(
            "y",
            SYSTEM,
            inputs={"rate": pds.Input(rate, gaps=gaps, by=by)},
            observed=Y,
            dims=("subject", "time"),
            likelihood=pds.Kalman(),
        )
    return model


def written_out(values, by=BY):
    """What holds at each visit, by a loop."""
    return np.array(
        [
            [values[i, OCCASIONS.index(label)] for label in row]
            for i, row in enumerate(by.transpose("subject", "time").values)
        ]
    )


@pytest.fixture(scope="module")
def model():
    return build()


def logp_of_numbers(values):
    u = xr.DataArray(written_out(values), dims=BY.dims, coords=BY.coords)
    with pm.Model(coords=COORDS) as model:
        rv = pds.Trajectory("y", SYSTEM, inputs={"rate": u}, observed=Y, dims=BY.dims)
    return model.compile_logp(vars=[rv])({})


def test_it_is_the_same_numbers_written_out(model):
    found = model.compile_logp(vars=[model["y"]])({"rate_log__": np.log(VALUES)})
    expected = logp_of_numbers(VALUES)
    # Sums of eight terms in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    known = xr.DataArray(VALUES, dims=("subject", "occasion"), coords={"occasion": OCCASIONS})
    for values in (known, known[:, ::-1]):
        np.testing.assert_allclose(build(values).compile_logp()({}), expected, rtol=1e-14)


@pytest.mark.slow
def test_results_are_those_of_the_same_numbers(model):
    u = xr.DataArray(written_out(DRAWS[1]), dims=BY.dims, coords=BY.coords)
    with pm.Model(coords=COORDS) as fixed:
        pds.Trajectory("y", SYSTEM, inputs={"rate": u}, observed=Y, dims=BY.dims)
    last = xr.DataArray(["two", "three"], dims="subject", coords={"subject": SUBJECTS})
    last = pds.Input(model["rate"], by=last)
    results = {
        "states": lambda m, d: pds.sample_states(d, model=m, moments=True).posterior["mean"],
        "between": lambda m, d: pds.sample_states(d, model=m, moments=True, times=[0.4]).posterior[
            "mean"
        ],
        "innovations": lambda m, d: pds.innovations(d, model=m)["innovations"]["z"],
        "log_likelihood": lambda m, d: pds.log_likelihood(d, model=m).log_likelihood["y"],
        # Paths of a few steps from the same key.
        "forecast": lambda m, d: pds.forecast(
            d,
            model=m,
            times=[4.0, 5.0],
            inputs={} if m is fixed else {"rate": last},
            random_seed=1,
        ).predictions["states"],
    }
    one = IDATA.isel(draw=[1])
    for name, result in results.items():
        expected = result(fixed, None).values
        np.testing.assert_allclose(result(model, one), expected, rtol=1e-10, err_msg=name)
    check = pds.check_likelihood(model, IDATA, n_draws=2)["check"]
    assert np.isfinite(check["log_likelihood"]).all()
    told = pds.check_data(model)["inputs"]["rate"]
    assert told.attrs["note"] == "depends on random variables of the model"


def test_what_holds_after_the_data_is_said(model):
    with pytest.raises(ValueError, match="nothing says which of its values holds after the data"):
        pds.forecast(IDATA, model=model, times=[4.0])
    with pytest.raises(ValueError, match="times are those of the data; say which of its values"):
        pds.forecast(IDATA, model=model, times=[4.0], inputs={"rate": model["rate"]})
    numbers = xr.DataArray([0.45, 0.6], dims="time", coords={"time": [4.0, 5.0]})
    by = xr.DataArray(["one", "three"], dims="time", coords={"time": [4.0, 5.0]})
    found = [
        pds.forecast(IDATA, model=model, times=[4.0, 5.0], inputs={"rate": u}, random_seed=2)
        for u in (numbers, pds.Input(model["rate"], by=by))
    ]
    a, b = (tree.predictions["states"].values for tree in found)
    # Until 4 both are the model's; from there on they are others.
    np.testing.assert_array_equal(a[..., 0, :], b[..., 0, :])
    assert (a[..., 1, :] != b[..., 1, :]).all()


def test_a_variable_without_trajectories_and_labels_that_are_numbers(model):
    """All subjects share what an occasion has; labels of a panel are floats."""
    numbers = BY.copy(data=np.vectorize(lambda label: 1.0 + OCCASIONS.index(label))(BY.values))
    coords = COORDS | {"occasion": [1, 2, 3]}
    shared = build(by=numbers, coords=coords, dims="occasion")
    found = shared.compile_logp(vars=[shared["y"]])({"rate_log__": np.log(VALUES[0])})
    np.testing.assert_allclose(found, logp_of_numbers(np.stack([VALUES[0]] * 2)), rtol=1e-14)


def missing(at, gaps=None):
    by = BY.astype(object).copy()
    by[at] = NAN
    return build(by=by, gaps=gaps)


def test_a_missing_label_is_filled_or_named():
    filled = missing((0, 1), "previous")
    found = filled.compile_logp(vars=[filled["y"]])({"rate_log__": np.log(VALUES)})
    np.testing.assert_allclose(found, logp_of_numbers(VALUES), rtol=1e-14)
    with pytest.raises(ValueError, match=r"'rate' is missing for subject='b' .* time 2\.5"):
        missing((1, 1))


def test_what_does_not_fit_is_refused():
    strange = BY.where(BY != "three", "four")
    with pytest.raises(ValueError, match=r"looked up by 'four' at subject='b', time=3\.0, which"):
        build(by=strange)
    with pytest.raises(TypeError, match=r"is looked up by a list; give an xr\.DataArray"):
        build(by=BY.values.tolist())
    with pytest.raises(ValueError, match="none of which is left to look its values up in"):
        build(dims="subject")
    with pytest.raises(TypeError, match="so its values need labels"):
        build(VALUES)
    with pytest.raises(ValueError, match="no lines between labels"):
        pds.Input(VALUES, "linear", by=BY)
    numbers = COORDS | {"occasion": [1, 2, 3]}
    with pytest.raises(ValueError, match="text and numbers are different labels"):
        build(by=BY.copy(data=np.full(BY.shape, "3")), coords=numbers)


def test_labels_that_were_looked_up_do_not_change(model):
    with model, pytest.raises(ValueError, match="the labels along 'occasion' cannot change"):
        model.set_dim("occasion", 3, coord_values=["three", "two", "one"])
