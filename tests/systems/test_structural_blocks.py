"""Regressions, cycles, factors and entries of matrices: what they refuse, and where they fit in."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds

N = 6
Y = np.array([0.3, -0.2, 0.9, 1.4, 0.1, 0.7])
X = np.random.default_rng(0).normal(size=(N, 2))
COORDS = {"time": np.arange(float(N)), "reg": ["price", "promo"], "shop": ["a", "b"]}


def built(system, y=Y, dims="time", **inputs):
    with pm.Model(coords=COORDS) as model:
        pds.Trajectory("y", system, inputs=inputs, observed=y, dims=dims)
    return model


def of(values):
    return xr.DataArray(values, dims=("time", "reg")[: np.ndim(values)])


def with_regression(**changes):
    given = {"inputs": "X", "coefficients": np.array([1.0, 2.0])} | changes
    return pds.local_level(1.0) + pds.regression(**given) + pds.white_noise(1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pds.regression("X", 1.0, sigma=2.0), "they are parameters; sigma"),
        (lambda: pds.regression(["a", "b"], regressors=3), "2 inputs of a number each"),
        (lambda: pds.regression("a", regressors=0), "regressors must be a positive integer"),
        (lambda: pds.regression("a", m0=np.zeros(1)), "m0 and P0, both of them"),
        (lambda: pds.cycle(1.5), "period must be at least 2 steps, got 1.5"),
        (lambda: pds.cycle(4, damping=1.1), r"damping must be in \(0, 1\], got 1.1"),
        (lambda: pds.cycle(4, initial=pds.Stationary()), "no stationary distribution; say"),
        (lambda: pds.dynamic_factor(np.ones(3), 0.5, 1.0), r"expected \(component, factor\)"),
        (
            lambda: pds.vector_autoregression(np.eye(2)[None], np.eye(2), exog=(np.eye(2), "u")),
            r"no stationary distribution to begin with; give initial=Diffuse\(\)",
        ),
        (
            lambda: pds.linear_gaussian(
                F=[[pm.Flat.dist(), 0.0], [1.0]], Q=np.eye(2), H=np.ones(2), R=1.0, initial=None
            ),
            "give the initial state's m0",
        ),
    ],
)
def test_blocks_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_of_entries_that_differ_in_length():
    rows = [[pm.Flat.dist(), 0.0], [1.0]]
    with pytest.raises(ValueError, match="F is a nested list whose rows differ in length"):
        pds.linear_gaussian(F=rows, Q=np.eye(2), H=np.ones(2), R=1.0, initial=pds.Diffuse())


@pytest.mark.parametrize("names", [(), 3, ("a", 1)])
def test_inputs_are_named(names):
    with pytest.raises(TypeError, match=r"names of inputs|object is not iterable"):
        pds.regression(names)
    with pytest.raises(TypeError, match="exog is a pair"):
        pds.vector_autoregression(np.eye(1)[None], np.eye(1), exog=np.eye(1))


@pytest.mark.parametrize(
    ("system", "inputs", "message"),
    [
        (with_regression(), {}, "asks for 'X'; give it with a value for each row"),
        (with_regression(), {"X": of(X), "Z": of(X)}, "does not ask for 'Z'; it asks for X"),
        (with_regression(coefficients=1.0), {"X": of(X)}, r"shape \(\), expected \(2,\)"),
        (with_regression(coefficients=None), {"X": of(X)}, "2 values a row, and there are 1"),
        (
            with_regression(inputs=("X", "Z")),
            {"X": of(X), "Z": of(X[:, 0])},
            r"'X' has a value of shape \(2,\)",
        ),
        (
            with_regression(),
            {"X": pds.Input(of(X), "linear")},
            "belongs to that row, so there are no lines",
        ),
    ],
)
def test_inputs_that_do_not_fit(system, inputs, message):
    with pytest.raises(ValueError, match=message):
        built(system, **inputs)


@pytest.mark.slow
def test_a_regressor_that_is_missing_beside_a_datum():
    there, gone = X.copy(), Y.copy()
    there[[0, 3], 1] = np.nan
    gone[0] = np.nan
    with pytest.raises(ValueError, match=r"'X'\[1\] is missing at time 3"):
        built(with_regression(), gone, X=of(there))
    gone[3] = np.nan
    model = built(with_regression(), gone, X=of(there))
    other = built(with_regression(), gone, X=of(np.nan_to_num(there, nan=-7.0)))
    np.testing.assert_allclose(model.compile_logp()({}), other.compile_logp()({}), rtol=1e-14)


def test_what_drives_the_state_may_not_be_missing():
    """Beside a datum or not; the row that nothing drives may be."""
    gone, u = Y.copy(), X[:, :1].copy()
    gone[3], u[3] = np.nan, np.nan
    system = pds.vector_autoregression(
        [[[0.5]]], [[1.0]], exog=([[1.0]], "u"), initial=pds.Stationary()
    )
    with pytest.raises(ValueError, match=r"'u'.* is missing over the gap before time 3"):
        with pm.Model(coords=COORDS):
            y = xr.DataArray(gone[:, None], dims=("time", "component"))
            pds.Trajectory("y", system, inputs={"u": of(u)}, observed=y)


def test_data_that_come_later_beside_a_missing_regressor():
    gone, there = Y.copy(), X.copy()
    gone[2], there[2, 0] = np.nan, np.nan
    with pm.Model(coords=COORDS) as model:
        y = pds.data("data", gone, dims="time")
        pds.Trajectory("y", with_regression(), inputs={"X": of(there)}, observed=y, dims="time")
    logp = model.compile_logp()
    assert np.isfinite(logp({}))
    with model:
        pm.set_data({"data": Y})
    with pytest.raises(ValueError, match=r"'X'\[0\] is missing at time 2"):
        logp({})


@pytest.mark.slow
def test_predictions_are_missing_with_their_regressors():
    gone, there = Y.copy(), X.copy()
    gone[2], there[2, 0] = np.nan, np.nan
    with pm.Model(coords=COORDS):
        b = pm.Normal("b", dims="reg")
        system = pds.autoregression(0.5, 1.0) + pds.regression("X", b) + pds.white_noise(1.0)
        pds.Trajectory("y", system, inputs={"X": of(there)}, observed=gone, dims="time")
        drawn = pm.sample_prior_predictive(3, random_seed=1).prior_predictive["y"].values
    np.testing.assert_array_equal(np.isnan(drawn[0]), np.isnan(gone)[None].repeat(3, 0))


@pytest.mark.slow
def test_labels_of_coefficients_and_regressors_meet():
    turned = xr.DataArray(X[:, ::-1], dims=("time", "reg"), coords={"reg": ["promo", "price"]})
    values = []
    for given in (of(X), turned):
        with pm.Model(coords=COORDS) as model:
            b = pm.Flat("b", dims="reg", initval=[1.0, 2.0])
            system = pds.regression("X", b) + pds.local_level(1.0) + pds.white_noise(1.0)
            pds.Trajectory("y", system, inputs={"X": given}, observed=Y, dims="time")
        values.append(model.compile_logp()({"b": np.array([1.0, 2.0])}))
    np.testing.assert_allclose(*values, rtol=1e-14)


def test_a_forecast_asks_for_regressors_to_come():
    with pm.Model(coords=COORDS) as model:
        b = pm.Flat("b", dims="reg", initval=[1.0, 2.0])
        system = pds.regression("X", b) + pds.local_level(1e-6) + pds.white_noise(1e-6)
        y = 3.0 + X @ [1.0, 2.0]
        y[1] = np.nan
        pds.Trajectory("y", system, inputs={"X": of(X)}, observed=y, dims="time")
    values = (("chain", "draw", "reg"), np.array([[[1.0, 2.0]]]))
    draws = xr.Dataset({"b": values}, coords={"reg": COORDS["reg"]})
    idata = xr.DataTree.from_dict({"posterior": draws})
    options = {"model": model, "times": [6.0, 7.0], "random_seed": 1, "progressbar": False}
    with pytest.raises(ValueError, match=r"'X'.* is missing at time 6"):
        pds.forecast(idata, **options)
    part = of(np.array([[1.0, 0.0], [np.nan, 10.0]]))
    with pytest.raises(ValueError, match=r"'X'\[0\] is missing at time 7"):
        pds.forecast(idata, inputs={"X": part}, **options)
    to_come = of(np.array([[1.0, 0.0], [0.0, 10.0]]))
    ahead = pds.forecast(idata, inputs={"X": to_come}, **options)
    # Noises of 1e-6, seven or fewer of them.
    found = ahead.predictions["y"].values.ravel()
    np.testing.assert_allclose(found, [4.0, 23.0], atol=2e-5)


@pytest.mark.slow
def test_entries_of_a_matrix_have_their_own_dims():
    """A matrix with one entry that differs by shop is that of each shop."""
    y = np.stack([Y, -Y])
    phi = np.array([0.3, 0.6])
    parts = {"Q": np.diag([1.0, 0.0]), "H": np.array([1.0, 0.0]), "R": 0.5}
    with pm.Model(coords=COORDS) as model:
        a = pm.Flat("a", dims="shop", initval=phi)
        b = pm.Flat("b", initval=0.2)
        system = pds.linear_gaussian(F=[[a, b], [1.0, 0.0]], initial=pds.Stationary(), **parts)
        pds.Trajectory("y", system, observed=y, dims=("shop", "time"))
    total = model.compile_logp()({"a": phi, "b": np.array(0.2)})
    alone = [
        built(
            pds.linear_gaussian(
                F=np.array([[p, 0.2], [1.0, 0.0]]), initial=pds.Stationary(), **parts
            ),
            row,
        ).compile_logp()({})
        for p, row in zip(phi, y, strict=True)
    ]
    np.testing.assert_allclose(total, sum(alone), rtol=1e-13)


@pytest.mark.slow
def test_a_known_zero_among_the_variances_of_data():
    with pm.Model(coords={**COORDS, "component": [0, 1]}) as model:
        r = pm.HalfNormal("r")
        system = pds.linear_gaussian(
            F=np.eye(2), Q=np.eye(2), H=np.eye(2), R=[0.0, r], initial=pds.Diffuse()
        )
        pds.Trajectory("y", system, observed=X, dims=("time", "component"))
    assert np.isfinite(model.compile_logp()(model.initial_point()))


@pytest.mark.slow
def test_a_cycle_beyond_damping_is_impossible():
    with pm.Model(coords=COORDS) as model:
        rho = pm.Flat("rho", initval=0.9)
        system = pds.cycle(4.5, rho, 1.0) + pds.white_noise(1.0)
        pds.Trajectory("y", system, observed=Y, dims="time")
    logp, slope = model.compile_logp(), model.compile_dlogp()
    assert np.isfinite(logp({"rho": 0.99})) and logp({"rho": 1.0}) == -np.inf
    assert np.isfinite(slope({"rho": 1.01})).all()
