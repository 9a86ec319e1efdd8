"""Batch axes come from names, never from lengths.

Subjects, groups, sites, states, components, visits and the entries of shared vectors all number
three, so that whatever guesses from a shape guesses wrong. The yardstick is a plain loop over
single trajectories, each of which is handed its own slice of every parameter.
"""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pymc.dims as pmd
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.ensemble.noise import draw_noise
from tests import dense
from tests.bridge.evaluate import Param, assert_same, evaluate, loop

N = 3
LABELS = {
    "site": ["x", "y", "z"],
    "group": ["g1", "g2", "g3"],
    "subject": ["ann", "bob", "cal"],
    "state": ["s1", "s2", "s3"],
    "twin": ["s1", "s2", "s3"],
    "time": [0.0, 0.4, 1.1],
    "component": ["c1", "c2", "c3"],
}
SIZES = dict.fromkeys(LABELS, N)
TIMES = np.array(LABELS["time"])
PANELS = {
    "two levels": ("subject",),
    "three levels": ("group", "subject"),
    "four levels": ("site", "group", "subject"),
}


def linear_drift(x, rate, target, coupling):
    return 0.2 * coupling @ x - rate * x + target


def nonlinear_drift(x, rate, target, coupling):
    return 0.2 * jnp.tanh(coupling @ x) - rate * x + target


def scalar_law(x, sd):
    return dist.Normal(x[0] - 0.5 * x[2], sd)


def vector_law(x, sd):
    return dist.Normal(jnp.array([x[1], x[0] + x[2], x[2]]), sd)


SYSTEMS = {
    (role, kind): (
        pds.ODE(drift, law, initial=jnp.array([0.5, -0.2, 0.1]))
        if role == "ODESolve"
        else pds.SDE(
            drift,
            diffusion=jnp.array([0.3, 0.5, 0.2]),
            observation=law,
            initial=dist.Normal(jnp.array([0.5, -0.2, 0.1]), 0.7),
        )
    )
    for role, drift in (
        ("Kalman", linear_drift),
        ("Kalman of the Euler chain", linear_drift),
        ("EKF", nonlinear_drift),
        ("EnKF", nonlinear_drift),
        ("ODESolve", nonlinear_drift),
    )
    for kind, law in (("scalar", scalar_law), ("vector", vector_law))
}
LIKELIHOODS = {
    "Kalman": pds.Kalman(),
    "Kalman of the Euler chain": pds.Kalman(pds.EulerMaruyama(dt=None)),
    "EKF": pds.EKF(pds.EulerMaruyama(dt=0.5)),
    "EnKF": pds.EnKF(ensemble_size=7, discretization=pds.EulerMaruyama(dt=0.5)),
    "ODESolve": pds.ODESolve(),
}
ROLES = ("Kalman", "EKF", "EnKF", "ODESolve")

SCALARS = {
    "two levels": [(), ("subject",)],
    "three levels": [(), ("subject",), ("group",), ("group", "subject"), ("subject", "group")],
    "four levels": [(), ("group",), ("subject", "site")],
}
VECTORS = {
    "two levels": [
        (None,),
        ("state",),
        ("group",),
        ("subject", "state"),
        ("state", "subject"),
        ("group", "subject"),
    ],
    "three levels": [
        (None,),
        ("state",),
        ("site",),
        ("group", "state"),
        ("state", "subject", "group"),
        ("group", "subject", "site"),
    ],
    "four levels": [(None,), ("subject", "state"), ("site", "twin", "subject", "group")],
}
MATRICES = {
    "two levels": [(None, None), ("state", "twin"), ("twin", "subject", "state")],
    "three levels": [(None, None), ("state", "group", "twin")],
    "four levels": [("state", "twin", "site")],
}


def draw_params(rate: Any, target: Any, coupling: Any) -> dict[str, Param]:
    rng = np.random.default_rng(7)
    dims = {"rate": rate, "target": target, "coupling": coupling, "sd": ()}
    return {name: Param.draw(rng, d, SIZES, N) for name, d in dims.items()}


def draw_data(batch: tuple[str, ...], kind: str, missing: bool = False) -> np.ndarray:
    rng = np.random.default_rng(11)
    y = rng.normal(size=(*(SIZES[dim] for dim in batch), N, N if kind == "vector" else 1))
    if missing:
        y[..., 1:, :][rng.uniform(size=y[..., 1:, :].shape) < 0.3] = np.nan
    return y if kind == "vector" else y[..., 0]


