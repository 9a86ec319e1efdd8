"""What the toolbox emits is what one would write in plain PyMC: names, dims, densities, values."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys import effects
from tests.effects.compare import same

SCHOOLS = {"school": list("abcdefgh")}
Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SD = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

# Unequal clinics, and subjects in no particular order.
CLINICS = ["north", "south", "west"]
CLINIC_OF = ["south", "north", "west", "south", "south", "west", "south"]
NESTED = {"clinic": CLINICS, "subject": list("tuvwxyz")}
CLINIC_INDEX = np.array([1, 0, 2, 1, 1, 2, 1])


@pytest.mark.parametrize("centered", [True, False])
def test_one_population(centered):
    with pm.Model(coords=SCHOOLS) as ours:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        theta = effects.varying("theta", mu, tau, dims="school", centered=centered)
        pm.Normal("y", theta, SD, observed=Y, dims="school")
    with pm.Model(coords=SCHOOLS) as by_hand:
        mu, tau = pm.Normal("mu", 0, 5), pm.HalfCauchy("tau", 5)
        if centered:
            theta = pm.Normal("theta", mu, tau, dims="school")
        else:
            offset = pm.Normal("theta_offset", 0, 1, dims="school")
            theta = pm.Deterministic("theta", mu + tau * offset, dims="school")
        pm.Normal("y", theta, SD, observed=Y, dims="school")
    same(ours, by_hand)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(
    ("scale", "prefix", "inverse"),
    [
        (effects.Log(), "log", pt.exp),
        (effects.Logit(), "logit", pt.sigmoid),
        (effects.Logit(-1.0, 3.0), "logit", lambda x: -1.0 + 4.0 * pt.sigmoid(x)),
    ],
)
def test_on_a_scale(centered, scale, prefix, inverse):
    inner = f"{prefix}_rate"
    with pm.Model(coords=SCHOOLS) as ours:
        mean, sd = pm.Normal("mean", 0.5, 1), pm.Exponential("sd", 2)
        effects.varying("rate", mean, sd, dims="school", centered=centered, scale=scale)
    with pm.Model(coords=SCHOOLS) as by_hand:
        mean, sd = pm.Normal("mean", 0.5, 1), pm.Exponential("sd", 2)
        if centered:
            eta = pm.Normal(inner, mean, sd, dims="school")
        else:
            offset = pm.Normal("rate_offset", 0, 1, dims="school")
            eta = pm.Deterministic(inner, mean + sd * offset, dims="school")
        pm.Deterministic("rate", inverse(eta), dims="school")
    same(ours, by_hand)


@pytest.mark.parametrize("centered", [True, False])
def test_nested_and_unbalanced(centered):
    """Subjects in clinics of unequal size in one population; the sd differs by clinic too."""
    with pm.Model(coords=NESTED) as ours:
        overall, sd_clinic = pm.Normal("overall", 0, 1), pm.HalfNormal("sd_clinic", 1)
        sd = pm.HalfNormal("sd", 1, dims="clinic")
        clinic = effects.varying(
            "clinic_mean", overall, sd_clinic, dims="clinic", centered=centered
        )
        effects.varying(
            "rate", clinic, sd, dims="subject", within={"clinic": CLINIC_OF}, centered=centered
        )
    with pm.Model(coords=NESTED) as by_hand:
        overall, sd_clinic = pm.Normal("overall", 0, 1), pm.HalfNormal("sd_clinic", 1)
        sd = pm.HalfNormal("sd", 1, dims="clinic")
        if centered:
            clinic = pm.Normal("clinic_mean", overall, sd_clinic, dims="clinic")
            pm.Normal("rate", clinic[CLINIC_INDEX], sd[CLINIC_INDEX], dims="subject")
        else:
            offset = pm.Normal("clinic_mean_offset", 0, 1, dims="clinic")
            clinic = pm.Deterministic("clinic_mean", overall + sd_clinic * offset, dims="clinic")
            offset = pm.Normal("rate_offset", 0, 1, dims="subject")
            pm.Deterministic(
                "rate", clinic[CLINIC_INDEX] + sd[CLINIC_INDEX] * offset, dims="subject"
            )
    same(ours, by_hand)


def test_nested_and_balanced():
    """As many subjects in every group: the group's dim is one of the subject's."""
    coords = {"group": list("AB"), "subject": [1, 2, 3]}
    with pm.Model(coords=coords) as ours:
        mu = pm.Normal("mu", 0, 1)
        group = effects.varying("mu_group", mu, 2.0, dims="group", centered=True)
        effects.varying("mu_subject", group, 0.2, dims=("group", "subject"), centered=True)
        effects.varying("other", group, 0.2, dims=("subject", "group"))
    with pm.Model(coords=coords) as by_hand:
        mu = pm.Normal("mu", 0, 1)
        # A Python 2.0 becomes a constant in single precision, and so does its logarithm.
        group = pm.Normal("mu_group", mu, np.float64(2.0), dims="group")
        pm.Normal("mu_subject", group[:, None], 0.2, dims=("group", "subject"))
        offset = pm.Normal("other_offset", 0, 1, dims=("subject", "group"))
        pm.Deterministic("other", group + 0.2 * offset, dims=("subject", "group"))
    same(ours, by_hand)


def test_crossed():
    """Marks by teacher and topic, with a slope of each teacher: a plain mixed model."""
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            "teacher": rng.choice(["ann", "bob", "cal", "dee"], 40),
            "topic": rng.choice(["art", "maths"], 40),
            "age": rng.normal(12.0, 2.0, 40),
            "mark": rng.normal(10.0, 3.0, 40),
        }
    )
    coords = {"teacher": ["dee", "ann", "bob", "cal"], "topic": ["art", "maths"], "row": range(40)}
    age = xr.DataArray(rows["age"].to_numpy(), dims="row", name="age")
    with pm.Model(coords=coords) as ours:
        intercept, sd = pm.Normal("intercept", 10, 5), pm.HalfNormal("sd", 5, shape=3)
        teacher = effects.varying("teacher_effect", 0.0, sd[0], dims="teacher")
        topic = effects.varying("topic_effect", 0.0, sd[1], dims="topic", centered=True)
        slope = effects.varying("slope", 0.0, sd[2], dims="teacher", centered=True)
        by_age = effects.covariates("by_age", slope, age, within=rows["teacher"])
        mean = effects.combine(
            "mean",
            [intercept, teacher, topic, by_age],
            dims="row",
            within=[rows["teacher"], rows["topic"]],
        )
        pm.Normal("mark", mean, 1.0, observed=rows["mark"], dims="row")
    t = np.array([coords["teacher"].index(name) for name in rows["teacher"]])
    k = np.array([coords["topic"].index(name) for name in rows["topic"]])
    centred = (rows["age"] - rows["age"].mean()).to_numpy()
    with pm.Model(coords=coords) as by_hand:
        intercept, sd = pm.Normal("intercept", 10, 5), pm.HalfNormal("sd", 5, shape=3)
        offset = pm.Normal("teacher_effect_offset", 0, 1, dims="teacher")
        teacher = pm.Deterministic("teacher_effect", sd[0] * offset, dims="teacher")
        topic = pm.Normal("topic_effect", 0, sd[1], dims="topic")
        slope = pm.Normal("slope", 0, sd[2], dims="teacher")
        by_age = pm.Deterministic("by_age", slope[t] * centred, dims="row")
        mean = pm.Deterministic("mean", intercept + teacher[t] + topic[k] + by_age, dims="row")
        pm.Normal("mark", mean, 1.0, observed=rows["mark"], dims="row")
    same(ours, by_hand)
    assert ours["by_age_center"].get_value() == pytest.approx(rows["age"].mean())


# The start is compiled to C, which misses a BLAS where PyTensor was installed without one.
@pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS")
@pytest.mark.parametrize("centered", [True, False])
def test_correlated(centered):
    """Two log rates and one probability that go together, in clinics of unequal size."""
    coords = {**NESTED}
    labels = ["log_cl", "log_ka", "logit_f"]
    family = {"pk_parameter": labels, "pk_parameter_other": labels}
    scales = {"cl": effects.Log(), "ka": effects.Log(), "f": effects.Logit()}
    sds = pm.HalfNormal.dist
    with pm.Model(coords=coords) as ours:
        cl = pm.Normal("cl_mean", -3.0, 1.0, dims="clinic")
        ka = pm.Normal("ka_mean", 0.5, 1.0)
        effects.correlated(
            "pk",
            {"cl": cl, "ka": ka, "f": [0.1, 0.2]},
            sd_dist=sds([0.5, 1.0, 2.0]),
            eta=3.0,
            dims="subject",
            within={"clinic": CLINIC_OF},
            centered=centered,
            scales=scales,
        )
    with pm.Model(coords=coords | family) as by_hand:
        cl = pm.Normal("cl_mean", -3.0, 1.0, dims="clinic")
        ka = pm.Normal("ka_mean", 0.5, 1.0)
        chol, correlation, sd = pm.LKJCholeskyCov(
            "pk_cholesky", eta=3.0, n=3, sd_dist=sds([0.5, 1.0, 2.0]), store_in_trace=False
        )
        pm.Deterministic("pk_sd", sd, dims="pk_parameter")
        pm.Deterministic("pk_correlation", correlation, dims=("pk_parameter", "pk_parameter_other"))
        ones = np.ones(7)
        mu = pt.stack([cl[CLINIC_INDEX], ka * ones, 0.3 * ones], axis=1)
        dims = ("subject", "pk_parameter")
        if centered:
            pk = pm.MvNormal("pk", mu, chol=chol, dims=dims)
        else:
            z = pm.Normal("pk_offset", 0, 1, dims=dims)
            pk = pm.Deterministic("pk", mu + z @ chol.T, dims=dims)
        pm.Deterministic("cl", pt.exp(pk[:, 0]), dims="subject")
        pm.Deterministic("ka", pt.exp(pk[:, 1]), dims="subject")
        pm.Deterministic("f", pt.sigmoid(pk[:, 2]), dims="subject")
    same(ours, by_hand)


def test_several_covariates_by_name():
    """Labels of the coefficients pick the columns, whatever their order and number."""
    table = xr.Dataset(
        {
            "apgar5": ("subject", [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
            "height": ("subject", np.arange(7.0)),
            "log_weight": ("subject", np.linspace(-0.3, 0.5, 7)),
        },
        coords={"subject": list("zyxwvut")},
    )
    coords = {"subject": list("tuvwxyz"), "covariate": ["log_weight", "apgar5"]}
    with pm.Model(coords=coords) as ours:
        slopes = pm.Normal("slopes", 0, 1, dims="covariate")
        by = effects.covariates("by", slopes, table, center={"log_weight": 0.2, "apgar5": 1.0})
        effects.varying("rate", [-1.0, by], 0.5, dims="subject", scale=effects.Log())
    x = table.sel(subject=coords["subject"])
    with pm.Model(coords=coords) as by_hand:
        slopes = pm.Normal("slopes", 0, 1, dims="covariate")
        total = slopes[0] * (x["log_weight"].values - 0.2) + slopes[1] * (x["apgar5"].values - 1)
        by = pm.Deterministic("by", total, dims="subject")
        offset = pm.Normal("rate_offset", 0, 1, dims="subject")
        eta = pm.Deterministic("log_rate", -1.0 + by + 0.5 * offset, dims="subject")
        pm.Deterministic("rate", pt.exp(eta), dims="subject")
    same(ours, by_hand)


def test_parameters_of_a_trajectory():
    """The same calls give a trajectory its parameters; groups come from a panel."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "who": np.repeat(list("abc"), 4),
            "day": np.tile(np.arange(4.0), 3),
            "y": rng.normal(0.0, 1.0, 12),
            "clinic": np.repeat(["s", "n", "s"], 4),
        }
    )
    panel = pds.panel(frame, subject="who", time="day", observed="y", groups="clinic")
    ou = pds.SDE(
        states=("level",),
        drift=lambda level, mu, rate: -rate * (level - mu),
        diffusion=0.5,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.3),
    )

    def trajectory(mu, rate):
        pds.Trajectory("y", ou, params={"mu": mu, "rate": rate}, observed=panel["y"])

    with pm.Model(coords=pds.coords(panel)) as ours:
        clinic = effects.varying("clinic_mean", 0.0, 1.0, dims="clinic", centered=True)
        mu = effects.varying("mu", clinic, 0.3, dims="subject", within=panel["clinic_of_subject"])
        sd = pm.HalfNormal("sd", 1)
        trajectory(mu, effects.varying("rate", 0.0, sd, dims="subject", scale=effects.Log()))
    with pm.Model(coords=pds.coords(panel)) as by_hand:
        clinic = pm.Normal("clinic_mean", 0, 1, dims="clinic")
        z = pm.Normal("mu_offset", 0, 1, dims="subject")
        index = panel["clinic_index"].values
        mu = pm.Deterministic("mu", clinic[index] + 0.3 * z, dims="subject")
        sd = pm.HalfNormal("sd", 1)
        z = pm.Normal("rate_offset", 0, 1, dims="subject")
        log_rate = pm.Deterministic("log_rate", sd * z, dims="subject")
        trajectory(mu, pm.Deterministic("rate", pt.exp(log_rate), dims="subject"))
    same(ours, by_hand)
