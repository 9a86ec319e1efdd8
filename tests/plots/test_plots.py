"""Pictures on two backends: what is drawn, where, and under which names."""

import arviz as az
import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

NAN = np.nan
SUBJECTS = ["a", "b", "c"]
TIMES = np.array([[0.0, 1.0, 2.0, 4.0], [0.5, 3.0, NAN, NAN], [1.0, 2.0, 3.0, NAN]])
Y = np.array([[0.1, 0.4, NAN, 0.2], [1.0, 0.7, NAN, NAN], [0.0, 0.1, 0.2, NAN]])
GRID = np.linspace(0.0, 6.0, 13)


@pytest.fixture(scope="module")
def model():
    system = pds.SDE(
        states=("position", "speed"),
        drift=lambda position, speed, k: (speed, -k * position - speed),
        diffusion=(0.0, 0.5),
        initial=dist.Normal(np.zeros(2), 1.0),
        observation=lambda position: dist.Normal(position, 0.2),
    )
    with pm.Model(coords={"subject": SUBJECTS, "visit": range(4)}) as model:
        params = {"k": pm.HalfNormal("k", dims="subject")}
        dims = ("subject", "visit")
        pds.Trajectory("y", system, params=params, observed=Y, times=TIMES, t0=0.0, dims=dims)
    return model


IDATA = posterior(
    {"k": (("subject",), np.random.default_rng(0).gamma(2.0, 1.0, (40, 3)))}, 40, subject=SUBJECTS
)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def axes(pc):
    return np.ravel(pc.viz["plot"].values)


@pytest.mark.parametrize("times", [None, GRID])
def test_each_subject_and_state_has_its_picture(model, times):
    states = pds.sample_states(IDATA, model=model, times=times, random_seed=1)
    pc = pds.plot_trajectories(states, backend="matplotlib", col_wrap=2)
    assert dict(pc.viz["plot"].sizes) == {"subject": 3, "state": 2}
    titles = [ax.get_title() for ax in axes(pc)]
    assert titles[:3] == ["a, position", "a, speed", "b, position"]
    assert [ax.get_xlabel() for ax in axes(pc)] == ["", "", "", "", "time", "time"]
    first = axes(pc)[0]
    expected = TIMES[0] if times is None else GRID
    np.testing.assert_allclose(first.lines[0].get_xdata(), expected)
    middle = states.posterior["states"].median(("chain", "draw")).values[0, :, 0]
    np.testing.assert_allclose(first.lines[0].get_ydata(), middle)
    assert len(first.collections) == 2, "two bands, and no data, which are of no single state"