def dims_of(batch: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return (*batch, "time", *(("component",) if kind == "vector" else ()))


def free(name: str, param: Param) -> Any:
    """A PyMC variable with the dims of the parameter; an axis without a name has none."""
    if None in param.dims:
        return pm.Normal(name, 1.0, 0.1, shape=param.values.shape)
    return pm.Normal(name, 1.0, 0.1, dims=param.dims or None)


def panel_model(
    role: str, kind: str, batch: tuple[str, ...], params: dict[str, Param], y: Any, make: Any = free
) -> pm.Model:
    with pm.Model(coords=LABELS) as model:
        values = {name: make(name, param) for name, param in params.items()}
        pds.Trajectory(
            "y",
            SYSTEMS[role, kind],
            params=values,
            observed=y,
            dims=dims_of(batch, kind),
            likelihood=LIKELIHOODS[role],
        )
    return model


def compare(
    role: str, kind: str, panel: str, params: dict[str, Param], missing: bool = False
) -> None:
    batch = PANELS[panel]
    y = draw_data(batch, kind, missing)
    model = panel_model(role, kind, batch, params, y)
    expected = loop(
        SYSTEMS[role, kind],
        LIKELIHOODS[role],
        params,
        y,
        TIMES,
        {dim: SIZES[dim] for dim in batch},
    )
    got = evaluate(model, {name: param.values for name, param in params.items()})
    assert got.log_likelihood.shape == (N,) * len(batch)
    assert set(got.gradient) == set(params)
    assert_same(got, expected)


def some_placements(panel: str) -> list[tuple[Any, Any, Any]]:
    """Each placement of each parameter at least once."""
    longest = max(len(SCALARS[panel]), len(VECTORS[panel]), len(MATRICES[panel]))
    return [
        tuple(kinds[panel][i % len(kinds[panel])] for kinds in (SCALARS, VECTORS, MATRICES))
        for i in range(longest)
    ]


def all_placements() -> list[tuple[str, Any, Any, Any]]:
    return [
        (panel, *placement)
        for panel in PANELS
        for placement in product(SCALARS[panel], VECTORS[panel], MATRICES[panel])
    ]


def words(value: Any) -> str | None:
    """Readable test names for tuples of dims."""
    if not isinstance(value, tuple):
        return None
    return "+".join("unnamed" if dim is None else dim for dim in value) or "shared"


RICH = {
    "rate": ("subject", "group"),
    "target": ("state", "subject"),
    "coupling": ("group", "twin", "state"),
}
"""Dims in another order than the panel's, and a batch dim in front of two own ones."""


@pytest.mark.parametrize(
    ("panel", "rate", "target", "coupling"),
    [
        pytest.param(
            panel,
            *placement,
            # Panels of two and four levels are read like those of three; one of each suffices.
            marks=() if panel == "three levels" or i == 1 else pytest.mark.slow,
        )
        for panel in PANELS
        for i, placement in enumerate(some_placements(panel))
    ],
    ids=words,
)
def test_every_placement_of_a_parameter_is_the_loop_over_subjects(panel, rate, target, coupling):
    params = draw_params(rate, target, coupling)
    compare("Kalman of the Euler chain", "vector", panel, params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "panel", "rate", "target", "coupling"),
    [
        (role, *placement)
        for role in ROLES
        for placement in all_placements()[:: 1 if role == "Kalman" else 7]
    ],
    ids=words,
)
def test_all_placements_together_are_the_loop_over_subjects(role, panel, rate, target, coupling):
    compare(role, "scalar", panel, draw_params(rate, target, coupling), missing=True)


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("Kalman", "vector"),
        pytest.param("EKF", "scalar", marks=pytest.mark.slow),
        ("EnKF", "vector"),
        pytest.param("ODESolve", "scalar", marks=pytest.mark.slow),
    ],
)
def test_each_likelihood_is_the_loop_over_subjects_with_missing_data(role, kind):
    compare(role, kind, "three levels", draw_params(**RICH), missing=True)


@pytest.mark.parametrize("target", [(None,), ("state",), ("subject",)], ids=words)
def test_one_subject_without_batch_dims_keeps_every_axis_for_the_function(target):
    params = draw_params((), target, (None, None))
    y = draw_data((), "vector")
    role = "Kalman of the Euler chain"
    model = panel_model(role, "vector", (), params, y)
    got = evaluate(model, {name: param.values for name, param in params.items()})
    assert got.log_likelihood.shape == ()
    own = {name: Param(param.values, (None,) * len(param.dims)) for name, param in params.items()}
    assert_same(got, loop(SYSTEMS[role, "vector"], LIKELIHOODS[role], own, y, TIMES, {}))


