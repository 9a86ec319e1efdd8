"""Random panels of every shape: each answer of the library is that of one dense normal.

The fast form takes a few classes. ``pytest tests/random_cases -m slow`` takes 60 of them, each with
a panel at 168 points: 10,080 cases. Most of the time goes to the programs of a panel, which all its
points share.
"""

from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytensor
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import pymc_dynsys as pds
from tests.inference.posteriors import posterior
from tests.random_cases import referee
from tests.random_cases.cases import MUTATIONS, Numbers, numbers, other_point, trajectory
from tests.random_cases.models import Presentation, Writer, model_of, param_dims, written
from tests.random_cases.shapes import Shape, chosen

TOLERANCE = 1e-6
N_GRADIENTS, N_DRAWS = 2, 60
FEW_CLASSES, FEW_POINTS = 1, 16
CLASSES, POINTS = 60, 168
Expected = dict[tuple[int, ...], referee.Answers]
NAMES = ["ada", "bob", "10", "9", "Zoe", "b b", "é"]


@st.composite
def cases(draw: Any, shape: Shape) -> tuple[Numbers, Presentation]:
    """Numbers and how they are written."""
    labels = {
        dim: draw(st.permutations(NAMES))[:n]
        for dim, n in zip(shape.batch_dims, shape.batch, strict=True)
    }
    order = {dim: draw(st.permutations(range(len(names)))) for dim, names in labels.items()}
    values = numbers(
        shape, labels, draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0.0, 0.3, 0.8]))
    )
    how = Presentation(
        order,
        draw(st.randoms(use_true_random=False)),
        draw(st.sampled_from(MUTATIONS)),
        draw(st.sampled_from(["argument", "coordinate"])),
    )
    return values, how


def check(shape: Shape, values: Numbers, how: Presentation, n_points: int, folder: Any) -> None:
    """All answers of the library, beside those of the referee, at several points of a panel."""
    model, free = model_of(shape, values, how)
    keeps = "sd" not in free
    points = [values, *(other_point(shape, values, k, keeps) for k in range(1, n_points))]
    expected = [
        {i: referee.answers(trajectory(shape, point, i)) for i in np.ndindex(*shape.batch)}
        for point in points
    ]
    check_values(shape, how, model, free, points, expected)
    check_results(shape, how, model, draws_of(shape, points, how, free, folder), points, expected)
    many = draws_of(shape, [values] * N_DRAWS, how, free, folder)
    check_forecasts(shape, model, many, values, expected[0])


def check_values(
    shape: Shape,
    how: Presentation,
    model: Any,
    free: dict[str, Any],
    points: list[Numbers],
    expected: list[Expected],
) -> None:
    """Log-likelihoods at all points, and gradients at the first ones."""
    variables = [model.rvs_to_values[model[name]] for name in free]
    (logp,) = model.logp(vars=[model["y"]], sum=False)
    function = pytensor.function(
        variables, [logp.sum(), *pytensor.grad(logp.sum(), variables)], on_unused_input="ignore"
    )
    for k, (point, of_trajectory) in enumerate(zip(points, expected, strict=True)):
        found = written(shape, point, how, free)
        total, *slopes = function(*(found[name][1] for name in free))
        close(total, sum(e.total for e in of_trajectory.values()), "log-likelihood")
        for name, slope in zip(free, slopes if k < N_GRADIENTS else [], strict=k < N_GRADIENTS):
            own = param_dims(shape, name)
            slope = slope if free[name] == own else slope.T
            for axis, dim in enumerate(own):
                slope = np.take(slope, np.argsort(how.order[dim]), axis=axis)
            close(slope, differences(shape, point, name), f"gradient of {name}")


def labels_of(shape: Shape, values: Numbers, index: tuple[int, ...]) -> dict[str, str]:
    """Labels of one trajectory."""
    return {d: values.labels[d][k] for d, k in zip(shape.batch_dims, index, strict=True)}


def check_results(
    shape: Shape,
    how: Presentation,
    model: Any,
    idata: Any,
    points: list[Numbers],
    expected: list[Expected],
) -> None:
    """Log-likelihoods of data and moments of states, by label, at all points."""
    each = pds.log_likelihood(idata, model=model, progressbar=False).log_likelihood["y"]
    moments = pds.sample_states(idata, model=model, moments=True, progressbar=False)
    mean, cov = moments.posterior["mean"], moments.posterior["covariance"]
    for draw, (point, of_trajectory) in enumerate(zip(points, expected, strict=True)):
        for index, e in of_trajectory.items():
            labels = labels_of(shape, point, index)
            at = {"chain": 0, "draw": draw}
            own = each.sel(at)
            for dim, label in labels.items():
                own = own.isel(datum=np.flatnonzero(own[dim].values == label))
            close(own.values, e.by_datum[np.isfinite(e.by_datum)], f"data of {labels}")
            there = np.flatnonzero(np.isfinite(point.times[index]))
            means = mean.sel({**at, **labels}).values
            close(means[there], e.means, f"means of {labels}")
            close(cov.sel({**at, **labels}).values[there], e.covs, f"covariances of {labels}")
            assert np.isnan(np.delete(means, there, axis=0)).all()


