"""D07 to D22: tables as NONMEM has them, from table to log-likelihood and its gradient.

Referees are superposition of doses and pieces in closed form at 30 digits, and for D17 another
solver.
"""

import warnings

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load


def table_of(case, **changes):
    """The table of a case, whose columns are in capitals; one that is None is dropped."""
    columns = {name: value for name, value in vars(case).items() if name.isupper()}
    columns |= changes
    return pd.DataFrame({name: v for name, v in columns.items() if v is not None})


def panel_of(case, inputs=(), ties="record", endpoint=None, **changes):
    return pds.panel(
        table_of(case, **changes),
        subject="ID",
        time="TIME",
        observed="DV",
        inputs=inputs,
        events="nonmem",
        endpoint=endpoint,
        ties=ties,
    )


def params_of(case):
    return {name[6:]: value for name, value in vars(case).items() if name.startswith("param_")}


def evaluate(system, panel, params, inputs=None, likelihood=None, y="DV"):
    """Log-likelihood of each subject, and the gradient of their sum, at given parameters."""
    with pm.Model(coords=pds.coords(panel)) as model:
        free = {name: pm.Flat(name, initval=value) for name, value in params.items()}
        pds.Trajectory(
            "y",
            system,
            params=free,
            inputs=inputs,
            observed=panel[y],
            events=panel,
            likelihood=likelihood,
        )
    # One program gives both.
    (term,) = model.logp(vars=[model["y"]], sum=False)
    value, slope = model.compile_fn([term, model.dlogp(list(free.values()))])(params)
    return value, slope


def assert_met(case, found, loose=False, which=slice(None), name=""):
    """As the cases ask: 1e-7 nats and 1e-6 of the gradient; an adaptive solver less."""
    value, slope = found
    expected = getattr(case.out, f"loglik{name}")
    np.testing.assert_allclose(value.sum(), expected, atol=1e-4 if loose else 1e-7, rtol=0)
    expected = getattr(case.out, f"grad{name}")[which]
    np.testing.assert_allclose(slope, expected, rtol=1e-4 if loose else 1e-6, atol=1e-6)


def one_compartment(**options):
    return pds.ODE(
        states=("A",),
        drift=lambda A, k: -k * A,
        initial=(0.0,),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        **options,
    )


def oral(events="G", **options):
    return pds.ODE(
        states=("G", "A"),
        drift=lambda G, A, ka, k: (-ka * G, ka * G - k * A),
        initial=(0.0, 0.0),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events=events,
        **options,
    )


def test_d07_repeated_and_overlapping_infusions():
    """The third subject has a lag time, which does not exist: its dose is written out later."""
    case = load("D07")
    late = (case.ID == 3) & (case.EVID == 1)
    times = np.where(late, case.TIME + case.param_lag, case.TIME)
    panel = panel_of(case, TIME=times)
    first = panel["time"].min("visit")
    assert (panel["event_time"].min("event") > first).sel(subject=3)
    params = {name: value for name, value in params_of(case).items() if name != "lag"}
    value, slope = evaluate(one_compartment(), panel, params, likelihood=pds.Kalman())
    np.testing.assert_allclose(value, case.out.loglik_by_subject, atol=1e-7, rtol=0)
    np.testing.assert_allclose(slope, case.out.grad[[0, 1, 3]], rtol=1e-6)