@pytest.mark.slow
def test_a_panel_is_a_model_for_each_subject():
    role, params = "Kalman", draw_params(("subject",), ("state", "subject"), (None, None))
    y = draw_data(("subject",), "scalar", missing=True)
    together = evaluate(
        panel_model(role, "scalar", ("subject",), params, y),
        {name: param.values for name, param in params.items()},
    )
    for i in range(N):
        own = {name: Param(param.of({"subject": i})) for name, param in params.items()}
        own = {name: Param(p.values, (None,) * p.values.ndim) for name, p in own.items()}
        alone = evaluate(
            panel_model(role, "scalar", (), own, y[i]),
            {name: param.values for name, param in own.items()},
        )
        np.testing.assert_allclose(
            together.log_likelihood[i],
            alone.log_likelihood,
            rtol=1e-10,
            err_msg=LABELS["subject"][i],
        )
        weight = 1.0 + 0.25 * i
        np.testing.assert_allclose(
            together.gradient["target"][:, i], weight * alone.gradient["target"], rtol=1e-9
        )


def test_likelihoods_of_a_panel_are_those_of_a_dense_gaussian():
    role, kind, batch = "Kalman", "vector", ("group", "subject")
    params = draw_params(**RICH)
    y = draw_data(batch, kind, missing=True)
    got = evaluate(
        panel_model(role, kind, batch, params, y),
        {name: param.values for name, param in params.items()},
    )
    H = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    for g, s in np.ndindex(N, N):
        own = {name: p.of({"group": g, "subject": s}) for name, p in params.items()}
        system = dense.LinearSystem(
            A=0.2 * own["coupling"] - own["rate"] * np.eye(N),
            c=own["target"],
            L=np.diag([0.3, 0.5, 0.2]),
            H=H,
            d=np.zeros(N),
            R=own["sd"] ** 2 * np.eye(N),
            m0=np.array([0.5, -0.2, 0.1]),
            P0=0.7**2 * np.eye(N),
        )
        expected = dense.log_likelihood(system, y[g, s], TIMES)
        np.testing.assert_allclose(got.log_likelihood[g, s], expected, rtol=1e-10)


# How a parameter may arrive ------------------------------------------------------------------


def shuffled(dims: tuple[str, ...], values: np.ndarray) -> xr.DataArray:
    """The same labelled values in another order."""
    array = xr.DataArray(values, dims=dims, coords={dim: LABELS[dim] for dim in dims})
    return array.isel({dim: [2, 0, 1] for dim in dims})


def as_xarray(name: str, param: Param) -> Any:
    return shuffled(param.dims, param.values)


def as_xarray_without_labels(name: str, param: Param) -> Any:
    return xr.DataArray(param.values, dims=param.dims)


def as_data(name: str, param: Param) -> Any:
    return pm.Data(name, param.values, dims=param.dims or None)


def as_deterministic(name: str, param: Param) -> Any:
    raw = pm.Normal(f"{name}_raw", 1.0, 1.0, shape=param.values.shape)
    return pm.Deterministic(name, raw + 0.0, dims=param.dims or None)


def as_dims_variable(name: str, param: Param) -> Any:
    return pmd.Normal(name, 1.0, 0.1, dims=param.dims)


def as_dims_expression(name: str, param: Param) -> Any:
    return 1.0 * pmd.Normal(f"{name}_raw", 1.0, 1.0, dims=param.dims)


def as_dims_data(name: str, param: Param) -> Any:
    return pmd.Data(name, param.values, dims=param.dims)


TWO = ("group", "subject")


@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (as_xarray, TWO),
        pytest.param(as_xarray, ("subject",), marks=pytest.mark.slow),
        (as_xarray_without_labels, TWO),
        (as_data, TWO),
        (as_deterministic, TWO),
        pytest.param(as_deterministic, ("subject",), marks=pytest.mark.slow),
        (as_dims_variable, TWO),
        (as_dims_expression, TWO),
        (as_dims_data, TWO),
    ],
)
def test_named_dims_are_read_from_whatever_carries_them(make, batch):
    role = "Kalman of the Euler chain"
    placements = RICH if "group" in batch else {**RICH, "rate": ("subject",)}
    params = draw_params(**placements)
    if "group" not in batch:
        params["coupling"] = Param(params["coupling"].values[0], ("twin", "state"))
    y = draw_data(batch, "vector")

    def carry(name: str, param: Param) -> Any:
        return free(name, param) if name == "sd" else make(name, param)

    model = panel_model(role, "vector", batch, params, y, carry)
    point = {
        variable.name: params[variable.name.removesuffix("_raw")].values
        for variable in model.free_RVs
    }
    # What is data has no gradient, and that of other parameters is asked for elsewhere.
    varied = make in (as_deterministic, as_dims_variable, as_dims_expression)
    got = evaluate(model, point, slopes=varied)
    lengths = {dim: SIZES[dim] for dim in batch}
    expected = loop(SYSTEMS[role, "vector"], LIKELIHOODS[role], params, y, TIMES, lengths)
    expected.gradient.update({f"{name}_raw": g for name, g in expected.gradient.items()})
    assert_same(got, expected)


