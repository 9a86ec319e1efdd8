"""E11, E12: impulse responses and lagged effects at known matrices, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load

EXACT = {"rtol": 1e-13, "atol": 1e-13}
"""Against matrix exponentials and powers; 2e-14 is reached."""


COORDS = {"time": [0.0, 1.0], "subject": ["p", "q"], "i": [0, 1], "j": [0, 1]}


def continuous(A, S) -> pm.Model:
    system = pds.SDE(
        states=("a", "b"),
        drift=lambda states, A: A @ states,
        diffusion=np.linalg.cholesky(S),
        initial=pds.Stationary(),
        observation=lambda a: dist.Normal(a, 1.0),
    )
    with pm.Model(coords=COORDS) as model:
        # As free variables over subjects, of which the second is the transpose of the first.
        pm.Flat("A", dims=("subject", "i", "j"), initval=np.stack([A, A.T]))
        y = np.zeros((2, 2))
        params = {"A": model["A"]}
        pds.Trajectory("y", system, params=params, observed=y, dims=("subject", "time"))
    return model


def at(A) -> xr.DataTree:
    """Two draws, the second of which has half the slope."""
    both = np.stack([A, A.T])
    values = np.stack([both, 0.5 * both])[None]
    dims = ("chain", "draw", "subject", "i", "j")
    labels = {dim: COORDS[dim] for dim in dims[2:]}
    data = xr.Dataset({"A": (dims, values)}, coords=labels)
    return xr.DataTree.from_dict({"posterior": data})


def discrete(coefficients, S, states=2) -> pm.Model:
    with pm.Model(coords={"time": range(3), "component": ["a", "b"]}) as model:
        system = pds.vector_autoregression(coefficients, S)
        pds.Trajectory("y", system, observed=np.zeros((3, 2)), dims=("time", "component"))
    return model


@pytest.fixture(scope="module")
def swinging():
    case = load("E11")
    return case, continuous(case.A, case.diffusion_cov), at(case.A)


@pytest.mark.parametrize(
    ("kind", "shock", "name"),
    [
        ("impulse", "unit", "impulse"),
        pytest.param("impulse", "orthogonal", "impulse_sd", marks=pytest.mark.slow),
        pytest.param("cumulative", "unit", "cumulative", marks=pytest.mark.slow),
        pytest.param("step", "unit", "cumulative", marks=pytest.mark.slow),
    ],
)
def test_continuous_responses(swinging, kind, shock, name):
    case, model, idata = swinging
    found = pds.impulse_response(
        idata, model=model, horizons=case.horizons, kind=kind, shock=shock
    )["posterior"]
    first = found.sel(subject="p")["impulse_response"]
    assert first.dims == ("chain", "draw", "horizon", "response", "shock")
    np.testing.assert_allclose(first[0, 0], getattr(case.out, name), **EXACT)
    if shock == "unit":
        steady = found["steady_state"].sel(subject="p")
        np.testing.assert_allclose(steady[0, 0], case.out.steady_state, **EXACT)
        # Of half the slope: the same at twice the time.
        np.testing.assert_allclose(steady[0, 1], 2 * case.out.steady_state, **EXACT)
        if kind == "impulse":
            swapped = found.sel(subject="q")["impulse_response"][0, 0]
            np.testing.assert_allclose(swapped, np.swapaxes(getattr(case.out, name), 1, 2), **EXACT)


@pytest.mark.slow
def test_responses_to_a_standard_deviation(swinging):
    case, model, idata = swinging
    found = pds.impulse_response(idata, model=model, horizons=case.horizons, shock="sd")
    sd = np.sqrt(np.diagonal(case.diffusion_cov))
    first = found["posterior"]["impulse_response"].sel(subject="p")[0, 0]
    np.testing.assert_allclose(first, case.out.impulse * sd, **EXACT)


@pytest.mark.parametrize("lags", [1, 2])
@pytest.mark.slow
def test_discrete_responses(lags):
    case = load("E11")
    model = discrete(case.Phi[None] if lags == 1 else case.var2_coefficients, case.S)
    horizons = np.arange(11)
    pick = {"response": ["var_0", "var_1"], "shock": ["var_0", "var_1"]}

    def of(**options):
        found = pds.impulse_response(None, model=model, horizons=horizons, **options)
        return found["posterior"].dataset.sel(pick).isel(chain=0, draw=0)

    name = f"var{lags}"
    impulse = getattr(case.out, f"{name}_impulse")
    np.testing.assert_allclose(of()["impulse_response"], impulse, **EXACT)
    orthogonal = of(shock="orthogonal")["impulse_response"]
    np.testing.assert_allclose(orthogonal, getattr(case.out, f"{name}_orthogonal"), **EXACT)
    summed = of(kind="cumulative")
    cumulative = getattr(case.out, f"{name}_cumulative")
    np.testing.assert_allclose(summed["impulse_response"], cumulative, **EXACT)
    np.testing.assert_allclose(
        summed["steady_state"], getattr(case.out, f"{name}_long_run"), **EXACT
    )
    stepped = of(kind="step")["impulse_response"]
    np.testing.assert_allclose(stepped[1:], cumulative[:-1], **EXACT)
    np.testing.assert_array_equal(stepped[0], 0.0)


@pytest.fixture(scope="module")
def decaying():
    case = load("E12")
    return case, continuous(case.A, case.Q), at(case.A)


@pytest.mark.slow
@pytest.mark.parametrize("standardise", [False, True])
def test_lagged_effects(decaying, standardise):
    case, model, idata = decaying
    found = pds.lagged_effects(
        idata, model=model, intervals=case.intervals, standardise=standardise
    )["posterior"].dataset.sel(subject="p")
    expected = case.out.standardised if standardise else case.out.effects
    # Small effects are differences of larger exponentials; 7e-14 is reached.
    np.testing.assert_allclose(found["lagged_effects"][0, 0], expected, rtol=2e-13)
    if standardise:
        return
    across = ~np.eye(2, dtype=bool)
    peak, effect = (found[f"peak_{part}"].values[0] for part in ("interval", "effect"))
    # A peak is flat: its place is known to the root of the rounding of its slope.
    np.testing.assert_allclose(peak[0][across], case.out.peak_interval[across], rtol=1e-12)
    np.testing.assert_allclose(peak[1][across], 2 * case.out.peak_interval[across], rtol=1e-12)
    np.testing.assert_allclose(effect[0][across], case.out.peak_effect[across], rtol=1e-13)
    assert np.isnan(peak[0][~across]).all()


@pytest.mark.slow
def test_peaks_of_equal_rates_and_of_none():
    """Of [[-1, 1], [0, -1]] the effect is d exp(-d), with its peak at 1; nothing goes back."""
    from pymc_dynsys.inference.lagged_effects import peaks

    at, effect = peaks(jnp.array([[-1.0, 1.0], [0.0, -1.0]]))
    np.testing.assert_allclose([at[0, 1], effect[0, 1]], [1.0, np.exp(-1.0)], rtol=1e-12)
    assert np.isnan([at[1, 0], effect[1, 0]]).all()
    far, _ = peaks(jnp.array([[-1000.0, 1.0], [0.0, -0.01]]))
    np.testing.assert_allclose(far[0, 1], np.log(1e5) / (1000 - 0.01), rtol=1e-9)
    assert np.isnan(peaks(jnp.array([[0.1, 1.0], [0.0, -1.0]]))[0]).all()


def test_direct_effects_leave_the_mediator_out():
    """A chain a -> m -> b has a total effect of a on b and no direct one."""
    A = np.array([[-1.0, 0.0, 0.0], [0.5, -1.0, 0.0], [0.0, 0.5, -1.0]])
    system = pds.SDE(
        states=("a", "m", "b"),
        drift=lambda states, A: A @ states,
        diffusion=jnp.ones(3),
        initial=pds.Stationary(),
        observation=lambda b: dist.Normal(b, 1.0),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        pds.Trajectory("y", system, params={"A": A}, observed=np.zeros(2), dims="time")
    pair = {"response": "b", "predictor": "a"}

    def effect(**options):
        found = pds.lagged_effects(None, model=model, intervals=[0.0, 2.0], **options)
        return found["posterior"]["lagged_effects"].sel(pair).values.ravel()

    # expm of a chain: d^2 / 2 of both slopes.
    np.testing.assert_allclose(effect(), [0.0, 0.25 * 2.0 * np.exp(-2.0)], rtol=1e-13)
    np.testing.assert_array_equal(effect(without=["m"]), [0.0, 0.0])
    for without, message in ((["c"], "no state 'c'"), (["a", "m", "b"], "no state is left")):
        with pytest.raises(ValueError, match=message):
            effect(without=without)


def test_what_is_refused(decaying):
    case, model, idata = decaying
    options = {"model": model, "horizons": [0.0, 1.0]}
    for changes, error, message in [
        ({"kind": "sum"}, ValueError, "kind: expected one of"),
        ({"shock": "two"}, ValueError, "shock: expected one of"),
        ({"horizons": [1.0, 0.5]}, ValueError, "horizons: expected ascending"),
        ({"horizons": ["a"]}, TypeError, "horizons: expected numbers"),
    ]:
        with pytest.raises(error, match=message):
            pds.impulse_response(idata, **options | changes)
    with pytest.raises(ValueError, match=r"0\.5 is no whole number of steps of 1"):
        pds.impulse_response(None, model=discrete(case.A[None] / 2, case.Q), horizons=[0.5])
    bent = pds.SDE(
        states=("a",),
        drift=lambda a: -(a**3),
        diffusion=1.0,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda a: dist.Normal(a, 1.0),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as crooked:
        pds.Trajectory("y", bent, observed=np.zeros(2), dims="time")
    with pytest.raises(ValueError, match="lagged_effects: the dynamics of 'y' are not linear"):
        pds.lagged_effects(None, model=crooked, intervals=[1.0])


@pytest.mark.parametrize(
    ("of", "plot"),
    [
        ("impulse_response", pds.plot_impulse_response),
        pytest.param("lagged_effects", pds.plot_lagged_effects, marks=pytest.mark.slow),
    ],
)
def test_bands_against_their_closed_form(of, plot):
    r"""Two equal rates and one cross effect: c t exp(-a t), whose quantiles are those of c."""
    a, c, t = 0.5, np.linspace(-0.2, 0.6, 81), np.array([0.0, 0.5, 1.0, 2.0, 4.0, 9.0])
    draws = np.stack([[[-a, 0.0], [one, -a]] for one in c])
    model = continuous(draws[0], np.eye(2))
    both = np.stack([draws, np.swapaxes(draws, 1, 2)], axis=1)
    posterior = xr.Dataset(
        {"A": (("chain", "draw", "subject", "i", "j"), both[None])},
        coords={dim: COORDS[dim] for dim in ("subject", "i", "j")},
    )
    idata = xr.DataTree.from_dict({"posterior": posterior})
    along, other = ("horizons", "shock") if of == "impulse_response" else ("intervals", "predictor")
    found = getattr(pds, of)(idata, model=model, **{along: t})
    pc = plot(
        found,
        coords={"subject": ["p"], "response": ["b"], other: ["a"]},
        ci_probs=(0.5, 0.9),
        backend="matplotlib",
    )
    curve = t * np.exp(-a * t)
    # The wide band first, then the narrow one; between evenly spaced draws quantiles are linear.
    bands = [drawn for axes in _axes(pc) for drawn in axes.collections]
    assert len(bands) == 2
    for band, probability in zip(bands, (0.9, 0.5), strict=True):
        corners = band.get_paths()[0].vertices
        tail = (1 - probability) / 2
        for k, time in enumerate(t):
            y = corners[np.isclose(corners[:, 0], time), 1]
            expected = np.quantile([c.min(), c.max()], [tail, 1 - tail]) * curve[k]
            np.testing.assert_allclose([y.min(), y.max()], expected, **EXACT)
    (line,) = [line for axes in _axes(pc) for line in axes.lines]
    np.testing.assert_allclose(line.get_ydata(), 0.2 * curve, **EXACT)


def _axes(pc):
    """The axes of a collection of plots that have something in them."""
    figure = pc.get_viz("figure")
    return [axes for axes in figure.axes if axes.collections]