def test_d09_a_bioavailability_for_each_formulation():
    """The input is that of the dose rows; repeats are written out, each with its own."""
    case = load("D09")
    rows = table_of(case)
    rows["FORM"] = rows["FORM"].where(rows["EVID"] == 1)
    roles = {"subject": "ID", "time": "TIME", "observed": "DV", "inputs": "FORM"}
    system = oral(pds.Dose("G", bioavailability=lambda FORM, F1, F2: jnp.where(FORM == 1, F1, F2)))
    panel = pds.panel(rows, **roles, events="nonmem")
    form, params = pds.Input(panel["FORM"], gaps="previous"), params_of(case)
    with pytest.raises(ValueError, match="at time 36 for subject=1 does depends on the input"):
        evaluate(system, panel, params, {"FORM": form}, pds.Kalman())
    repeats = rows[rows["ADDL"] == 1].assign(TIME=lambda t: t["TIME"] + t["II"])
    rows = pd.concat([rows, repeats], ignore_index=True).assign(ADDL=0.0, II=0.0)
    panel = pds.panel(rows, **roles, events="nonmem")
    form = pds.Input(panel["FORM"], gaps="previous")
    assert_met(case, evaluate(system, panel, params, {"FORM": form}, pds.Kalman()))


def test_d12_two_endpoints_in_one_column():
    case = load("D12")
    system = pds.ODE(
        states=("G", "A", "M"),
        drift=lambda G, A, M, ka, kp, fm, km: (-ka * G, ka * G - kp * A, fm * kp * A - km * M),
        initial=(0.0, 0.0, 0.0),
        observation=lambda A, M, Vp, Vm, sdp, sdm: dist.Normal(
            jnp.stack([A / Vp, M / Vm]), jnp.stack([sdp, sdm])
        ),
        events="G",
    )
    panel = panel_of(case, endpoint={"DVID": {1: "parent", 2: "metabolite"}})
    found = evaluate(system, panel, params_of(case), likelihood=pds.Kalman(), y="observed")
    assert_met(case, found)


BY_OCCASION = pds.ODE(
    states=("G", "A"),
    drift=lambda G, A, lka, lk, eka, ek: (
        -jnp.exp(lka + eka) * G,
        jnp.exp(lka + eka) * G - jnp.exp(lk + ek) * A,
    ),
    initial=(0.0, 0.0),
    observation=lambda A, lV, sd: dist.Normal(A / jnp.exp(lV), sd),
    events="G",
)


@pytest.mark.parametrize(
    "likelihood",
    [pds.Kalman(), pytest.param(pds.ODESolve(rtol=1e-9, atol=1e-9), marks=pytest.mark.slow)],
    ids=repr,
)
def test_d14_random_effects_of_occasions(likelihood):
    """Effects over subjects and occasions, looked up by the column OCC of all rows."""
    case = load("D14")
    panel = panel_of(case, ["OCC"])
    names = ("lka", "lk", "lV", "sd")
    with pm.Model(coords=pds.coords(panel) | {"occasion": [1, 2, 3]}) as model:
        free = {name: pm.Flat(name, initval=getattr(case, f"param_{name}")) for name in names}
        effects = {
            name: pm.Flat(
                name, initval=getattr(case, f"param_{name}"), dims=("subject", "occasion")
            )
            for name in ("eka", "ek")
        }
        pds.Trajectory(
            "y",
            BY_OCCASION,
            params=free,
            inputs={name: pds.Input(value, by=panel["OCC"]) for name, value in effects.items()},
            observed=panel["DV"],
            events=panel,
            likelihood=likelihood,
        )
    (term,) = model.logp(vars=[model["y"]], sum=False)
    variables = [*free.values(), *effects.values()]
    value, slope = model.compile_fn([term, model.dlogp(variables)])(model.initial_point())
    loose = not isinstance(likelihood, pds.Kalman)
    assert_met(case, (value, slope[:4]), loose)
    expected = np.concatenate([case.out.grad_eka.ravel(), case.out.grad_ek.ravel()])
    np.testing.assert_allclose(slope[4:], expected, rtol=1e-4 if loose else 1e-6, atol=1e-6)


@pytest.mark.slow
def test_d14_absorption_and_elimination_by_occasion():
    case = load("D14")
    at = (case.ID.astype(int) - 1, case.OCC.astype(int) - 1)
    panel = panel_of(case, ["eka", "ek"], eka=case.param_eka[at], ek=case.param_ek[at], OCC=None)
    params = {name: getattr(case, f"param_{name}") for name in ("lka", "lk", "lV", "sd")}
    inputs = {name: panel[name] for name in ("eka", "ek")}
    assert_met(case, evaluate(BY_OCCASION, panel, params, inputs, pds.Kalman()))