@pytest.mark.parametrize("make", [np.asarray, jnp.asarray, lambda values: values.tolist()])
def test_a_plain_array_as_long_as_the_panel_is_shared(make):
    role, params = "Kalman of the Euler chain", draw_params((), (None,), (None, None))
    y = draw_data(("subject",), "vector")

    def carry(name: str, param: Param) -> Any:
        return free(name, param) if name in ("sd", "rate") else make(param.values)

    got = evaluate(
        panel_model(role, "vector", ("subject",), params, y, carry),
        {name: params[name].values for name in ("sd", "rate")},
    )
    lengths = {"subject": N}
    assert_same(got, loop(SYSTEMS[role, "vector"], LIKELIHOODS[role], params, y, TIMES, lengths))


# Ensembles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [2, 9])
def test_noise_of_a_trajectory_depends_on_the_seed_and_its_position_alone(n_steps):
    shape = (4, n_steps, 7, 3, 3, 3)
    alone, flat, panel = (
        jax.tree.leaves(draw_noise(5, batch, *shape)) for batch in ((), (N * N,), (N, N))
    )
    for one, many, square in zip(alone, flat, panel, strict=True):
        np.testing.assert_array_equal(one, many[:, 0])
        np.testing.assert_array_equal(many.reshape(square.shape), square)
        assert np.abs(many[:, 0] - many[:, 1]).max() > 0.1


def test_an_ensemble_is_the_same_whether_parameters_are_shared_or_repeated():
    batch, y = ("group", "subject"), draw_data(("group", "subject"), "vector", missing=True)
    shared = draw_params((), (None,), (None, None))
    repeated = {
        "rate": Param(np.full((N, N), shared["rate"].values), batch),
        "target": Param(np.tile(shared["target"].values, (N, 1)), ("group", "state")),
        "coupling": Param(np.tile(shared["coupling"].values, (N, 1, 1)), ("subject", None, None)),
        "sd": shared["sd"],
    }
    repeated["coupling"] = Param(repeated["coupling"].values, ("subject", "state", "twin"))
    one, other = (
        evaluate(
            panel_model("EnKF", "vector", batch, params, y),
            {name: param.values for name, param in params.items()},
        )
        for params in (shared, repeated)
    )
    np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-10)
    sums = {"rate": (0, 1), "target": (0,), "coupling": (0,), "sd": ()}
    for name, axes in sums.items():
        np.testing.assert_allclose(
            one.gradient[name], other.gradient[name].sum(axes), rtol=1e-9, atol=1e-9, err_msg=name
        )


# Times ---------------------------------------------------------------------------------------

NAN = np.nan
RAGGED = np.array([[0.0, 0.4, 1.1], [0.2, 0.3, NAN], [-1.0, NAN, 2.5]])
STARTS = np.array([-0.5, NAN, -1.0])


def ragged_case() -> tuple[dict[str, Param], np.ndarray]:
    params = draw_params(("subject",), (None,), (None, None))
    y = draw_data(("subject",), "vector")
    y[np.isnan(RAGGED)] = NAN
    return params, y


def times_model(params: dict[str, Param], role: str = "EKF", **arguments: Any) -> pm.Model:
    with pm.Model(coords=LABELS) as model:
        values = {name: free(name, param) for name, param in params.items()}
        pds.Trajectory(
            "y",
            SYSTEMS[role, "vector"],
            params=values,
            likelihood=LIKELIHOODS[role],
            **{"dims": ("subject", "time", "component"), **arguments},
        )
    return model


def labelled(values: np.ndarray, order: list[int], **coords: Any) -> xr.DataArray:
    """By subject, in another order, with the labels that say so."""
    names = ("subject", "time", "component")[: values.ndim]
    known = {"subject": LABELS["subject"], **coords}
    return xr.DataArray(values, dims=names, coords=known).isel(subject=order)


