"""D07, D08, D10, D21 and D22: doses that arrive, and infusions that end, when parameters say."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.test_dose_tables import assert_met, evaluate, panel_of, params_of

DEVIATIONS = np.array([0.0, 0.6, -0.9, 2.1])


def compiled(system, panel, numbers, late, likelihood):
    """Log-likelihood of each subject and the gradient of their sum, with lags by subject."""
    with pm.Model(coords=pds.coords(panel)) as model:
        free = {name: pm.Flat(name, initval=numbers[name]) for name in numbers}
        lags = pm.Deterministic("late", late(free), dims="subject")
        own = {name: value for name, value in free.items() if name not in ("lag", "eta")}
        pds.Trajectory(
            "y",
            system,
            params={**own, "late": lags},
            observed=panel["DV"],
            events=panel,
            likelihood=likelihood,
        )
    (term,) = model.logp(vars=[model["y"]], sum=False)
    return model.compile_fn([term, model.dlogp(list(free.values()))])


LIKELIHOODS = [
    pds.Kalman(),
    # So precise that the looser tolerances of solvers in the case do not hide a wrong lag.
    pytest.param(pds.ODESolve(rtol=1e-10, atol=1e-10), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_d08_a_lag_time_for_each_subject(likelihood):
    """Lags are lag exp(eta a), with known deviations a."""
    case = load("D08")
    system = pds.ODE(
        states=("G", "A"),
        drift=lambda G, A, ka, k: (-ka * G, ka * G - k * A),
        initial=(0.0, 0.0),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events=pds.Dose("G", lag="late"),
    )
    numbers = params_of(case)

    def late(free):
        return free["lag"] * pm.math.exp(free["eta"] * DEVIATIONS)

    function = compiled(system, panel_of(case), numbers, late, likelihood)
    assert_met(case, function(numbers), loose=not isinstance(likelihood, pds.Kalman))
    value, slope = function(numbers | {"lag": -0.01})
    assert np.isneginf(value).all()
    assert np.isfinite(slope).all()


def one_compartment(events=None, drift=lambda A, k: -k * A):
    return pds.ODE(
        states=("A",),
        drift=drift,
        initial=(0.0,),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events=events or pds.Dose(lag="late"),
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_d07_both_ends_of_infusions_and_their_repeats_are_late(likelihood):
    case = load("D07")
    numbers = params_of(case)

    def late(free):
        return free["lag"] * np.array([0.0, 0.0, 1.0])

    function = compiled(one_compartment(), panel_of(case), numbers, late, likelihood)
    found = function(numbers)
    assert_met(case, found, loose=not isinstance(likelihood, pds.Kalman))


def test_d22_a_late_dose_comes_before_the_datum_of_its_time():
    case = load("D22")
    numbers = params_of(case)

    def late(free):
        return pm.math.stack([0.0, 2.0])

    with pytest.warns(UserWarning, match="enter 'A' at once, which is observed"):
        function = compiled(one_compartment(), panel_of(case), numbers, late, pds.Kalman())
    found = function(numbers)
    assert_met(case, found)
    # Closed forms on both sides, so that only rounding differs.
    np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-10, rtol=0)


MODELLED = pds.Dose(bioavailability="F", rate="R", duration="D")


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_d10_rates_and_durations_that_are_parameters(likelihood):
    case = load("D10")
    found = evaluate(
        one_compartment(MODELLED), panel_of(case), params_of(case), likelihood=likelihood
    )
    assert_met(case, found, loose=not isinstance(likelihood, pds.Kalman))
    if isinstance(likelihood, pds.Kalman):
        # Closed forms on both sides, so that only rounding differs.
        np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-10, rtol=0)


def test_what_is_known_of_a_duration_and_what_makes_none():
    """As many infusions still run in a steady state as there is room for, if they vary at all."""
    case = load("D10")
    panel, numbers = panel_of(case), params_of(case)
    rates = {name: numbers[name] for name in ("k", "V", "sd")}
    with pm.Model(coords=pds.coords(panel)) as model:
        free = {name: pm.Flat(name, initval=numbers[name]) for name in ("F", "R", "D")}
        trajectory = {"observed": panel["DV"], "events": panel, "likelihood": pds.Kalman()}
        pds.Trajectory("y", one_compartment(MODELLED), params=rates | free, **trajectory)
    (term,) = model.logp(vars=[model["y"]], sum=False)
    function = model.compile_fn([term, model.dlogp()])

    def known(**changes):
        with pm.Model(coords=pds.coords(panel)) as model:
            params = numbers | changes
            pds.Trajectory("y", one_compartment(MODELLED), params=params, **trajectory)
        assert not model["y"].owner.op.spec.program.design.moving
        return model.compile_logp(model["y"], sum=False)({})[0]

    point = {name: numbers[name] for name in free}
    # Of 50 hours six infusions, eight hours apart, still run beside the new one.
    np.testing.assert_allclose(function(point | {"D": 50.0})[0], known(D=50.0), rtol=1e-10)
    for changes, lost in (({"D": 57.0}, [2]), ({"D": -1.0}, [0, 2]), ({"R": 0.0}, [1])):
        value, slope = function(point | changes)
        np.testing.assert_array_equal(np.isneginf(value), np.isin([0, 1, 2], lost))
        assert np.isfinite(slope).all()
    with pytest.raises(ValueError, match="infusion at time 0 for subject=2 has no duration"):
        known(R=-2.0)
    del numbers["D"]
    message = "rate of the event at time 0 for subject=1 is -2, .* events=pds.Dose.duration"
    with pytest.raises(ValueError, match=message):
        evaluate(one_compartment(pds.Dose(rate="R", bioavailability="F")), panel, numbers)


def test_d21_a_steady_state_of_late_doses():
    case = load("D21")
    panel, numbers = panel_of(case), params_of(case)
    with pm.Model(coords=pds.coords(panel)) as model:
        free = {name: pm.Flat(name, initval=numbers[name]) for name in numbers}
        with pytest.warns(UserWarning, match="enter 'A' at once, which is observed"):
            pds.Trajectory(
                "y",
                one_compartment(pds.Dose(lag="lag")),
                params=free,
                observed=panel["DV"],
                events=panel,
                likelihood=pds.Kalman(),
            )
    (term,) = model.logp(vars=[model["y"]], sum=False)
    function = model.compile_fn([term, model.dlogp(list(free.values()))])
    found = function(numbers)
    assert_met(case, found)
    # Closed forms on both sides, so that only rounding differs.
    np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-10, rtol=0)
    # Doses that come an interval late are no regimen: the intervals are 24, 12 and 12.
    value, slope = function(numbers | {"lag": 12.0})
    np.testing.assert_array_equal(np.isneginf(value), [False, True, True])
    assert np.isfinite(slope).all()


@pytest.mark.slow
def test_d21_by_a_solver_that_does_not_know_that_it_is_linear():
    case = load("D21")
    system = one_compartment(pds.Dose(lag="lag"), lambda A, k: -k * A + 0.0 * A**2)
    with pytest.warns(UserWarning, match="enter 'A' at once, which is observed"):
        found = evaluate(
            system, panel_of(case), params_of(case), likelihood=pds.ODESolve(1e-10, 1e-10)
        )
    assert_met(case, found, loose=True)
