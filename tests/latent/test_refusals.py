"""What a path is not made of, and cells that are not there: errors that say what to do."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

NAN = np.nan


def walk(initial=None, transition=None) -> pds.DiscreteTime:
    return pds.DiscreteTime(
        states=("level",),
        transition=transition or (lambda level: dist.Normal(level, 0.1)),
        initial=dist.Normal(0.0, 1.0) if initial is None else initial,
    )


@pytest.fixture
def model():
    with pm.Model(coords={"subject": ["a", "b"], "time": [0.0, 1.0, 2.0]}) as model:
        yield model


@pytest.mark.parametrize(
    "system, options, words",
    [
        (walk(pds.Diffuse()), {}, r"exactly diffuse.*x0 = pm.Normal"),
        (walk(dist.Gamma(2.0, 1.0)), {}, r"not Gaussian.*initial=lambda x0: x0"),
        (
            walk(transition=lambda level: dist.StudentT(4.0, level, 1.0)),
            {},
            r"transition\(\) gives a distribution that is not Gaussian",
        ),
        (walk(), {"discretization": pds.Exact()}, "moves in its own steps"),
        (
            pds.ODE(states=("a",), drift=lambda a: -a, initial=(1.0,)),
            {"discretization": pds.EulerMaruyama()},
            r"an ODE takes ODESolve\(\)",
        ),
        (
            pds.ODE(states=("a",), drift=lambda a: -a, initial=(1.0,)),
            {"parametrization": pds.Guided(np.zeros(3), 1.0)},
            "no noise along its path",
        ),
    ],
)
def test_systems_without_normals_are_refused(model, system, options, words):
    with pytest.raises(ValueError, match=words):
        pds.Path("x", system, dims="time", **options)


def test_times_that_could_change_are_refused(model):
    times = pm.Data("times", np.arange(3.0), dims="time")
    with pytest.raises(TypeError, match=r"cannot be pm.Data; give them as an array"):
        pds.Path("x", walk(), times=times, dims="time")


def test_labels_that_are_times_stay(model):
    pds.Path("x", walk(), dims="time")
    pm.Data("u", np.zeros(3), dims="time")
    with pytest.raises(ValueError, match="the times of the path 'x' lie along them"):
        pm.set_data({"u": np.zeros(3)}, coords={"time": [0.0, 1.0, 3.0]})


def test_new_subjects_take_new_normals(model):
    mu = pm.Data("mu", np.zeros(2), dims="subject")
    start = walk(initial=lambda mu: dist.Normal(mu, 1.0))
    x = pds.Path("x", start, params={"mu": mu}, dims=("subject", "time"))
    pm.set_data({"mu": np.full(3, 100.0)}, coords={"subject": ["c", "d", "e"]})
    drawn = pm.draw(x, random_seed=1)
    assert drawn.shape == (3, 3, 1)
    assert (drawn > 90).all()


def test_a_system_without_observation_has_no_likelihood(model):
    with pytest.raises(ValueError, match=r"does not say what is seen.*pds.Path"):
        pds.Trajectory("y", walk(), observed=np.zeros(3), dims="time")


def test_a_system_without_a_start_is_no_system():
    with pytest.raises(TypeError, match="initial: missing"):
        pds.DiscreteTime(states=("a",), transition=lambda a: dist.Normal(a, 1.0))


def test_a_path_has_no_data_to_check(model):
    pds.Path("x", walk(), dims="time")
    with pytest.raises(ValueError, match=r"no Trajectory in it.*idata.posterior\['x'\]"):
        pds.check_data(model)


def test_a_large_path_is_warned_of():
    coords = {"subject": range(1000), "time": np.arange(100.0)}
    with pm.Model(coords=coords), pytest.warns(UserWarning, match=r"take 3.2 GB.*var_names"):
        pds.Path("x", walk(), dims=("subject", "time"))


def test_cells_take_what_belongs_to_them(model):
    values = np.array([[1.0, NAN, 2.0], [NAN, NAN, 3.0]])
    cells = pds.observed_cells(values, ("subject", "time"), name="y")
    assert cells.dim == "y_cell" and model.coords["y_cell"] == (0, 1, 2)
    np.testing.assert_array_equal(cells.values, [1.0, 2.0, 3.0])
    of_subject = pm.Data("s", np.array([10.0, 20.0]), dims="subject")
    of_time = pm.Data("t", np.array([1.0, 2.0, 3.0]), dims="time")
    of_all = pm.Data("x", np.arange(12.0).reshape(3, 2, 2), dims=("time", "subject", "k"))
    np.testing.assert_array_equal(cells.of(of_subject).eval(), [10, 10, 20])
    np.testing.assert_array_equal(cells.of(of_time).eval(), [1, 3, 3])
    np.testing.assert_array_equal(cells.of(of_all[..., 1]).eval(), [1, 9, 11])
    with pytest.raises(ValueError, match="take one component of a path"):
        cells.of(of_all)
    # Two dims of one length could be exchanged unnoticed.
    with pytest.raises(ValueError, match=r"nothing tells which dims.*2 \* cells.of\(x\["):
        cells.of(pm.math.concatenate([pm.math.zeros_like(of_time)[None]] * 2))


def test_cells_that_are_not_there_are_an_error(model):
    with pytest.raises(ValueError, match="all of its values are missing"):
        pds.observed_cells(np.full((2, 3), NAN), ("subject", "time"))
    with pytest.raises(TypeError, match="an array without names needs them"):
        pds.observed_cells(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="no dim 'day'"):
        pds.observed_cells(np.zeros(3), ("day",))


def test_a_check_of_a_path_says_what_there_is_to_compare():
    def sde(drift) -> pds.SDE:
        return pds.SDE(states="level", drift=drift, diffusion=0.3, initial=dist.Normal(0.0, 1.0))

    linear, cubic = sde(lambda level: -level), sde(lambda level: -(level**3))
    for system, kind, words in (
        (cubic, pds.EulerMaruyama(dt=0.5), r"dt=0.5\); build.*pds.EulerMaruyama\(dt=0.25\)"),
        (cubic, pds.EulerMaruyama(), r"build.*pds.EulerMaruyama\(dt=1\)"),
        (linear, None, r"move exactly, by Exact.*nothing to check"),
        (walk(), None, r"move exactly, by Stepping"),
        (linear, pds.EulerMaruyama(dt=0.5), r"pds.EulerMaruyama\(dt=0.25\)"),
    ):
        with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as path:
            pds.Path("x", system, dims="time", discretization=kind)
        with pytest.raises(ValueError, match=f"'x' is a path.*{words}"):
            pds.check_likelihood(path)