@pytest.mark.parametrize(
    ("role", "how"),
    [
        # How times arrive has nothing to do with the likelihood.
        ("Kalman", "arrays"),
        ("EnKF", "arrays"),
        pytest.param("EKF", "arrays", marks=pytest.mark.slow),
        pytest.param("ODESolve", "arrays", marks=pytest.mark.slow),
        ("EKF", "labelled times"),
        ("EKF", "labelled data"),
        ("EKF", "data variables"),
    ],
)
def test_each_subject_has_its_own_times_and_start(role, how):
    params, y = ragged_case()
    if how == "arrays":
        model = times_model(params, role, observed=y, times=RAGGED, t0=STARTS)
    elif how == "labelled times":
        model = times_model(
            params,
            role,
            observed=y,
            times=labelled(RAGGED, [1, 2, 0]).transpose("time", "subject"),
            t0=labelled(STARTS, [2, 0, 1]),
        )
    elif how == "labelled data":
        data = labelled(y, [2, 1, 0]).assign_coords(
            visit_time=(("subject", "time"), RAGGED[[2, 1, 0]]), component=LABELS["component"]
        )
        data = data.rename(visit_time="time_of_visit").transpose("component", "time", "subject")
        data = data.drop_vars("time_of_visit").rename(time="visit")
        data = data.assign_coords(time=(("subject", "visit"), RAGGED[[2, 1, 0]]))
        model = times_model(
            params, role, observed=data, t0=STARTS, dims=("subject", "visit", "component")
        )
    else:
        with pm.Model(coords=LABELS) as model:
            values = {name: free(name, param) for name, param in params.items()}
            times = pm.Data(
                "times", np.where(np.isnan(RAGGED), -9.0, RAGGED), dims=("subject", "time")
            )
            times.set_value(RAGGED)
            pds.Trajectory(
                "y",
                SYSTEMS[role, "vector"],
                params=values,
                observed=pds.data("y_data", y, dims=("subject", "time", "component")),
                times=times,
                t0=pm.Data("t0", np.array([-0.5, 0.2, -1.0]), dims="subject"),
                dims=("subject", "time", "component"),
                likelihood=LIKELIHOODS[role],
            )
    got = evaluate(model, {name: param.values for name, param in params.items()})
    expected = loop(
        SYSTEMS[role, "vector"], LIKELIHOODS[role], params, y, RAGGED, {"subject": N}, STARTS
    )
    assert_same(got, expected)
    # A subject's visits alone, without the padding, give the same number.
    short = y[1:2, :2], RAGGED[1:2, :2]
    own = {name: Param(p.of({"subject": 1})) for name, p in params.items()}
    own = {name: Param(p.values, (None,) * p.values.ndim) for name, p in own.items()}
    if role != "EnKF":
        alone = loop(SYSTEMS[role, "vector"], LIKELIHOODS[role], own, *short, {"subject": 1})
        np.testing.assert_allclose(got.log_likelihood[1], alone.log_likelihood[0], rtol=1e-9)


@pytest.mark.parametrize("transpose", [False, True])
def test_observed_labels_in_another_order_are_matched_by_label(transpose):
    params = draw_params(("subject",), ("state", "subject"), (None, None))
    y = draw_data(("subject",), "vector")
    data = xr.DataArray(
        y,
        dims=("subject", "time", "component"),
        coords={d: LABELS[d] for d in ("subject", "time", "component")},
    ).isel(subject=[1, 2, 0], time=[0, 2, 1])
    if transpose:
        data = data.transpose("component", "subject", "time")
    role = "Kalman of the Euler chain"
    got = evaluate(
        times_model(params, role, observed=data),
        {name: param.values for name, param in params.items()},
    )
    assert_same(
        got, loop(SYSTEMS[role, "vector"], LIKELIHOODS[role], params, y, TIMES, {"subject": N})
    )


def test_dims_and_coords_that_the_model_lacks_come_from_the_data():
    y = draw_data(("subject",), "scalar")
    data = xr.DataArray(y, dims=("subject", "time"), coords={"subject": [4, 7, 9], "time": TIMES})
    with pm.Model() as model:
        level = pds.SDE(
            drift=lambda x, mu: mu - x,
            diffusion=1.0,
            initial=dist.Normal(0.0, 1.0),
            observation=lambda x: dist.Normal(x[0], 0.3),
        )
        mu = pm.Normal("mu", 0, 1)
        pds.Trajectory("y", level, params={"mu": mu}, observed=data)
    assert model.named_vars_to_dims["y"] == ("subject", "time")
    assert list(model.coords["subject"]) == [4, 7, 9]
    assert list(model.coords["time"]) == list(TIMES)
