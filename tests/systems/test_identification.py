"""Units, zeros and axes of states that no parameter fixes: found where they are, else nowhere."""

import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.brought import as_system
from pymc_dynsys.systems.identification import Line, lines_of_constancy
from pymc_dynsys.systems.values import known_value, shape_of


def free(*names):
    """Variables, that is, values that nobody knows."""
    return dict(zip(names, (pt.dscalar(name) for name in names), strict=True))


def lines(system, **params):
    """What is found of a system with these parameters, variables or numbers."""
    source, params = as_system(system, params, {})
    shapes = {name: shape_of(value) for name, value in params.items()}
    known = {n: v for n, value in params.items() if (v := known_value(value)) is not None}
    return lines_of_constancy(bind_system(source, shapes), known)


def items(loadings, intercepts="free"):
    """Three items of one state; None is a free loading."""
    given = [pt.dscalar() if one is None else one for one in loadings]
    at = [pt.dscalar() for _ in given] if intercepts == "free" else intercepts
    return pds.measurement(
        {name: ("x", one) for name, one in zip("abc", given, strict=True)},
        intercepts=at,
        sigma=[pt.dscalar() for _ in given],
        name="m",
    )


def diffusing(observation, **others):
    """A state that goes back to its mean, with a diffusion of its own."""
    system = {
        "drift": lambda x, rate, mean: -rate * (x - mean),
        "diffusion": lambda diffusion: diffusion,
        "initial": pds.Stationary(),
    }
    return pds.SDE(states=("x",), observation=observation, **{**system, **others})


def test_what_is_fixed_is_fixed():
    assert lines(diffusing(items([1.0, None, None])), mean=0.0, **free("rate", "diffusion")) == []
    system = diffusing(items([1.0, None, None], [0.0, *free("n1", "n2").values()]))
    assert lines(system, **free("rate", "diffusion", "mean")) == []


def test_all_loadings_and_the_diffusion():
    system = diffusing(items([None, None, None]))
    names = tuple(f"m_loadings_{i}_0" for i in range(3))
    expected = [Line("scale", "x", ("diffusion", *names))]
    assert lines(system, mean=0.0, **free("rate", "diffusion")) == expected
    # The diffusion is known, or it gives the state a variance of 1: then all loadings may be free.
    assert lines(system, mean=0.0, diffusion=0.8, **free("rate")) == []
    standard = diffusing(items([None, None, None]), diffusion=lambda rate: jnp.sqrt(2.0 * rate))
    assert lines(standard, mean=0.0, **free("rate")) == []


def test_the_mean_and_all_intercepts():
    system = diffusing(items([1.0, None, None]))
    (line,) = lines(system, **free("rate", "diffusion", "mean"))
    assert (line.what, line.params) == ("zero", (*(f"m_intercepts_{i}" for i in range(3)), "mean"))
    # An initial distribution with a known mean fixes where zero is; one with a free mean does not.
    start = {"rate": 0.5, **free("mean", "diffusion")}
    known = diffusing(items([1.0, None, None]), initial=dist.Normal(0.0, 1.0))
    assert lines(known, **start) == []
    moved = diffusing(items([1.0, None, None]), initial=lambda mean: dist.Normal(mean, 1.0))
    assert [one.what for one in lines(moved, **start)] == ["zero"]


def test_steps():
    """In discrete time the noise of a step is where the unit is."""
    system = pds.DiscreteTime(
        states=("x",),
        transition=lambda x, phi, q: dist.Normal(phi * x, q),
        observation=items([None, None, None]),
        initial=pds.Stationary(),
    )
    assert [one.what for one in lines(system, **free("phi", "q"))] == ["scale"]
    assert lines(system, q=1.0, **free("phi")) == []


@pytest.mark.parametrize("zero", [True, False])
def test_axes(zero):
    """Two states alike, with loadings that a rotation leaves free, or a zero that does not."""
    a, b, c, d, e, f = (pt.dscalar() for _ in range(6))
    observation = pds.measurement(
        {
            "1": {"x": a} if zero else {"x": a, "z": b},
            "2": {"x": c, "z": d},
            "3": {"x": e, "z": f},
        },
        sigma=np.ones(3),
    )
    system = pds.SDE(
        states=("x", "z"),
        drift=lambda states, rate: -rate * states,
        diffusion=1.0,
        initial=pds.Stationary(),
        observation=observation,
    )
    assert [one.what for one in lines(system, **free("rate"))] == ([] if zero else ["axes"])


def test_mistakes():
    with pytest.raises(TypeError, match="must be a mapping with a state and a loading"):
        pds.measurement([1.0, 2.0], sigma=1.0)
    with pytest.raises(ValueError, match=r"item 'a' has 1\.0; expected the name of a state"):
        pds.measurement({"a": 1.0}, sigma=1.0)
    with pytest.raises(ValueError, match="sigma must be positive"):
        pds.measurement({"a": ("x", 1.0)}, sigma=0.0)
    with pytest.raises(ValueError, match="'m_sigma_0' is given with the measurement model already"):
        lines(diffusing(items([1.0, 1.0, 1.0])), m_sigma_0=1.0)
