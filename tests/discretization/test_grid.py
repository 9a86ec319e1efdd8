"""Times become gaps: starts, missing visits, repeated times, and the table of distinct gaps."""

import jax
import numpy as np
import pytest

import pymc_dynsys as pds
from pymc_dynsys.discretization import build_grid

NAN = np.nan


def gaps_through_table(grid):
    """Gaps as a filter finds them: by looking up the row of the table."""
    table = np.broadcast_to(
        grid.distinct_gaps, (*grid.gaps.shape[:-1], grid.distinct_gaps.shape[-1])
    )
    if grid.index is None:  # a row for every gap
        return table
    return np.take_along_axis(table, np.broadcast_to(grid.index, grid.gaps.shape), axis=-1)


def test_the_first_gap_is_zero_without_an_earlier_start():
    grid = build_grid(np.array([2.0, 2.5, 4.0]), NAN, pds.Exact())
    np.testing.assert_allclose(grid.gaps, [0.0, 0.5, 1.5])
    np.testing.assert_allclose(grid.starts, [2.0, 2.0, 2.5])


def test_the_first_gap_comes_from_an_earlier_start():
    grid = build_grid(np.array([2.0, 2.5]), 0.5, pds.Exact())
    np.testing.assert_allclose(grid.gaps, [1.5, 0.5])


def test_a_start_of_their_own_for_trajectories_that_share_times():
    grid = build_grid(np.array([[1.0, 2.0]]), np.array([0.0, 0.5, NAN]), pds.Exact())
    np.testing.assert_allclose(grid.gaps, [[1.0, 1.0], [0.5, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(gaps_through_table(grid), grid.gaps)


def test_repeated_times_are_gaps_of_zero():
    grid = build_grid(np.array([1.0, 1.0, 3.0, 3.0]), NAN, pds.EulerMaruyama(dt=0.5))
    np.testing.assert_allclose(grid.gaps, [0.0, 0.0, 2.0, 0.0])
    assert grid.max_steps == 4


def test_gaps_of_zero_take_as_many_steps_as_the_others_where_these_agree():
    even = build_grid(np.array([1.0, 1.0, 3.0, 5.0]), NAN, pds.EulerMaruyama(dt=0.5))
    assert not even.uneven
    np.testing.assert_array_equal(even.steps, 4)
    uneven = build_grid(np.array([1.0, 1.0, 3.0, 4.0]), NAN, pds.EulerMaruyama(dt=0.5))
    assert uneven.uneven
    np.testing.assert_array_equal(uneven.steps, [1, 1, 4, 2])


def test_missing_times_are_no_visit_wherever_they_stand():
    times = np.array(
        [[0.0, 1.0, 3.0, NAN], [NAN, 1.0, NAN, 2.5], [NAN, NAN, NAN, NAN], [5.0, NAN, NAN, NAN]]
    )
    grid = build_grid(times, NAN, pds.Exact())
    expected = [[0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.5], [0.0] * 4, [0.0] * 4]
    np.testing.assert_allclose(grid.gaps, expected)
    assert np.isfinite(grid.times).all()


def test_a_start_before_a_first_visit_that_is_missing():
    grid = build_grid(np.array([[NAN, 1.0, 2.0]]), 0.0, pds.Exact())
    np.testing.assert_allclose(grid.gaps.sum(), 2.0)
    np.testing.assert_allclose(grid.gaps[0, 2], 1.0)


def test_gaps_equal_but_for_rounding_share_a_row():
    times = np.linspace(0.0, 10.0, 101)
    assert np.unique(np.diff(times)).size > 1
    grid = build_grid(times, NAN, pds.Exact())
    assert grid.distinct_gaps.shape == (2,)
    np.testing.assert_allclose(gaps_through_table(grid), grid.gaps, atol=1e-14)


def test_gaps_that_all_differ_keep_their_own_rows():
    times = np.sort(np.random.default_rng(0).uniform(0, 10, size=(3, 7)), axis=-1)
    grid = build_grid(times, 0.0, pds.EulerMaruyama(dt=0.3))
    np.testing.assert_allclose(gaps_through_table(grid), grid.gaps, atol=1e-14)
    assert grid.max_steps == grid.steps.max() == np.ceil(grid.gaps.max() / 0.3)


def test_gaps_as_different_as_float32_times_are_kept_apart():
    times = np.linspace(0, 10, 101).astype(np.float32)
    grid = build_grid(times, NAN, pds.Exact())
    np.testing.assert_array_equal(
        gaps_through_table(grid), np.diff(times.astype(float), prepend=0.0)
    )


def test_times_far_from_zero_keep_small_gaps():
    times = 1.7e9 + np.array([0.0, 1e-3, 1.0])
    grid = build_grid(times, NAN, pds.Exact())
    np.testing.assert_array_equal(gaps_through_table(grid), np.diff(times, prepend=times[0]))


def test_traced_times_give_the_gaps_of_known_ones():
    times = np.array([[0.0, 1.0, 3.0, NAN], [NAN, 1.0, NAN, 2.5]])
    traced = jax.jit(lambda t: build_grid(t, NAN, pds.Exact()).gaps)(times)
    np.testing.assert_allclose(traced, build_grid(times, NAN, pds.Exact()).gaps)


def test_traced_times_cannot_be_cut_into_steps():
    with pytest.raises(ValueError, match=r"EulerMaruyama\(dt=0.1\).*freeze_dims_and_data"):
        jax.jit(lambda t: build_grid(t, NAN, pds.EulerMaruyama(dt=0.1)).gaps)(np.arange(3.0))


@pytest.mark.parametrize("scheme", [pds.EulerMaruyama, pds.LocalLinearization])
def test_substeps(scheme):
    gaps = np.array([0.0, 0.05, 0.1, 0.1 + 0.2, 0.31])
    np.testing.assert_array_equal(scheme(dt=0.1).substeps(gaps), [1, 1, 1, 3, 4])
    np.testing.assert_array_equal(scheme().substeps(gaps), 1)
    with pytest.raises(ValueError, match="dt: expected a positive number or None"):
        scheme(dt=0.0)
    with pytest.raises(ValueError, match="dt: expected a positive number or None"):
        scheme(dt=np.inf)