def test_data_are_laid_over_their_predictions(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    pc = pds.plot_forecast(future, backend="matplotlib", coords={"subject": ["a", "c"]})
    assert dict(pc.viz["plot"].sizes) == {"subject": 2}
    points = axes(pc)[0].collections[0].get_offsets()
    seen = ~np.isnan(np.ma.filled(points, NAN)).any(1)
    np.testing.assert_allclose(points[seen], np.array([TIMES[0], Y[0]]).T[~np.isnan(Y[0])])
    low = axes(pc)[1].collections[1].get_paths()[0].vertices[:, 0].min()
    assert low >= 3.0, "nothing is forecast before the last datum"
    ends = [line.get_xdata()[0] for line in axes(pc)[1].lines if len(set(line.get_xdata())) == 1]
    assert ends == [3.0]
    without = pds.plot_forecast(
        future, backend="matplotlib", visuals={"last_time": False, "band": False, "observed": False}
    )
    assert not axes(without)[0].collections
    assert len(axes(without)[0].lines) == 1


def two_moods(times):
    """Two components over three visits, dated or not."""
    system = pds.SDE(
        states=("sad", "glad"),
        drift=lambda states, k: -k * states,
        diffusion=0.5,
        initial=dist.Normal(np.zeros(2), 1.0),
        observation=lambda states: dist.Normal(states, 0.2),
    )
    with pm.Model(coords={"day": times, "component": ["sad", "glad"]}) as model:
        params = {"k": pm.HalfNormal("k")}
        y = np.array([[0.1, 1.0], [NAN, 1.2], [0.4, NAN]])
        dims = ("day", "component")
        pds.Trajectory("y", system, params=params, observed=y, dims=dims, unit="D")
    return model


DRAWS = posterior({"k": np.linspace(0.2, 1.0, 20)}, 20)


@pytest.mark.parametrize("dated", [False, True])
def test_forecasts_of_vectors_end_their_data_at_the_same_line(dated):
    days = np.array(["2024-03-01", "2024-03-02", "2024-03-05"], "datetime64[ns]")
    days = days if dated else np.array([0.0, 1.0, 4.0])
    ahead = days[-1] + (np.array([1, 3], "timedelta64[D]") if dated else np.array([1.0, 3.0]))
    future = pds.forecast(DRAWS, model=two_moods(days), times=ahead, random_seed=1)
    last = matplotlib.dates.date2num(days[-1]) if dated else 4.0
    for name, dim in (("y", "component"), ("states", "state")):
        pc = pds.plot_forecast(future, var_name=name, backend="matplotlib")
        assert dict(pc.viz["plot"].sizes) == {dim: 2}
        assert [ax.get_title() for ax in axes(pc)] == ["sad", "glad"]
        for ax in axes(pc):
            ends = [x[0] for x in (ln.get_xdata() for ln in ax.lines) if len(set(x)) == 1]
            np.testing.assert_allclose(ends, [last])
            np.testing.assert_allclose(ax.lines[0].get_xdata(), [last + 1.0, last + 3.0])
    one = pds.plot_forecast(future, backend="matplotlib", coords={"component": ["glad"]})
    points = axes(one)[0].collections[0].get_offsets()
    seen = np.ma.filled(points, NAN)
    np.testing.assert_allclose(seen[~np.isnan(seen).any(1), 1], [1.0, 1.2])


def test_several_series_of_one_state_are_not_laid_over_it():
    states = xr.DataArray(
        np.zeros((1, 2, 2, 1)),
        {"chain": [0], "draw": [0, 1], "day": [0.0, 1.0], "state": ["level"]},
        attrs={"time_dim": "day"},
    )
    seen = xr.DataArray(
        np.zeros((2, 2)), {"day": [0.0, 1.0], "animal": ["hare", "lynx"]}, attrs={"time_dim": "day"}
    )
    tree = xr.DataTree.from_dict(
        {"posterior": states.to_dataset(name="states"), "observed_data": seen.to_dataset(name="y")}
    )
    pc = pds.plot_trajectories(tree, backend="matplotlib")
    assert len(axes(pc)) == 1 and len(axes(pc)[0].collections) == 2, "bands only"


def test_forecasts_of_two_states_in_three_subjects(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    pc = pds.plot_forecast(future, var_name="states", backend="matplotlib")
    assert dict(pc.viz["plot"].sizes) == {"subject": 3, "state": 2}
    ends = [
        {line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1}
        for ax in axes(pc)
    ]
    assert ends == [{4.0}, {4.0}, {3.0}, {3.0}, {3.0}, {3.0}]


def test_predictive_draws_of_pymc_are_drawn_at_their_times(model, tmp_path):
    """Also after they were saved, chosen from or drawn for new data alone."""
    with model:
        predicted = pm.sample_posterior_predictive(IDATA, random_seed=1, progressbar=False)
        alone = pm.sample_posterior_predictive(
            IDATA, random_seed=1, progressbar=False, predictions=True
        )
    predicted.to_netcdf(tmp_path / "predicted.nc")
    with xr.open_datatree(tmp_path / "predicted.nc") as saved:
        np.testing.assert_array_equal(saved["constant_data"]["y_time"], TIMES)
        for dt, of in ((predicted, [0, 1]), (saved.isel(subject=[2, 0]), [2, 0]), (alone, [0, 1])):
            pc = pds.plot_trajectories(dt, var_name="y", backend="matplotlib")
            for ax, subject in zip(axes(pc), of, strict=False):
                np.testing.assert_allclose(ax.lines[0].get_xdata(), TIMES[subject])
                assert ax.get_xlabel() in ("", "time")


def test_ours_keep_the_times_as_pymc_does(model, tmp_path):
    for result in (
        pds.sample_states(IDATA, model=model, times=GRID, random_seed=1),
        pds.forecast(IDATA, model=model, times=GRID, random_seed=1),
        pds.innovations(IDATA, model=model),
        pds.log_likelihood(IDATA, model=model),
        pds.check_likelihood(model),
    ):
        result.to_netcdf(tmp_path / "result.nc")
        with xr.open_datatree(tmp_path / "result.nc") as saved:
            kept = saved["constant_data"]["y_time"]
            assert kept.dims == ("subject", "visit")
            np.testing.assert_array_equal(kept, TIMES)


def test_an_axis_that_is_not_known_to_be_time_is_not_called_so(model):
    with model:
        predicted = pm.sample_posterior_predictive(IDATA, random_seed=1, progressbar=False)
    del predicted["constant_data"]
    pc = pds.plot_trajectories(predicted, var_name="y", backend="matplotlib", col_wrap=1)
    assert [ax.get_xlabel() for ax in axes(pc)] == ["", "", "visit"]


def test_innovations_lie_between_their_lines(model):
    errors = pds.innovations(IDATA, model=model)
    pc = pds.plot_innovations(errors, backend="matplotlib")
    assert sorted({line.get_ydata()[0] for line in axes(pc)[0].lines}) == [-1.96, 0.0, 1.96]
    drawn = np.ma.filled(axes(pc)[0].collections[0].get_offsets(), NAN)
    expected = errors["innovations"]["z"].mean(("chain", "draw")).values[0]
    np.testing.assert_allclose(drawn[:, 1][~np.isnan(drawn[:, 1])], expected[~np.isnan(expected)])
    assert axes(pc)[0].get_ylabel() == "standardised error"


@pytest.mark.parametrize("backend", ["plotly", "none"])
def test_other_backends(model, backend):
    states = pds.sample_states(IDATA, model=model, times=GRID, random_seed=1)
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    for pc in (
        pds.plot_trajectories(states, backend=backend),
        pds.plot_forecast(future, backend=backend),
        pds.plot_innovations(pds.innovations(IDATA, model=model), backend=backend),
    ):
        assert pc.backend == backend
        assert pc.viz["plot"].sizes["subject"] == 3


def test_units_come_from_the_coords(model):
    states = pds.sample_states(IDATA, model=model, times=GRID, random_seed=1)
    named = states.copy()
    data = named["posterior"].dataset.assign_coords(
        time=("time", GRID, {"long_name": "time since the dose", "units": "h"})
    )
    named["posterior"] = data.sel(state=["position"])
    pc = pds.plot_trajectories(named, backend="matplotlib")
    assert axes(pc)[0].get_xlabel() == "time since the dose (h)"
    assert axes(pc)[0].get_ylabel() == "position"


def test_every_column_has_its_numbers_below(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    pc = pds.plot_forecast(future, backend="matplotlib", col_wrap=2)
    shown = [ax.xaxis.get_tick_params()["labelbottom"] for ax in axes(pc)]
    assert shown == [False, True, True], "the second column ends a row above the first"
    assert [ax.get_xlabel() for ax in axes(pc)] == ["", "time", "time"]
    assert [ax.get_title() for ax in axes(pc)] == ["a", "b", "c"], "NaN before the last data or not"


def test_labels_to_draw(model):
    states = pds.sample_states(IDATA, model=model, random_seed=1)
    with pytest.raises(ValueError, match="no dim 'clinic'; there are 'subject', 'visit', 'state'"):
        pds.plot_trajectories(states, coords={"clinic": ["n"]})
    with pytest.raises(
        ValueError, match=r"coords: no label .* along 'subject'; its labels are a, b"
    ):
        pds.plot_trajectories(states, coords={"subject": ["a", "z"]})
    with az.rc_context({"plot.max_subplots": 4}):
        with pytest.raises(ValueError, match=r"6 panels are more than the 4 .*'subject': \[...\]"):
            pds.plot_trajectories(states, backend="none")


def test_what_is_not_there(model):
    states = pds.sample_states(IDATA, model=model, random_seed=1)
    with pytest.raises(ValueError, match="no group has 'z'; there are posterior, observed_data"):
        pds.plot_trajectories(states, var_name="z")
    with pytest.raises(ValueError, match="no group 'predictions'; it has posterior"):
        pds.plot_forecast(states)
    with pytest.raises(ValueError, match="no 'z' in posterior; it has states"):
        pds.plot_trajectories(states, var_name="z", group="posterior")
    with pytest.raises(TypeError, match="expected a DataTree, got Dataset"):
        pds.plot_innovations(states["posterior"].dataset)


def legend(pc):
    """What each entry of the legend is called."""
    (box,) = pc.viz["figure"].item().legends
    return [text.get_text() for text in box.get_texts()]


def test_a_legend_says_what_is_drawn(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    states = pds.sample_states(IDATA, model=model, times=GRID, observations=True, random_seed=1)
    pc = pds.plot_forecast(future, backend="matplotlib", ci_probs=(0.8,))
    assert legend(pc) == ["data", "80%", "median"]
    pds.plot_forecast(future, backend="matplotlib", plot_collection=pc)
    assert legend(pc) == ["data", "80%", "median", "50%", "90%"], "one legend, each entry once"
    without = pds.plot_trajectories(states, backend="matplotlib", visuals={"legend": False})
    assert not without.viz["figure"].item().legends


def test_what_was_fitted_goes_before_a_forecast(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    states = pds.sample_states(IDATA, model=model, times=GRID, observations=True, random_seed=1)
    pc = pds.plot_forecast(future, fitted=states, backend="matplotlib")
    fitted = axes(pc)[0].lines[0]
    np.testing.assert_allclose(fitted.get_xdata(), GRID)
    middle = states.posterior["y"].sel(subject="a").median(("chain", "draw"))
    np.testing.assert_allclose(fitted.get_ydata(), middle)


def test_panels_are_drawn_on_another_scale(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    pc = pds.plot_forecast(future, backend="matplotlib", transform=np.exp)
    assert axes(pc)[0].get_ylabel() == "exp(y)"
    middle = future.predictions["y"].sel(subject="a").median(("chain", "draw"))
    there = ~np.isnan(middle)
    drawn = axes(pc)[0].lines[0].get_ydata()
    # An even number of draws: the median is a mean of two, whose exponential is another.
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], np.exp(middle[there]), rtol=0.05)
    points = np.ma.filled(axes(pc)[0].collections[0].get_offsets(), NAN)[:, 1]
    np.testing.assert_allclose(points[~np.isnan(points)], np.exp(Y[0][~np.isnan(Y[0])]))


def test_groups_have_their_colours(model):
    future = pds.forecast(IDATA, model=model, times=GRID, random_seed=1)
    arms = xr.DataArray(["drug", "none", "drug"], dims="subject", coords={"subject": SUBJECTS})
    pc = pds.plot_forecast(future, backend="matplotlib", color_by=arms)
    first, second, third = (ax.lines[0].get_color() for ax in axes(pc))
    assert first == third != second
    assert legend(pc)[-2:] == ["drug", "none"]
    with pytest.raises(TypeError, match="color_by: expected a DataArray by label, got list"):
        pds.plot_forecast(future, color_by=["drug", "none", "drug"])
    with pytest.raises(ValueError, match="color_by: no group is given for 'c'"):
        pds.plot_forecast(future, color_by=arms.isel(subject=[0, 1]))
    with pytest.raises(ValueError, match="color_by: there is no dim 'clinic'"):
        pds.plot_forecast(future, color_by=arms.rename(subject="clinic"))


def test_numbers_are_titles_with_their_dim():
    values = np.zeros((1, 5, 2, 3, 1))
    states = xr.DataArray(
        values,
        dims=("chain", "draw", "subject", "time", "state"),
        coords={"subject": [1, 17], "state": ["level"], "time": [0.0, 1.0, 2.0]},
        name="states",
    )
    dt = xr.DataTree.from_dict({"posterior": states.to_dataset()})
    pc = pds.plot_trajectories(dt, backend="matplotlib")
    assert [ax.get_title() for ax in axes(pc)] == ["subject 1", "subject 17"]


def replicated(subjects=12, visits=5):
    """Data by subject with times of their own, and replicates that are these plus constants."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0.0, 10.0, (subjects, visits)), axis=1)
    y = rng.normal(size=times.shape)
    times[0, 3:] = y[0, 3:] = NAN
    made = y + np.linspace(-1.0, 1.0, 21)[:, None, None]
    coords = {"subject": np.arange(subjects), "time": (("subject", "visit"), times)}
    dims = ("subject", "visit")
    return xr.DataTree.from_dict(
        {
            "posterior_predictive": xr.Dataset(
                {"y": (("draw", *dims), made)}, coords=coords
            ).expand_dims(chain=1),
            "observed_data": xr.Dataset({"y": (dims, y)}, coords=coords),
        }
    )


def test_percentiles_of_data_lie_among_those_of_replicates():
    dt = replicated()
    pc = pds.plot_predictive_check(dt, backend="matplotlib", bins=[0, 5, 10], percentiles=[25, 50])
    (ax,) = axes(pc)
    y, times = dt["observed_data"]["y"].values, dt["observed_data"]["time"].values
    model, data = ax.lines[0], ax.lines[1]
    for k, (low, high) in enumerate([(0, 5), (5, 10)]):
        here = (times >= low) & (times < high)
        expected = np.quantile(y[here], 0.25)
        np.testing.assert_allclose(data.get_xdata()[k], times[here].mean())
        # Constants from -1 to 1: the median of what they add is zero, 90% of it 1.8 wide.
        np.testing.assert_allclose([model.get_ydata()[k], data.get_ydata()[k]], expected)
        edges = ax.collections[0].get_paths()[0].vertices
        column = edges[np.isclose(edges[:, 0], times[here].mean()), 1]
        np.testing.assert_allclose([column.min(), column.max()], [expected - 0.9, expected + 0.9])
    assert legend(pc) == ["25%", "50%", "data", "model", "90% of replicates"]


def test_strata_have_their_panels_and_bins_about_equally_many_data():
    dt = replicated()
    arms = xr.DataArray(["b", "a"] * 6, dims="subject", coords={"subject": np.arange(12)})
    pc = pds.plot_predictive_check(dt, backend="matplotlib", by=arms, bins=4)
    assert [ax.get_title() for ax in axes(pc)] == ["a", "b"]
    assert all(len(ax.lines[0].get_xdata()) == 4 for ax in axes(pc))


def test_what_cannot_be_checked():
    dt = replicated()
    with pytest.raises(ValueError, match="percentiles: expected numbers between 0 and 100, got"):
        pds.plot_predictive_check(dt, percentiles=[120])
    with pytest.raises(ValueError, match=r"bins: data at .* are outside of the edges"):
        pds.plot_predictive_check(dt, bins=[0.0, 1.0])
    with pytest.raises(ValueError, match="bins: edges must ascend"):
        pds.plot_predictive_check(dt, bins=[1.0, 0.0])
    with pytest.raises(ValueError, match="no group 'prior_predictive'; it has"):
        pds.plot_predictive_check(dt, group="prior_predictive")
