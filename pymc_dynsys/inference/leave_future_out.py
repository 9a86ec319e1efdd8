"""Refits for leave-future-out cross-validation.

The class inherits from one of arviz-stats, which is slow to import, so this module is imported
when the class is asked for.
"""

from collections.abc import Sequence
from typing import Any

import arviz_stats
import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.study import Study, find_trajectory, with_data
from pymc_dynsys.inference.labels import draws_of
from pymc_dynsys.inference.log_likelihood import of_visits, require_shared_times


class LeaveFutureOut(arviz_stats.SamplingWrapper):
    """Refits for ``az.lfo_cv``: the model without the data from some time onwards.

    Parameters
    ----------
    model : pm.Model
        The model with all data. All trajectories share their times.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    **sample_kwargs
        For ``pm.sample``, which fits each shortened panel.

    Examples
    --------
    >>> import arviz as az, numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> walk = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: mu - level,
    ...     diffusion=0.3,
    ...     initial=dist.Normal(0.0, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> options = dict(draws=200, tune=100, chains=1, nuts_sampler="numpyro", progressbar=False,
    ...                random_seed=1, compute_convergence_checks=False)
    >>> with pm.Model(coords={"time": np.arange(6.0)}) as model:
    ...     y = [0.1, 0.3, 0.2, -0.1, 0.4, 0.2]
    ...     rv = pds.Trajectory("y", walk, params={"mu": pm.Normal("mu")}, observed=y, dims="time")
    ...     idata = pm.sample(**options)
    >>> idata = pds.log_likelihood(idata, model=model, by="time")
    >>> future = pds.LeaveFutureOut(model, **options)
    >>> az.lfo_cv(idata, future, min_observations=4, forecast_horizon=1).n_data_points
    2
    """

    def __init__(self, model: pm.Model, *, var_name: str | None = None, **sample_kwargs: Any):
        self.var_name = var_name
        require_shared_times(find_trajectory(model, var_name))
        super().__init__(model, sample_kwargs=sample_kwargs)

    @property
    def study(self) -> Study:
        """The trajectory with the data of now."""
        return find_trajectory(self.model, self.var_name)

    @property
    def _visits(self) -> np.ndarray:
        """Positions of the times at which something was observed: the points to leave out."""
        study = self.study
        return np.flatnonzero(study.seen.any(tuple(range(study.frame.rank))))

    def sel_observations(self, idx: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Data without those at the times with the positions `idx`; and these positions."""
        which = np.asarray(idx)
        y = self.study.y.copy()
        y[(slice(None),) * self.study.frame.rank + (self._visits[which],)] = np.nan
        return y, which

    def sample(self, modified_observed_data: np.ndarray) -> Any:
        """Fit the model to other data."""
        shortened = with_data(self.model, self.study.name, modified_observed_data)
        return pm.sample(model=shortened, **self.sample_kwargs)

    def get_inference_data(self, fitted_model: Any) -> Any:
        """What ``pm.sample`` returned."""
        return fitted_model

    def log_likelihood__i(self, excluded_obs: np.ndarray, idata__i: Any) -> xr.DataArray:
        """Log-likelihood of each excluded time given all before it, at the draws of a refit."""
        draws = draws_of(idata__i, "posterior")
        each = of_visits(self.study, self.model, draws)
        total = each.sum(tuple(range(1, each.ndim - 1)))[:, self._visits[excluded_obs]]
        shape = (draws.sizes["chain"], draws.sizes["draw"], -1)
        return xr.DataArray(total.reshape(shape), dims=("chain", "draw", self.study.frame.time_dim))
