"""Arguments are found by name, and what cannot be found is said when the system is bound."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.systems import Held, bind_system

TWO = ("depot", "central")


def system(kind=pds.SDE, **functions):
    usual = {
        "states": TWO,
        "drift": lambda depot, central, ka, ke: (-ka * depot, ka * depot - ke * central),
        "initial": lambda dose: (dose, 0.0),
        "observation": lambda central, sd: dist.Normal(central, sd),
    }
    if kind is pds.SDE:
        usual["diffusion"] = 0.1
    return kind(**{**usual, **functions})


SHAPES = dict.fromkeys(("ka", "ke", "dose", "sd"), ())


def bind(shapes=SHAPES, **functions):
    return bind_system(system(**functions), shapes)


def refuses(message, error=ValueError, shapes=SHAPES, **functions):
    with pytest.raises(error, match=message):
        bind(shapes, **functions)


def test_arguments_arrive_by_name():
    seen = {}

    def drift(ke, t, x, central, depot, ka):
        seen.update(ke=ke, t=t, x=x, central=central, depot=depot, ka=ka)
        return x

    bound = bind(drift=drift)
    params = {"ka": 1.0, "ke": 2.0, "dose": 3.0, "sd": 4.0}
    bound.dynamics.drift(jnp.array([10.0, 20.0]), 5.0, Held(params))
    assert (seen["ke"], seen["ka"], seen["t"]) == (2.0, 1.0, 5.0)
    assert (seen["depot"], seen["central"]) == (10.0, 20.0)
    np.testing.assert_array_equal(seen["x"], [10.0, 20.0])
    assert bound.states == TWO and bound.n_states == 2
    assert bound.observation.scalar and bound.observation.n_components == 1


def test_arrays_of_parameters_arrive_whole():
    rates = jnp.arange(6.0).reshape(2, 3)
    bound = bind(
        {**SHAPES, "rates": (2, 3)},
        drift=lambda x, rates, ka, ke: ka * ke * rates.sum(1) + x,
    )
    out = bound.dynamics.drift(jnp.zeros(2), 0.0, Held({"rates": rates, "ka": 1.0, "ke": 1.0}))
    np.testing.assert_array_equal(out, [3.0, 12.0])


def test_defaults_are_kept_unless_there_is_a_parameter():
    def drift(depot, central, ka, ke, power=2.0):
        return depot * power, central * ka * ke

    x, held = jnp.ones(2), Held({"ka": 1.0, "ke": 1.0, "power": 5.0})
    assert bind(drift=drift).dynamics.drift(x, 0.0, held)[0] == 2.0
    with_power = bind({**SHAPES, "power": ()}, drift=drift)
    assert with_power.dynamics.drift(x, 0.0, held)[0] == 5.0


def test_positional_and_keyword_only_arguments():
    def drift(depot, /, central, *, ka, ke):
        return -ka * depot, -ke * central

    held = Held({"ka": 3.0, "ke": 4.0})
    out = bind(drift=drift).dynamics.drift(jnp.array([1.0, 2.0]), 0.0, held)
    np.testing.assert_array_equal(out, [-3.0, -8.0])


def test_constants_need_no_function():
    constant = pds.SDE(
        states=TWO,
        drift=np.array([0.1, 0.2]),
        diffusion=0.5,
        initial=dist.Normal(jnp.zeros(2), 1.0).to_event(1),
        observation=dist.Normal(0.0, 1.0),
    )
    bound = bind_system(constant, {})
    np.testing.assert_allclose(bound.dynamics.drift(jnp.ones(2), 0.0, Held({})), [0.1, 0.2])
    np.testing.assert_allclose(bound.dynamics.diffusion(jnp.ones(2), 0.0, Held({})), [0.5, 0.5])


def test_the_number_of_states_is_that_of_the_initial_law():
    bound = bind_system(
        pds.ODE(
            drift=lambda x: -x, initial=np.zeros(3), observation=lambda x: dist.Normal(x[1], 1.0)
        ),
        {},
    )
    assert bound.states == ("x0", "x1", "x2") and bound.is_deterministic
    np.testing.assert_array_equal(bound.dynamics.diffusion(jnp.ones(3), 0.0, Held({})), 0.0)


def test_systems_are_bound_once():
    source = system()
    assert bind_system(source, SHAPES) is bind_system(source, dict(SHAPES))
    assert bind_system(source, SHAPES) is not bind_system(source, {**SHAPES, "sd": (1,)})


def test_loadings():
    def noise(**functions):
        held = Held({"ka": 2.0})
        return bind(**functions).dynamics.noise_covariance(jnp.ones(2), 0.0, held)

    np.testing.assert_allclose(noise(diffusion=0.3), 0.09 * np.eye(2))
    np.testing.assert_allclose(noise(diffusion=lambda ka: (0.0, ka)), np.diag([0.0, 4.0]))
    L = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0]])
    np.testing.assert_allclose(noise(diffusion=L), L @ L.T)
    rows = lambda ka: ((1.0, 0.0, ka), (0.5, 1.0, 0.0))  # noqa: E731
    np.testing.assert_allclose(noise(diffusion=rows), L @ L.T)


# Names


def test_a_name_that_is_missing_or_misspelt():
    refuses(
        r"drift\(\) asks for 'kaa'; params has 'ka', 'ke', 'dose', 'sd'.*did you mean 'ka'",
        drift=lambda depot, central, kaa, ke: (0.0, 0.0),
    )
    refuses(
        r"observation\(\) asks for 'centre'.*did you mean 'central'",
        observation=lambda centre, sd: dist.Normal(centre, sd),
    )
    refuses(r"diffusion\(\) asks for 'sigma'; params has", diffusion=lambda sigma: sigma)
    refuses(r"name the states with states=", states=None, drift=lambda gut, ka, ke: gut)


def test_a_parameter_nobody_asks_for():
    refuses(
        "params has 'thetta', which none of drift, diffusion, observation, initial asks for",
        shapes={**SHAPES, "thetta": ()},
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("central", "'central' is also a state; rename one"),
        ("states", "'states' is reserved \\('states' is the whole state vector"),
        ("t", "'t' is reserved"),
        ("k a", "'k a' is not a name"),
    ],
)
def test_parameters_that_mean_something_else(name, message):
    refuses(message, shapes={**SHAPES, name: ()})


def test_an_input_that_is_also_a_parameter():
    with pytest.raises(ValueError, match="inputs: 'ka' is also in params"):
        bind_system(system(), SHAPES, {"ka": ()})


def test_initial_may_not_ask_for_the_state_or_time():
    for name in ("x", "states", "t", "central"):
        scope = {}
        exec(f"def initial({name}, dose): return (dose, 0.0)", scope)
        refuses(
            f"initial.. asks for '{name}', but the initial distribution may depend on parameters",
            initial=scope["initial"],
        )


def test_arguments_must_be_named_each():
    refuses(r"drift\(\) takes \*args", TypeError, drift=lambda *args: args)
    refuses(r"drift\(\) takes \*params", TypeError, drift=lambda depot, **params: depot)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ((), "states is empty"),
        (("a", "a"), "has 'a' more than once"),
        (("a", "states"), "'states' is reserved"),
        (("a", "t"), "'t' is reserved"),
        (("a b",), "'a b' is not a name"),
        ((1,), "1 is not a name"),
    ],
)
@pytest.mark.parametrize("kind", [pds.SDE, pds.ODE])
def test_names_of_states(kind, states, message):
    with pytest.raises(ValueError, match=message):
        system(kind, states=states)


def test_one_state_may_be_a_plain_string():
    assert system(states="level").states == ("level",)


# What x is


def in_x_and_y(**functions):
    usual = {
        "states": ("x", "y"),
        "drift": lambda x, y, a: (a * x - y, 10.0 * x * y),
        "diffusion": lambda states: 0.1 * states,
        "initial": (1.0, 2.0),
        "observation": lambda x: dist.Normal(x, 0.1),
    }
    return pds.SDE(**{**usual, **functions})


def test_a_state_may_be_called_x():
    bound = bind_system(
        in_x_and_y(events=lambda states, x, amount: (x + amount, states[1])), {"a": ()}
    )
    at, held = jnp.array([3.0, 5.0]), Held({"a": 2.0})
    np.testing.assert_array_equal(bound.dynamics.drift(at, 0.0, held), [1.0, 150.0])
    np.testing.assert_allclose(bound.dynamics.diffusion(at, 0.0, held), [0.3, 0.5])
    np.testing.assert_array_equal(bound.dosing.jump(at, 0.0, held, 7.0, 0), [10.0, 5.0])
    assert bound.observation.law(at, 0.0, held).loc == 3.0
    assert bound.states == ("x", "y") and bound.observation.scalar


@pytest.mark.parametrize("role", ["params", "inputs"])
def test_a_parameter_or_an_input_may_be_called_x(role):
    own = {
        "states": None,
        "drift": lambda states, x: x * states,
        "diffusion": 0.1,
        "observation": lambda states, x: dist.Normal(states[1] + x, 0.1),
    }
    shapes = {"x": ()}
    bound = bind_system(in_x_and_y(**own), *([shapes] if role == "params" else [{}, shapes]))
    at, held = jnp.array([3.0, 5.0]), Held({"x": 2.0})
    np.testing.assert_array_equal(bound.dynamics.drift(at, 0.0, held), [6.0, 10.0])
    assert bound.observation.law(at, 0.0, held).loc == 7.0
    assert bound.drives("x") == bound.is_observed_through("x") is True


def test_the_vector_has_two_names_where_nothing_else_is_called_x():
    for law in (lambda x, sd: dist.Normal(x[1], sd), lambda states, sd: dist.Normal(states[1], sd)):
        bound = bind(observation=law)
        law = bound.observation.law(jnp.array([3.0, 5.0]), 0.0, Held({"sd": 1.0}))
        assert law.loc == 5.0


@pytest.mark.parametrize(
    "functions",
    [
        {"drift": lambda x, a: a * x},
        {"drift": lambda x, y, a: a * x[0]},
        {"observation": lambda x: dist.Normal(x[1], 0.1)},
        {"events": lambda x, amount: x + amount},
    ],
)
def test_the_vector_taken_for_a_state_called_x(functions):
    with pytest.raises(ValueError, match="'x' is a state here, and the whole state vector is 'sta"):
        bind_system(in_x_and_y(**functions), {"a": ()})


def test_the_vector_taken_for_a_parameter_called_x():
    own = {"states": None, "drift": lambda x: -x, "diffusion": 0.1}
    with pytest.raises(ValueError, match="have 'x', and no function asks for a state; where"):
        bind_system(in_x_and_y(**own), {"x": ()})
    own["observation"] = lambda states: dist.Normal(states[0], 0.1)
    with pytest.raises(ValueError, match=r"shape \(\), expected \(2,\).*'x' is a parameter or"):
        bind_system(in_x_and_y(**own), {"x": ()})


def test_blocks_may_be_called_x():
    level = pds.local_level(0.5, name="x") + pds.white_noise(0.2)
    bound = bind_system(level.system(), dict.fromkeys(level.params, ()))
    held = Held({name: jnp.asarray(value) for name, value in level.params.items()})
    m, P = bound.discrete.moments(jnp.array([3.0]), 0.0, held)
    assert (m[0], P[0, 0]) == (3.0, 0.25) and bound.states == ("x",)


def test_the_amount_of_a_dose_is_no_state():
    with pytest.raises(ValueError, match="'amount' is the amount of a dose in a function, and"):
        bind_system(
            pds.ODE(
                states=("amount",),
                drift=lambda amount: -amount,
                initial=1.0,
                observation=lambda amount: dist.Normal(amount, 1.0),
                events=lambda amount: amount,
            ),
            {},
        )


# Shapes and kinds of what functions return


@pytest.mark.parametrize(
    ("drift", "shape"),
    [
        (lambda x, ka, ke: x[:, None], r"\(2, 1\)"),
        (lambda x, ka, ke: jnp.zeros(3), r"\(3,\)"),
        (lambda x, ka, ke: x.sum(), r"\(\)"),
        (lambda x, ka, ke: (x[0], x[1], ka), r"\(3,\)"),
    ],
)
def test_drifts_of_the_wrong_shape(drift, shape):
    refuses(
        rf"drift\(\) returned shape {shape}, expected \(2,\) or a tuple of 2 scalars, one each for "
        "depot, central",
        drift=drift,
    )


def test_entries_of_different_shapes():
    refuses(
        r"drift\(\) returned a tuple whose entries have different shapes",
        drift=lambda x, ka, ke: (x, ka),
    )


@pytest.mark.parametrize(
    ("diffusion", "shape"),
    [(np.ones(3), r"\(3,\)"), (np.ones((1, 2)), r"\(1, 2\)"), (np.ones((2, 2, 1)), r"\(2, 2, 1\)")],
)
def test_diffusions_of_the_wrong_shape(diffusion, shape):
    refuses(
        rf"diffusion\(\) returned shape {shape}; expected a scalar, \(2,\)", diffusion=diffusion
    )


def test_initials_of_the_wrong_shape():
    refuses(
        r"initial has shape \(3,\), but the system has 2 states \(depot, central\); give 2 entries",
        initial=lambda dose: (dose, 0.0, 0.0),
    )
    refuses(r"initial has shape \(\), but the system has 2 states", initial=lambda dose: dose)
    refuses(
        r"initial has shape \(2, 2\)",
        states=None,
        drift=lambda x, ka, ke: x,
        observation=lambda x, sd: dist.Normal(x[0], sd),
        initial=lambda dose: dist.Normal(dose * jnp.ones((2, 2)), 1.0).to_event(2),
    )


def test_observations_of_the_wrong_kind():
    refuses(
        r"observation\(\) must return a numpyro distribution, got .*; for noise of standard dev",
        TypeError,
        observation=lambda central, sd: central,
    )
    refuses(
        r"observation\(\) returned a distribution of shape \(2, 2\); one observation "
        r"is a scalar or a vector",
        observation=lambda x, sd: dist.Normal(jnp.outer(x, x), sd),
    )


def test_what_is_not_a_number():
    refuses(r"drift\(\) must return", TypeError, drift=lambda depot, ka, ke: ("fast", depot))
    refuses(
        r"drift\(\) must return real numbers, got dtype complex",
        TypeError,
        drift=lambda x, ka, ke: 1j * x,
    )


def test_a_function_that_fails_is_named_with_what_it_was_called_with():
    refuses(
        r"drift\(\) failed on one trajectory, called with x of shape \(2,\), 'ka' a scalar",
        drift=lambda x, ka, ke: x @ jnp.ones((3, 3)),
    )
    refuses(
        r"observation\(\) failed on one trajectory",
        observation=lambda x, sd: dist.Normal(x["a"], sd),
    )


def test_what_is_no_system():
    with pytest.raises(TypeError, match="expected an SDE, ODE or DiscreteTime, got dict"):
        bind_system({}, {})


def test_a_parameter_of_several_without_dims_is_told_of_them():
    system = pds.SDE(
        states="level",
        drift=lambda level, mu: mu - level,
        diffusion=0.1,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    with pm.Model(), pytest.raises(ValueError, match=r"shape \(3,\).* dims=\('subject', 'time'\)"):
        pds.Trajectory(
            "y",
            system,
            params={"mu": pm.Normal("mu", shape=3)},
            observed=np.zeros((3, 4)),
            times=np.arange(4.0),
        )
