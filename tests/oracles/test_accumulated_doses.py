"""Sums since the last visit beside doses, against the dense normal law of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy.linalg import expm

import pymc_dynsys as pds

TIMES = np.array([0.5, 1.0, 2.5, 3.0, 5.0])
Y = np.array([0.9, 1.7, np.nan, 2.2, 4.1])
POINT = {
    name: np.array(value)
    for name, value in {
        "rate": 0.7,
        "mean": 0.4,
        "noise": 0.5,
        "sd": 0.3,
        "F": 0.8,
        "m0": 1.1,
    }.items()
}
S0 = 0.6
BOLUSES = {"x": [(0.0, 1.0), (1.0, 2.0), (1.7, -0.5)], "C": [(0.7, 0.2), (1.0, 0.6), (5.0, 9.0)]}
"""Time and amount of doses by the state they enter; those at 1 and at 5 are given at visits."""
INFUSION = (2.0, 1.5, 2.0)
"""Time, amount and duration of one into x, which runs over two visits."""


def events() -> xr.Dataset:
    rows = [(time, amount, 0.0, state) for state in BOLUSES for time, amount in BOLUSES[state]]
    rows.append((*INFUSION, "x"))
    time, amount, duration, state = zip(*sorted(rows), strict=True)
    return xr.Dataset(
        {
            "event_time": ("event", list(time)),
            "event_amount": ("event", list(amount)),
            "event_duration": ("event", list(duration)),
            "event_state": ("event", list(state)),
        }
    )


def system(**changes) -> pds.SDE:
    """A state that returns to its mean, and its integral since the last visit."""
    parts = {
        "states": ("x", "C"),
        "drift": lambda x, rate, mean: (-rate * (x - mean), x),
        "diffusion": lambda noise: jnp.stack([noise, 0.0 * noise]),
        "initial": lambda m0: (dist.Normal(m0, S0), 0.0),
        "observation": lambda C, sd: dist.Normal(C, sd),
        "events": pds.Dose(bioavailability="F"),
        "accumulate": ("C",),
    }
    return pds.SDE(**parts | changes)


def model_of(source=None, **options) -> pm.Model:
    source = system() if source is None else source
    with pm.Model(coords={"time": TIMES}) as model:
        params = {name: pm.Flat(name, initval=value) for name, value in POINT.items()}
        options = {"observed": Y, "events": events()} | options
        pds.Trajectory("y", source, params=params, dims="time", t0=0.0, **options)
    return model


def pushed(rate, s, begins, ends):
    """What units that enter x at times `s` add to its integrals from `begins` to `ends`."""
    s, begins, ends = jnp.asarray(s)[None], jnp.asarray(begins)[:, None], jnp.asarray(ends)[:, None]
    late = jnp.maximum(begins, s) - s
    return jnp.where(s < ends, (jnp.exp(-rate * late) - jnp.exp(-rate * (ends - s))) / rate, 0.0)


def law_of_data(point, times, boluses=BOLUSES):
    """Mean and covariance of the data, from what pushes at every time do to the integrals.

    Integrals over these times are Gaussian quadrature between visits, which is exact to rounding.
    """
    rate, mean, F = point["rate"], point["mean"], point["F"]
    begins, ends = np.concatenate([[0.0], times[:-1]]), times

    def over(edges, weight):
        nodes, weights = np.polynomial.legendre.leggauss(30)
        half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
        h = pushed(rate, jnp.asarray((middle + half * nodes).ravel()), begins, ends)
        return weight(h, jnp.asarray((half * weights).ravel()))

    at_start = pushed(rate, jnp.zeros(1), begins, ends)[:, 0]
    m = mean * (ends - begins) + (point["m0"] - mean) * at_start
    for time, amount in boluses["x"]:
        m = m + F * amount * pushed(rate, jnp.full(1, time), begins, ends)[:, 0]
    for time, amount in boluses["C"]:
        m = m + F * amount * ((begins <= time) & (time < ends))
    time, amount, duration = INFUSION
    inside = times[(times > time) & (times < time + duration)]
    edges = np.concatenate([[time], inside, [time + duration]])
    m = m + F * amount / duration * over(edges, lambda h, w: h @ w)
    cov = (
        over(np.concatenate([[0.0], times]), lambda h, w: h @ jnp.diag(w) @ h.T)
        * point["noise"] ** 2
    )
    return m, cov + S0**2 * jnp.outer(at_start, at_start) + point["sd"] ** 2 * jnp.eye(len(times))


def dense(point):
    mean, cov = law_of_data(point, TIMES)
    seen = np.flatnonzero(~np.isnan(Y))
    law = jax.scipy.stats.multivariate_normal
    return law.logpdf(Y[seen], mean[seen], cov[np.ix_(seen, seen)])


@pytest.fixture(scope="module")
def model():
    return model_of()


def test_doses_and_visits_at_one_time(model):
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(POINT)
    expected, gradient = jax.value_and_grad(dense)({k: jnp.asarray(v) for k, v in POINT.items()})
    # Rounding, of thirteen rows.
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slope, [gradient[name] for name in POINT], rtol=2e-14)


def test_only_doses_are_doses(model):
    """Restarts are not among the doses that tables show."""
    read = pds.check_data(model)
    assert read["doses"]["doses"].sel(state=["x", "C"]).values.tolist() == [[4, 3]]
    assert read["doses"]["infusions"].values.tolist() == [[1, 0]]
    times = sorted([t for each in BOLUSES.values() for t, _ in each] + [INFUSION[0]])
    assert np.sort(read["events"]["event_time"].values[0]).tolist() == times
    assert read["subjects"]["at_a_dose"].item() == 2
    said = dict(pds.describe(model).rows)["doses"]
    assert said == "7 for 1 trajectories, 1 of them infusions; into x, C"


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", [pds.EKF(), pds.UKF(), pds.Laplace()])
def test_other_likelihoods_do_the_same(likelihood):
    value = model_of(likelihood=likelihood).compile_logp()(POINT)
    np.testing.assert_allclose(value, dense(POINT), rtol=1e-12)


@pytest.mark.slow
def test_a_system_without_noise():
    source = pds.ODE(
        states=("x", "C"),
        drift=lambda x, rate, mean: (-rate * (x - mean), x),
        initial=lambda m0: (m0, 0.0),
        observation=lambda C, sd: dist.Normal(C, sd),
        events=pds.Dose(bioavailability="F"),
        accumulate=("C",),
    )
    point = {name: value for name, value in POINT.items() if name != "noise"}
    with pm.Model(coords={"time": TIMES}) as model:
        params = {name: pm.Flat(name, initval=value) for name, value in point.items()}
        options = {"likelihood": pds.ODESolve(rtol=1e-11, atol=1e-11), "events": events()}
        pds.Trajectory("y", source, params=params, observed=Y, dims="time", t0=0.0, **options)
    mean, _ = law_of_data({k: jnp.asarray(v) for k, v in POINT.items()}, TIMES)
    seen = np.flatnonzero(~np.isnan(Y))
    expected = dist.Normal(mean[seen], POINT["sd"]).log_prob(Y[seen]).sum()
    # As far as the solver goes.
    np.testing.assert_allclose(model.compile_logp()(point), expected, rtol=1e-10)


def draws_of(n: int) -> xr.DataTree:
    values = {name: (("chain", "draw"), np.full((1, n), value)) for name, value in POINT.items()}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(values)})


def check_law(y, mean, cov):
    """Draws ``(draw, time)`` have a normal law, to four standard errors."""
    assert np.abs((y.mean(0) - mean) / np.sqrt(np.diag(cov) / len(y))).max() < 4
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / len(y))
    assert (np.abs(np.cov(y.T) - cov) / spread).max() < 4


@pytest.mark.slow
def test_simulated_sums_have_their_law():
    drawn = pds.simulate(system(), POINT, TIMES, t0=0.0, events=events(), n=20_000, random_seed=1)
    mean, cov = law_of_data({k: jnp.asarray(v) for k, v in POINT.items()}, TIMES)
    check_law(drawn["observations"].values, np.asarray(mean), np.asarray(cov))


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True], ids=["of the model", "given"])
def test_a_forecast_counts_between_its_times(model, given):
    """Doses at the last datum enter what is counted next, those of the model or others."""
    ahead = [6.0, 7.5]
    boluses, options = BOLUSES, {}
    if given:
        new = {"x": [(5.5, 1.0), (6.0, 2.0)], "C": [(6.0, 0.7), (7.0, 0.4)]}
        table = [(time, amount, state) for state in new for time, amount in new[state]]
        time, amount, state = zip(*sorted(table), strict=True)
        named = {"event_time": time, "event_amount": amount, "event_state": state}
        options["events"] = xr.Dataset({k: ("event", list(v)) for k, v in named.items()})
        boluses = {state: BOLUSES[state] + new[state] for state in new}
    found = pds.forecast(
        draws_of(20_000), model=model, times=ahead, random_seed=1, progressbar=False, **options
    )
    point = {k: jnp.asarray(v) for k, v in POINT.items()}
    mean, cov = map(np.asarray, law_of_data(point, np.array([*TIMES, *ahead]), boluses))
    seen = np.flatnonzero(~np.isnan(Y))
    K = cov[5:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    expected = mean[5:] + K @ (Y[seen] - mean[seen])
    check_law(found.predictions["y"].values[0], expected, cov[5:, 5:] - K @ cov[seen, 5:])


@pytest.mark.slow
def test_a_function_says_what_doses_do():
    """A share of x is taken away at each event, and counted, against a filter in a plain loop."""
    shares = {0.7: 0.2, 1.0: 0.4, 3.0: 0.3, 5.0: 0.5}
    table = {"event_time": list(shares), "event_amount": list(shares.values())}
    model = model_of(
        system(events=lambda x, C, amount, F: ((1.0 - F * amount) * x, C + F * amount * x)),
        events=xr.Dataset({name: ("event", values) for name, values in table.items()}),
    )
    rate, mean, noise, sd, F0, m0 = POINT.values()
    A = np.array([[-rate, 0.0], [1.0, 0.0]])
    m, P, t, expected = np.array([m0, 0.0]), np.diag([S0**2, 0.0]), 0.0, 0.0
    for time in sorted({*TIMES, *shares}):
        # Van Loan's block matrix; x - mean, and its integral, have no constant drift.
        Z = np.block([[-A, np.diag([noise**2, 0.0])], [np.zeros((2, 2)), A.T]])
        G = expm(Z * (time - t))
        F = G[2:, 2:].T
        m = F @ (m - [mean, 0.0]) + [mean, mean * (time - t)]
        P, t = F @ P @ F.T + F @ G[:2, 2:], time
        if time in TIMES:
            y = Y[TIMES == time].item()
            if not np.isnan(y):
                S = P[1, 1] + sd**2
                expected += dist.Normal(m[1], np.sqrt(S)).log_prob(y)
                m, P = m + P[:, 1] / S * (y - m[1]), P - np.outer(P[:, 1], P[:, 1]) / S
            m[1], P[1], P[:, 1] = 0.0, 0.0, 0.0
        if time in shares:
            J = np.array([[1.0 - F0 * shares[time], 0.0], [F0 * shares[time], 1.0]])
            m, P = J @ m, J @ P @ J.T
    np.testing.assert_allclose(model.compile_logp()(POINT), expected, rtol=1e-13)


def test_what_is_refused():
    table = events()
    with pytest.raises(
        ValueError, match=r"C is set to zero .* arrive late .lag. are not supported"
    ):
        model_of(system(events=pds.Dose(bioavailability="F", lag=0.1)))
    with pytest.raises(ValueError, match=r"C is set to zero .* resets and steady states"):
        model_of(events=table.assign(event_reset=("event", [1.0] + [0.0] * 6)))
    rates = table.drop_vars("event_duration").assign(event_rate=("event", [0.0] * 4 + [1.0] * 3))
    with pytest.raises(ValueError, match=r"C is set to zero .* duration parameters say"):
        model_of(events=rates)
    with pm.Model(coords={"time": TIMES, "event": range(7)}):
        amounts = pm.Data("amounts", table["event_amount"].values, dims="event")
        changing = {name: table[name] for name in table} | {"event_amount": amounts}
        options = {"params": POINT, "observed": Y, "dims": "time", "t0": 0.0}
        with pytest.raises(ValueError, match=r"doses beside that cannot change with pm\.Data"):
            pds.Trajectory("y", system(), events=changing, **options)
