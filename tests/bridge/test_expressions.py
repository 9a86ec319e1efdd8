"""Dims of expressions: proved from elementwise operations, refused otherwise, never guessed.

All dims have three labels, so that a guess from lengths would be wrong. What was proved is held
against a property that only the right names have: with the entries along one dim permuted in
every variable, those along the axis of this name, and no others, are permuted in the result.
"""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpyro import distributions as dist
from pytensor.graph.replace import clone_replace

import pymc_dynsys as pds
from pymc_dynsys.bridge.expressions import Unproved, proved_dims
from tests.inference.posteriors import posterior

N = 3
COORDS = {"subject": list("abc"), "group": list("uvw"), "state": list("xyz"), "lone": ["l"]}
VARIABLES = {
    "number": (),
    "by_subject": ("subject",),
    "by_group": ("group",),
    "by_state": ("state",),
    "by_both": ("group", "subject"),
    "transposed": ("subject", "group"),
    "cube": ("state", "group", "subject"),
}

with pm.Model(coords=COORDS) as MODEL:
    V = {
        name: pm.Normal(name, 0.0, 1.0, dims=dims or None)
        for name, dims in VARIABLES.items()
        if name != "by_group"
    }
    V["by_group"] = pm.Data("by_group", np.arange(3.0), dims="group")
    NAMELESS = pm.Normal("nameless", 0.0, 1.0, shape=N)
    ONE = pm.Normal("one", 0.0, 1.0, shape=1)
    LONE = pm.Deterministic("only", pt.ones(1) * V["number"], dims="lone")
number, by_subject, by_group, by_state, by_both, transposed, cube = (V[name] for name in VARIABLES)


@pytest.mark.parametrize(
    ("expression", "dims"),
    [
        (pm.math.exp(by_subject), ("subject",)),
        (number * by_subject + 1, ("subject",)),
        (pm.math.switch(by_subject > 0, by_subject, 2.0), ("subject",)),
        (pm.math.clip(-(by_subject**2) / 3, -1, 1).astype("float32"), ("subject",)),
        (by_both + by_subject, ("group", "subject")),
        (by_subject * pm.math.invlogit(by_both), ("group", "subject")),
        (transposed - by_group, ("subject", "group")),
        (cube + by_both * by_subject, ("state", "group", "subject")),
        (by_state[:, None] + by_subject, ("state", "subject")),
        (by_state[:, None] * by_subject[None, :], ("state", "subject")),
        (by_subject[None, :] * by_state[:, None], ("state", "subject")),
        (by_subject - by_subject.mean(), ("subject",)),
        (by_subject * pm.math.dot(by_group, by_group), ("subject",)),
        (by_subject * ONE + np.ones(1), ("subject",)),
        (pt.zeros_like(by_subject) + number, ("subject",)),
        (pm.math.exp(LONE), ("lone",)),
        (pm.math.exp(number), ()),
        (by_subject.sum(), ()),
        (by_subject.T + 1, ("subject",)),
        (sum(by_subject * i for i in range(3000)), ("subject",)),
    ],
)
def test_elementwise_operations_keep_names(expression, dims):
    assert proved_dims(expression, MODEL) == dims


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (by_subject + by_group, "joins entries along 'group' with entries along 'subject'"),
        (by_both + transposed, "joins entries along 'group' with entries along 'subject'"),
        (by_both + by_group, "joins entries along 'group' with entries along 'subject'"),
        (by_both * by_group[:, None] + by_group, "along 'group' with entries along 'subject'"),
        (by_subject * LONE, "joins entries along 'lone' with entries along 'subject'"),
        (by_subject * np.arange(3.0), r"array without dims, .* pm.Data\(..., dims='subject'\)"),
        (by_subject + NAMELESS, "with those of an array without dims"),
        (LONE * np.arange(3.0), "with those of an array without dims"),
        (pm.math.exp(NAMELESS), "has no name"),
        (number + np.arange(3.0), "has no name"),
        (by_subject[:, None] + 1, "has no name"),
        (by_subject[None, :] * number, "has no name"),
        (by_subject[::-1] + 1, "Subtensor is not"),
        (1 + by_subject[np.array([2, 1, 0])], "AdvancedSubtensor is not"),
        (by_both.T + 1, "a transpose is not"),
        (by_both.dimshuffle(1, "x", 0), "a transpose is not"),
        (by_both.sum(0), "Sum is not"),
        (pt.cumsum(by_subject), "CumOp is not"),
        (pt.sort(by_subject), "SortOp is not"),
        (pm.math.softmax(by_both), "Softmax is not"),
        (pm.math.dot(by_both, by_subject), "is not"),
        (pt.stack([by_subject, by_subject])[0], "Subtensor is not"),
        (pt.concatenate([by_subject[:1], by_subject[1:]]), "Join is not"),
        (by_both.reshape((3, 3)), "Reshape is not"),
        (by_both.flatten()[:3], "Subtensor is not"),
        (pt.broadcast_to(number, (3,)), "Alloc is not"),
        (pt.set_subtensor(by_subject[0], 0.0), "IncSubtensor is not"),
        (pytensor.scan(lambda v: v, sequences=[by_subject], return_updates=False), "is not"),
        (pm.Normal.dist(by_subject, 1.0), "NormalRV is not"),
    ],
)
def test_nothing_else_is_guessed(expression, reason):
    with pytest.raises(Unproved, match=reason):
        proved_dims(expression, MODEL)


