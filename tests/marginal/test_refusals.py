"""What cannot be integrated out member by member is refused by the name of the variable."""

import numpy as np
import pymc as pm
import pytest

import pymc_dynsys as pds

COORDS = {"subject": range(5), "item": range(3), "row": range(15)}
SUBJECT, ITEM = np.repeat(range(5), 3), np.tile(range(3), 5)
Y = np.random.default_rng(0).normal(size=15)


def fit(model: pm.Model, **options):
    return pds.fit_marginal(model, **{"over": "subject", "progressbar": False, **options})


def regression(effect=None) -> pm.Model:
    """Data around an effect of each subject, made by a function of sd."""
    with pm.Model(coords=COORDS) as model:
        sd = pm.HalfNormal("sd")
        z = pm.Normal("z", 0.0, sd, dims="subject") if effect is None else effect(sd)
        pm.Normal("y", z[SUBJECT], 1.0, observed=Y, dims="row")
    return model


def test_no_variable_has_the_dim():
    with pytest.raises(ValueError, match=r"over='person'.*those with dims are z \('subject',\)"):
        fit(regression(), over="person")


@pytest.mark.parametrize("over", [("subject", "subject"), ("subject", 3), (), 3])
def test_dims_by_name(over):
    with pytest.raises(TypeError, match=r"over: got .* expected the name of a dim, or names"):
        fit(regression(), over=over)


def test_a_level_without_a_variable_of_its_own():
    def by_item(sd):
        return pm.Normal("z", 0.0, sd, dims=("subject", "item"))[:, 0]

    message = "over='subject': no free variable has this dim and none of 'item'"
    with pytest.raises(ValueError, match=message):
        fit(regression(by_item), over=("subject", "item"))


def test_effects_of_one_level_with_other_dims_are_crossed():
    with regression() as model:
        pm.Normal("w", pm.Normal("a", dims=("subject", "item"))[0, 0], observed=Y)
        pm.Normal("v", pm.Normal("b", dims="item")[0], observed=Y)
    with pytest.raises(
        ValueError, match="a has an effect for each label of subject and item and b"
    ):
        fit(model, over=("subject", "item"))


def test_discrete_variables():
    with regression() as model:
        pm.Bernoulli("which", 0.5)
    with pytest.raises(ValueError, match="which take whole numbers only"):
        fit(model)


def test_imputed_data_are_no_parameters():
    with regression() as model, pytest.warns(UserWarning, match="imput"):
        pm.Normal("x", 0.0, 1.0, observed=[1.0, np.nan, 2.0])
    with pytest.raises(ValueError, match=r"x_unobserved holds the missing values of 'x'.*drop"):
        fit(model)


def test_effects_whose_values_sum_to_zero():
    model = regression(lambda sd: pm.ZeroSumNormal("z", sd, dims="subject"))
    with pytest.raises(ValueError, match="z has 4 values for 5 labels of 'subject'"):
        fit(model)


def test_a_random_walk_over_members_is_not_independent():
    def walk(sd):
        start = pm.Normal.dist()
        return pm.GaussianRandomWalk("z", sigma=sd, init_dist=start, dims="subject")

    with pytest.raises(ValueError, match=r"over='subject': z depends on several members"):
        fit(regression(walk))


def test_a_term_of_several_members_is_named_with_its_element():
    with regression() as model:
        pm.Normal("w", model["z"][[0, 1, 2, 0]] + model["z"][[0, 1, 2, 3]], observed=np.zeros(4))
    with pytest.raises(ValueError, match=r"w: element 3 depends on several members"):
        fit(model)


def test_a_sum_in_a_potential_says_how_to_mend_it():
    with regression() as model:
        pm.Potential("penalty", -(model["z"] ** 2).sum())
    with pytest.raises(ValueError, match=r"penalty depends on several.*element by element"):
        fit(model)


def test_effects_of_another_level_are_refused_or_warned_of():
    with regression() as model:
        scale = pm.HalfNormal("scale")
        items = pm.Normal("items", 0.0, scale, dims="item")
        pm.Normal("w", items[ITEM], 1.0, observed=Y, dims="row")
    message = r"prior of items, over 'item', depends on scale.*over=\('item', 'subject'\)"
    with pytest.raises(ValueError, match=message):
        fit(model)
    with regression() as model:
        offset = pm.Normal("item_offset", dims="item")
        pm.Normal("w", offset[ITEM], 1.0, observed=Y, dims="row")
    with pytest.warns(UserWarning, match="item_offset, over .'item',., looks like an effect"):
        fit(model)


def test_a_vector_as_long_as_the_dim_without_dims_is_warned_of():
    with regression() as model:
        b = pm.Normal("b", shape=5)
        pm.Normal("w", b[SUBJECT], 1.0, observed=Y, dims="row")
    with pytest.warns(UserWarning, match="b has 5 values.*say dims='subject'"):
        fit(model)


def test_what_the_data_say_nothing_of():
    with regression() as model:
        pm.HalfNormal("idle")
    with pytest.raises(ValueError, match="the data say nothing of idle_log__"):
        fit(model)
    with regression() as model:
        a, b = pm.Normal("a"), pm.Normal("b")
        pm.Normal("w", a + b, 1.0, observed=Y)
    with pytest.raises(ValueError, match="no curvature along a, b"):
        fit(model)
    # With priors they are told apart.
    found = fit(model, priors=True)["estimate"]
    assert float(found["a"]) == pytest.approx(float(found["b"]), abs=1e-6)


def test_a_start_that_is_not_finite_is_named():
    with pm.Model(coords=COORDS) as model:
        z = pm.Normal("z", dims="subject")
        pm.Uniform("y", z[SUBJECT], 1e-3, observed=Y + 10.0)
    with pytest.raises(ValueError, match=r"not finite at the start, y: element"):
        fit(model)
    with pytest.raises(ValueError, match="initvals: the model has no free variable 'q'"):
        fit(model, initvals={"q": 1.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quadrature": 0}, "quadrature: got 0"),
        ({"quadrature": 9}, r"quadrature: 9 nodes along each of 5 effects.*at most 3"),
        ({"starts": 0}, "starts: got 0"),
        ({"max_steps": 1.5}, "max_steps: got 1.5"),
    ],
)
def test_arguments_that_make_no_sense(options, message):
    def effects(sd):
        return pm.Normal("z", 0.0, sd, dims=("item", "subject"))

    with pm.Model(coords={"subject": range(4), "item": range(5)}) as model:
        sd = pm.HalfNormal("sd")
        pm.Normal("y", effects(sd), 1.0, observed=np.zeros((5, 4)))
    with pytest.raises(ValueError, match=message):
        fit(model, **options)


def test_more_effects_than_are_affordable():
    with pm.Model(coords={"subject": range(2), "item": range(41)}) as model:
        z = pm.Normal("z", dims=("subject", "item"))
        pm.Normal("y", z, 1.0, observed=np.zeros((2, 41)))
    with pytest.raises(ValueError, match="each member has 41 effects, and 40 are the most"):
        fit(model)
