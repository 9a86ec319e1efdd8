"""A PyMC model as a log-density of one flat unconstrained vector, and the labelled way back."""

from collections.abc import Mapping
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from arviz_base import from_dict, make_attrs
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from pymc.backends.arviz import (
    coords_and_dims_for_inferencedata,
    find_constants,
    find_observations,
)
from pymc.exceptions import SamplingError
from pymc.initial_point import make_initial_point_fns_per_chain
from pymc.sampling.jax import get_jaxified_graph
from pymc.util import get_default_varnames

STARTS = 11
"""Jittered starts to try for each chain, as many as PyMC tries."""

BLOCK = 500
"""Draws whose deterministic variables are computed together."""


class Unconstrained:
    """A model whose free variables are one vector.

    Parameters
    ----------
    model : pm.Model
        The model.
    initvals : mapping or sequence of mappings, optional
        Where to start, as ``pm.sample`` takes it.
    chains : int
        Number of chains.
    rng : np.random.Generator
        For the jitter of the starts, which is PyMC's.
    jitter : bool
        Whether starts are jittered.

    Attributes
    ----------
    starts : array, (chain, dimension)
        A start for each chain, where log-density and gradient are finite.

    Raises
    ------
    ValueError
        If the model has no free variables, or discrete ones.
    SamplingError
        If there is no such start.
    """

    def __init__(
        self,
        model: pm.Model,
        initvals: Any,
        chains: int,
        rng: np.random.Generator,
        jitter: bool = True,
    ) -> None:
        if not model.free_RVs:
            raise ValueError("model: has no free variables, so there is nothing to sample")
        if model.discrete_value_vars:
            names = ", ".join(str(v.name) for v in model.discrete_value_vars)
            raise ValueError(
                f"model: {names} are discrete, and the samplers here move in real numbers; sum "
                "over them in the log-density, or use pm.sample with steps of several kinds"
            )
        self.model = model
        self._set_density()
        self._names = [str(value.name) for value in model.value_vars]
        try:
            jittered = make_initial_point_fns_per_chain(
                model=model,
                overrides=initvals,
                jitter_rvs=set(model.free_RVs) if jitter else set(),
                chains=chains,
            )
        except KeyError as error:
            names = ", ".join(str(v.name) for v in model.free_RVs)
            raise ValueError(f"initvals: the model has no {error}; it has {names}") from error
        _, self._unravel = self._ravel(jittered[0](0))
        self._begin = jax.jit(self._value_and_gradient)
        self.starts = np.stack([self._start(i, draw, rng) for i, draw in enumerate(jittered)])

    def _set_density(self) -> None:
        """Prepare what the log-density is computed by."""
        # `get_jaxified_logp` has a flag for the sign, and gets it wrong.
        self._logp = get_jaxified_graph(inputs=self.model.value_vars, outputs=[self.model.logp()])

    def _value_and_gradient(self, position: Array) -> tuple[Array, ...]:
        """Both must be finite where a chain starts; zeros where no gradient is needed."""
        return jax.value_and_grad(self.logp)(position)

    def logp(self, position: Array, *key: Array) -> Any:
        """Log-density, with the Jacobians of the transforms; of a key where it is estimated."""
        (value,) = self._logp(*self._unravel(position))
        return value

    def _ravel(self, point: Mapping[str, Any]) -> Any:
        return ravel_pytree([jnp.asarray(point[name]) for name in self._names])

    def _start(self, chain: int, draw: Any, rng: np.random.Generator) -> np.ndarray:
        for _ in range(STARTS):
            point = draw(int(rng.integers(2**30)))
            position, _ = self._ravel(point)
            value, grad, *_ = self._begin(position)
            if np.isfinite(value) and np.isfinite(grad).all():
                return np.asarray(position)
        if np.isfinite(value):
            slopes = zip(self._names, self._unravel(grad), strict=True)
            bad = [f"d/d{name}" for name, slope in slopes if not np.isfinite(slope).all()]
        else:
            logps = self.model.point_logps(point)
            bad = [f"{name} ({logp})" for name, logp in logps.items() if not np.isfinite(logp)]
        what = "gradient" if np.isfinite(value) else "log-density"
        at = {name: np.round(point[name], 3).tolist() for name in self._names}
        raise SamplingError(
            f"chain {chain}: the {what} is not finite at any of {STARTS} starts. At the last one, "
            f"{at}, what is not: {', '.join(bad) or 'the sum, though each term is in PyTensor'}. "
            "Give initvals where it is finite, or see which parameters do it with model.debug()"
        )

    def tree(self, groups: Mapping[str, Any], attrs: Mapping[str, Any]) -> xr.DataTree:
        """Results as PyMC labels them.

        Parameters
        ----------
        groups : mapping
            Positions ``(chain, draw, dimension)`` in ``posterior`` and ``warmup_posterior``, and
            statistics in the others.
        attrs : mapping
            Of the posterior.
        """
        variables = get_default_varnames(self.model.unobserved_value_vars, False)
        graph = get_jaxified_graph(inputs=self.model.value_vars, outputs=variables)

        @jax.jit
        def constrained(positions: Array) -> Any:
            flat = positions.reshape(-1, positions.shape[-1])
            return jax.lax.map(lambda x: graph(*self._unravel(x)), flat, batch_size=BLOCK)

        def labelled(positions: np.ndarray) -> dict[str, np.ndarray]:
            return {
                v.name: np.array(value).reshape(*positions.shape[:2], *value.shape[1:])
                for v, value in zip(variables, constrained(positions), strict=True)
            }

        data = {
            name: labelled(group) if name.endswith("posterior") else jax.tree.map(np.array, group)
            for name, group in groups.items()
        }
        known = {
            "observed_data": find_observations(self.model),
            "constant_data": find_constants(self.model),
        }
        data |= {name: found for name, found in known.items() if found is not None}
        coords, dims = coords_and_dims_for_inferencedata(self.model)
        return from_dict(
            data,
            coords=coords,
            dims=dims,
            sample_dims=["chain", "draw"],
            save_warmup=True,
            check_conventions=False,
            attrs={"posterior": make_attrs(attrs, inference_library=blackjax)},
        )