@pytest.mark.parametrize("rule", ["previous", "next"])
def test_d15_a_covariate_on_dose_rows_and_rows_of_kind_two(rule):
    case = load("D15")
    system = pds.ODE(
        states=("A",),
        drift=lambda A, CL, b, V, WT: -CL * (WT / 70) ** b / V * A,
        initial=(0.0,),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
    )
    panel = panel_of(case, "WT")
    inputs = {"WT": pds.Input(panel["WT"], rule)}
    found = evaluate(system, panel, params_of(case), inputs, pds.Kalman())
    assert_met(case, found, name="_nocb" if rule == "next" else "")


def test_d16_a_chain_of_transit_compartments():
    case = load("D16")

    def drift(states, MTT, ka, k):
        rate = 4 / MTT
        chain, G, A = states[:4], states[4], states[5]
        along = rate * (jnp.concatenate([jnp.zeros(1), chain[:-1]]) - chain)
        return jnp.concatenate([along, jnp.stack([rate * chain[3] - ka * G, ka * G - k * A])])

    system = pds.ODE(
        states=("a0", "a1", "a2", "a3", "G", "A"),
        drift=lambda a0, a1, a2, a3, G, A, MTT, ka, k: drift(
            jnp.stack([a0, a1, a2, a3, G, A]), MTT, ka, k
        ),
        initial=(0.0,) * 6,
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events="a0",
    )
    assert_met(case, evaluate(system, panel_of(case), params_of(case), likelihood=pds.Kalman()))


def test_d17_target_mediated_disposition():
    """The second dose lasts a unit of time whatever V is: its duration is given, not its rate."""
    case = load("D17")

    def drift(L, R, C, kel, kon, koff, kint, ksyn, kdeg):
        bound = kon * L * R - koff * C
        return -kel * L - bound, ksyn - kdeg * R - bound, bound - kint * C

    system = pds.ODE(
        states=("L", "R", "C"),
        drift=drift,
        initial=lambda ksyn, kdeg: (0.0, ksyn / kdeg, 0.0),
        observation=lambda L, R, C, sd1, sd2: dist.Normal(
            jnp.stack([L, R + C]), jnp.stack([sd1, sd2])
        ),
        events=pds.Dose("L", bioavailability=lambda V: 1 / V),
    )
    durations = np.divide(case.AMT, case.RATE, out=np.zeros_like(case.AMT), where=case.RATE > 0)
    panel = panel_of(case, endpoint="DVID", RATE=None, DUR=durations)
    solver = pds.ODESolve(rtol=1e-9, atol=1e-10)
    found = evaluate(system, panel, params_of(case), likelihood=solver, y="observed")
    assert_met(case, found, loose=True)


@pytest.mark.parametrize(
    "likelihood",
    [pds.Kalman(), pds.ODESolve(rtol=1e-10, atol=1e-10)],
)
def test_d22_order_of_the_file_at_one_time(likelihood):
    """The second subject's doses come two units late, and before the data of their time."""
    case = load("D22")
    rows = table_of(case)
    late = (rows["ID"] == 2) & (rows["EVID"] == 1)
    rows.loc[late, "TIME"] += 2.0
    roles = {"subject": "ID", "time": "TIME", "observed": "DV", "events": "nonmem"}
    panel = pds.panel(rows, **roles, ties="record")
    found = evaluate(one_compartment(), panel, params_of(case), likelihood=likelihood)
    assert_met(case, found)
    np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-7, rtol=0)
    with pytest.warns(UserWarning, match="ties='record'"):
        panel = pds.panel(rows, **roles)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xr_panel = pds.panel(rows, **roles, ties="data")
    assert panel.identical(xr_panel)
