"""Guides of paths that are learnt from a model: what its data say of the states, at some points."""

import logging
from collections.abc import Sequence

import numpy as np
import pymc as pm

from pymc_dynsys.bridge.given_path import GivenPath, Point
from pymc_dynsys.bridge.guide import guide_names
from pymc_dynsys.bridge.probe import values_at
from pymc_dynsys.bridge.study import find_path, find_paths
from pymc_dynsys.latent.law import lay_out_paths
from pymc_dynsys.latent.mode import likeliest_paths

logger = logging.getLogger("pymc_dynsys")


def paths_to_learn(model: pm.Model) -> list[str]:
    """Paths whose guides are data of the model."""
    return [name for name in find_paths(model) if guide_names(name)[0] in model.named_vars]


def with_learnt_guides(model: pm.Model, names: Sequence[str], points: Sequence[Point]) -> pm.Model:
    """A copy of the model whose paths are guided by what data say of them.

    For each path Newton's method finds the likeliest states at each of the points, values of the
    free variables on their own scales; slopes and curvatures of the data there, averaged over the
    points, are the guide. The guide of a path is that given the other paths at the points.
    """
    new = model.copy()
    for name in names:
        study, data = find_path(model, name), GivenPath(model, name)
        assert study is not None
        layout, guides = lay_out_paths(study.program, study.operands), []
        for point in points:
            operands = study.design.pack([None, *values_at(study, model, point)])
            batch = tuple(study.frame.batch)
            mode = likeliest_paths(study.program, operands, layout, batch, data.at(point))
            if mode is None:
                raise ValueError(
                    f"reparametrize: at the start of the search the log-density of the data of "
                    f"{name!r} is not finite, so that its guide cannot be learnt; give initvals, "
                    "or a guide, pds.Guided(values, sd)"
                )
            guides.append((*mode.guide, mode.u, mode.nats.sum() / mode.x[..., 0].size))
        *parts, nats = (np.mean(part, axis=0) for part in zip(*guides, strict=True))
        for variable, part in zip(guide_names(name), parts, strict=True):
            new[variable].set_value(part)
        logger.info("%s: guided, its data tell %.1f bits a visit", name, nats / np.log(2.0))
    return new
