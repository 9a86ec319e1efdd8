"""Wrong dims and names."""

import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bad_inputs.models import COORDS, TIMES, Y, cases, ou, refused


@cases(
    {
        "unknown": (
            ValueError,
            ("dims", "'id'", "'subject', 'time'", "coords={'id': ...}"),
            {"dims": ("id", "time")},
        ),
        "twice": (ValueError, ("dims", "('time', 'time')", "twice"), {"dims": ("time", "time")}),
        "time first": (
            ValueError,
            ("dims", "last dim must be time", "('time', 'subject')"),
            {"dims": ("time", "subject"), "observed": Y.T},
        ),
        "a number": (TypeError, ("dims", "3"), {"dims": 3}),
        "None among them": (TypeError, ("dims", "None"), {"dims": (None, "time")}),
        "an ellipsis": (TypeError, ("dims", "Ellipsis"), {"dims": (..., "time")}),
        "none for a panel": (
            ValueError,
            ("dims", "(3, 4)", "dims=('subject', 'time')"),
            {"dims": None},
        ),
        "one too few": (ValueError, ("observed", "(3, 4)", "(4,)"), {"dims": ("time",)}),
        "one too many": (
            ValueError,
            ("dims", "scalar law", "last dim must be time"),
            {
                "dims": ("subject", "time", "component"),
                "observed": Y[..., None],
                "coords": {**COORDS, "component": ["c"]},
            },
        ),
        "no component for a vector law": (
            ValueError,
            ("observation()", "(1,)", "level instead of x"),
            {"system": ou(observation=lambda x: dist.Normal(x, 0.2))},
        ),
    }
)
def test_bad_dims(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


def test_a_trajectory_needs_a_model_and_a_mapping():
    with pytest.raises(TypeError, match="model"):
        pds.Trajectory("y", ou(), params={"mu": 0.0}, observed=Y)
    with pytest.raises(TypeError, match="positional"), pm.Model(coords=COORDS):
        pds.Trajectory("y", ou(), {"mu": 0.0}, observed=Y, dims=("subject", "time"))
    with pytest.raises(TypeError, match=r"unexpected.*shpae"):
        pds.Trajectory.dist(ou(), params={"mu": 0.0}, times=TIMES, shpae=3)
    with pytest.raises(TypeError, match=r"unexpected.*observed"):
        pds.Trajectory.dist(ou(), params={"mu": 0.0}, times=TIMES, observed=Y)
