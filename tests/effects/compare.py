"""Two models are the same, variable by variable; and what no model is made from."""

from typing import Any

import numpy as np
import pymc as pm
import pytest

import pymc_dynsys as pds


def same(ours: pm.Model, by_hand: pm.Model, *, points: int = 3) -> None:
    """The same variables, dims and labels; the same densities and values, at random points."""
    assert {v.name for v in ours.free_RVs} == {v.name for v in by_hand.free_RVs}
    assert {v.name for v in ours.deterministics} == {v.name for v in by_hand.deterministics}
    named = {v.name for v in (*ours.basic_RVs, *ours.deterministics)}
    for name in named:
        assert ours.named_vars_to_dims.get(name) == by_hand.named_vars_to_dims.get(name), name
    assert dict(ours.coords) == dict(by_hand.coords)
    rng = np.random.default_rng(7)
    start = ours.initial_point()
    assert {k: v.shape for k, v in start.items()} == {
        k: v.shape for k, v in by_hand.initial_point().items()
    }
    of_ours, of_theirs = _quantities(ours), _quantities(by_hand)
    for _ in range(points):
        point = {k: v + rng.normal(0.0, 0.7, v.shape) for k, v in start.items()}
        have, want = of_ours(point), of_theirs(point)
        assert have.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_allclose(have[name], value, rtol=1e-12, atol=1e-12, err_msg=name)


def _quantities(model: pm.Model):
    """Log-density of each random variable and value of each deterministic, by name."""
    variables = model.basic_RVs
    logps = model.logp(vars=variables, sum=False)
    values = model.replace_rvs_by_values(model.deterministics)
    function = model.compile_fn(
        [*logps, *values],
        inputs=model.value_vars,
        on_unused_input="ignore",
        mode="FAST_COMPILE",  # evaluated three times, not worth more
    )
    names = [f"logp of {v.name}" for v in variables] + [v.name for v in model.deterministics]
    return lambda point: dict(zip(names, function(point), strict=True))


def refuse_to_reparametrize(message: str, *args: Any, **kwargs: Any) -> None:
    """An error whose text has a pattern."""
    with pytest.raises(ValueError, match=message):
        pds.reparametrize(*args, progressbar=False, **kwargs)