def check_forecasts(shape: Shape, model: Any, idata: Any, values: Numbers, of: Expected) -> None:
    """Means and spread of many futures at one point."""
    future = pds.forecast(
        idata, model=model, times=values.future, random_seed=1, progressbar=False
    ).predictions
    for index, e in of.items():
        labels, H = labels_of(shape, values, index), trajectory(shape, values, index).H
        paths = future["states"].sel(labels).values[0]
        y = future["y"].sel(labels).values[0].reshape(N_DRAWS, len(values.future), -1)
        sd = np.sqrt(np.maximum(np.einsum("kii->ki", e.future_covs), 0.0))
        within(paths.mean(0), e.future_means, sd, f"forecast states of {labels}")
        sd_y = np.sqrt(np.einsum("oi,kij,oj->ko", H, e.future_covs, H) + values.sd[index] ** 2)
        within(y.mean(0), e.future_y_means, sd_y, f"forecast data of {labels}")
        ratio = y.std(0, ddof=1) / sd_y
        assert (np.abs(np.log(ratio)) < 0.8).all(), f"spread of forecasts of {labels}"


def differences(shape: Shape, values: Numbers, name: str, step: float = 1e-3) -> np.ndarray:
    """Fourth-order differences of the referee's log-likelihood, in canonical order."""

    def total(moved: Numbers, indices: list[tuple[int, ...]]) -> float:
        return sum(referee.answers(trajectory(shape, moved, i)).total for i in indices)

    value = getattr(values, name)
    everyone = list(np.ndindex(*shape.batch))
    shared = not param_dims(shape, name)
    slopes = np.zeros(() if shared else shape.batch)
    for index in [()] if shared else everyone:
        affected = everyone if shared else [index]
        at = []
        for shift in (-2, -1, 1, 2):
            moved = value.copy()
            moved[... if shared else index] += shift * step
            at.append(total(replace(values, **{name: moved}), affected))
        slopes[index] = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * step)
    return slopes


def draws_of(
    shape: Shape, points: list[Numbers], how: Presentation, free: dict[str, Any], folder: Any
) -> Any:
    """One draw a point, shuffled by label or saved where the case says so."""
    found = [written(shape, point, how, free) for point in points]
    draws = {name: (free[name], np.stack([f[name][1] for f in found])) for name in free}
    own = {dim for dims in free.values() for dim in dims}
    coords = {dim: list(Writer(shape, points[0], how).coords[dim]) for dim in sorted(own)}
    idata = posterior(draws, len(points), **coords)
    if how.mutation == "permuted_draws":
        data = idata["posterior"].dataset
        for dim in coords:
            index = list(range(data.sizes[dim]))
            how.shuffle.shuffle(index)
            data = data.isel({dim: index})
        idata = xr.DataTree.from_dict({"posterior": data.isel(draw=slice(None, None, -1))})
    if how.mutation == "saved":
        path = folder / f"{len(points)}.nc"
        idata.to_netcdf(path)
        with xr.open_datatree(path) as file:
            idata = file.load()
    return idata


def close(got: Any, wanted: Any, what: str) -> None:
    """Equal but for the tolerance, relative to the largest number if that is above one."""
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE * scale, err_msg=what)


def within(got: np.ndarray, wanted: np.ndarray, sd: np.ndarray, what: str) -> None:
    """A mean of draws within six of its standard errors; numbers without spread are equal."""
    allowed = TOLERANCE * np.maximum(1.0, np.abs(wanted)) + 6.5 * sd / np.sqrt(N_DRAWS)
    assert (np.abs(got - wanted) <= allowed).all(), f"{what}: {got} beside {wanted}, sd {sd}"


def run(shape: Shape, n_points: int, folder: Any) -> None:
    """A panel of a class, at so many points."""
    panels = count()

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(shape))
    def every(case: tuple[Numbers, Presentation]) -> None:
        # Hypothesis begins with the simplest case: nothing is permuted, missing or changed.
        if next(panels):
            check(shape, *case, n_points, folder)

    every()
    assert next(panels) > 1


@pytest.mark.parametrize("shape", chosen(FEW_CLASSES), ids=str)
def test_a_few_random_cases(shape: Shape, tmp_path: Any) -> None:
    run(shape, FEW_POINTS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shape", chosen(CLASSES), ids=str)
def test_many_random_cases(shape: Shape, tmp_path: Any) -> None:
    run(shape, POINTS, tmp_path)