def test_variables_of_another_model_have_no_names():
    with pm.Model(coords=COORDS):
        twin = pm.Normal("by_subject", 0.0, 1.0, dims="subject")
    with pytest.raises(Unproved, match="NormalRV is not"):
        proved_dims(twin + 1, MODEL)
    with pytest.raises(Unproved, match="NormalRV is not"):
        proved_dims(by_subject + 1, None)


OPERATIONS = (
    lambda a, b: a + b,
    lambda a, b: a * pm.math.exp(-b),
    lambda a, b: pm.math.switch(a > b, a, b),
    lambda a, b: a[..., None] - b,
    lambda a, b: a - b[None],
    lambda a, b: pt.moveaxis(a, -1, 0) + b if a.ndim else a + b,
    lambda a, b: a * b - by_both.sum(),
    lambda a, b: a + b[..., ::-1] if b.ndim else a + b,
)
LEAVES = st.sampled_from(list(VARIABLES))
TREES = st.recursive(
    LEAVES, lambda inner: st.tuples(st.integers(0, len(OPERATIONS) - 1), inner, inner), max_leaves=5
)


def built(tree):
    if isinstance(tree, str):
        return V[tree]
    which, a, b = tree
    return OPERATIONS[which](built(a), built(b))


def numbers(expression, values):
    """Value of an expression where its variables have these values."""
    fixed = {V[name]: pt.constant(value) for name, value in values.items()}
    given = clone_replace([expression], replace=fixed, rebuild_strict=False)
    return np.asarray(pytensor.function([], given, mode="FAST_COMPILE")()[0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(TREES)
def test_proved_names_move_with_their_labels(tree):
    expression = built(tree)
    try:
        dims = proved_dims(expression, MODEL)
    except Unproved:
        return
    if not dims or expression.type.ndim > 4:
        return
    rng, turn = np.random.default_rng(0), np.array([1, 2, 0])
    values = {name: rng.normal(size=(N,) * len(own)) for name, own in VARIABLES.items()}
    before = numbers(expression, values)
    assert before.shape == (N,) * len(dims)
    for dim in ("subject", "group", "state"):
        turned = {
            name: value.take(turn, VARIABLES[name].index(dim)) if dim in VARIABLES[name] else value
            for name, value in values.items()
        }
        expected = before
        for axis in (i for i, name in enumerate(dims) if name == dim):
            expected = expected.take(turn, axis)
        np.testing.assert_allclose(numbers(expression, turned), expected, rtol=1e-12)


# In a model ----------------------------------------------------------------------------------

OSCILLATOR = pds.SDE(
    states=("x", "y"),
    drift=lambda x, y, rate, weights: (y - rate * x, -weights[1] * x - weights[0] * y),
    diffusion=(0.1, 0.4),
    initial=dist.Normal(np.zeros(2), 1.0),
    observation=lambda x: dist.Normal(x, 0.2),
)
TIMES = np.array([0.0, 0.5, 1.1])
DATA = np.random.default_rng(1).normal(size=(3, 3))
LIKELIHOODS = [
    pds.Kalman(),
    pytest.param(pds.EKF(), marks=pytest.mark.slow),
    pytest.param(pds.UKF(), marks=pytest.mark.slow),
    pds.EnKF(8, discretization=pds.EulerMaruyama()),
]


def first_model(subjects, likelihood, write, data=DATA):
    """As a newcomer writes it; `write` is what becomes of an expression."""
    with pm.Model(coords={"subject": subjects, "state": ["x", "y"], "time": TIMES}) as model:
        mean = pm.Normal("mean", 0.0, 1.0)
        log_rate = pm.Normal("log_rate", mean, 1.0, dims="subject")
        size = pm.HalfNormal("size", 1.0, dims="state")
        age = pm.Data("age", 0.1 * np.arange(len(subjects)), dims="subject")
        params = {
            "rate": write("rate", pm.math.exp(log_rate + 0.3 * age), "subject"),
            "weights": write("weights", 1.0 + size[:, None] * age**2, ("state", "subject")),
        }
        pds.Trajectory(
            "y",
            OSCILLATOR,
            params=params,
            observed=data,
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    return model


def as_it_is(name, expression, dims):
    return expression


def named(name, expression, dims):
    return pm.Deterministic(name, expression, dims=dims)


POINT = {"log_rate": np.array([0.2, -0.5, 0.6]), "size_log__": np.array([0.1, 0.7])}
DRAWS = posterior(
    {
        "mean": np.array([0.1, 0.3]),
        "log_rate": (("subject",), np.array([[0.2, -0.5, 0.6], [0.0, 1.0, -1.0]])),
        "size": (("state",), np.array([[1.1, 2.0], [0.4, 0.9]])),
    },
    2,
    subject=list("abc"),
    state=["x", "y"],
)


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda one: type(one).__name__)
def test_an_expression_is_what_its_deterministic_is(likelihood):
    values = []
    for write in (as_it_is, named):
        model = first_model(list("abc"), likelihood, write)
        (term,) = model.logp(vars=[model["y"]], sum=False)
        wrt = [model.rvs_to_values[model[name]] for name in ("log_rate", "size")]
        slopes = pytensor.gradient.grad(term.sum(), wrt)
        values.append(model.compile_fn([term, *slopes], mode="FAST_COMPILE", point_fn=True)(POINT))
    for got, expected in zip(*values, strict=True):
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_what_comes_after_sampling_knows_the_expression():
    plain, other = (first_model(list("abc"), pds.Kalman(), write) for write in (as_it_is, named))
    for function, options in (
        (pds.sample_states, {"moments": True}),
        (pds.forecast, {"times": [1.5, 2.0], "random_seed": 1}),
    ):
        got, expected = (function(DRAWS, model=model, **options) for model in (plain, other))
        for group in expected.children:
            for name, values in expected[group].dataset.data_vars.items():
                np.testing.assert_allclose(got[group][name], values, rtol=1e-12, err_msg=name)


def test_new_subjects_get_expressions_of_their_own():
    empty = np.full((2, 3), np.nan)
    with pytest.warns(UserWarning, match="no value observed"):
        new = first_model(["d", "e"], pds.Kalman(), as_it_is, empty)
    future = pds.forecast(DRAWS, model=new, times=[1.5, 2.0], random_seed=1)
    assert future["predictions"]["y"].coords["subject"].values.tolist() == ["d", "e"]
    assert np.isfinite(future["predictions"]["y"]).all()
