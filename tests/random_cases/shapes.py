"""Shape classes: all that a compiled program depends on, so that its cases share one."""

from dataclasses import dataclass
from itertools import product

import numpy as np

import pymc_dynsys as pds

KINDS = {
    "kalman": pds.Kalman(),
    "ekf": pds.EKF(pds.LocalLinearization()),
    "ukf": pds.UKF(pds.LocalLinearization()),
    "ode": pds.ODESolve(),
    "discrete": pds.Kalman(),
}


@dataclass(frozen=True)
class Shape:
    """What does not vary among the cases of a class.

    Attributes
    ----------
    kind : str
        Likelihood, one of `KINDS`.
    n_states, n_components : int
        Sizes of a system; one component is a scalar observation.
    levels : int
        Number of batch dims: none, subjects, or subjects in clinics.
    ragged : bool
        Whether trajectories have times of their own.
    inputs : str
        "none", "visits" (a value at each visit), "own" (times of its own) or "line" (the same,
        joined by lines).
    doses : bool
        Whether there are boluses and infusions.
    varied : bool
        Whether rate and noise differ by subject; else they are shared.
    """

    kind: str
    n_states: int
    n_components: int
    levels: int
    ragged: bool
    inputs: str
    doses: bool
    varied: bool

    def __str__(self) -> str:
        """Name in the ids of tests."""
        flags = [name for name in ("ragged", "doses", "varied") if getattr(self, name)]
        sizes = f"{self.n_states}x{self.n_components}x{self.levels}"
        return "-".join(
            [self.kind, sizes, *flags, *([] if self.inputs == "none" else [self.inputs])]
        )

    @property
    def discrete(self) -> bool:
        """Whether time goes by steps."""
        return self.kind == "discrete"

    @property
    def noisy(self) -> bool:
        """Whether there is any noise in the states."""
        return self.kind != "ode"

    @property
    def batch_dims(self) -> tuple[str, ...]:
        """Names of the batch dims."""
        return (("clinic", "subject") if self.levels == 2 else ("subject",))[: self.levels]

    @property
    def batch(self) -> tuple[int, ...]:
        """Lengths of the batch dims."""
        return {0: (), 1: (3,), 2: (2, 2)}[self.levels]

    @property
    def exists(self) -> bool:
        """Whether the library has such a class."""
        if self.discrete and (self.doses or self.inputs in ("own", "line")):
            return False
        if self.inputs == "line" and self.kind in ("ekf", "ukf"):  # they hold its mean
            return False
        return not (self.levels == 0 and (self.ragged or self.varied))


def all_shapes() -> list[Shape]:
    """Every class there is."""
    choices = product(
        KINDS, (1, 2, 3), (1, 2), (1, 2, 0), (False, True),
        ("none", "visits", "own", "line"), (False, True), (False, True),
    )  # fmt: skip
    return [shape for choice in choices if (shape := Shape(*choice)).exists]


def chosen(n: int, seed: int = 0) -> list[Shape]:
    """`n` classes, spread over all kinds; the same ones each time."""
    rng = np.random.default_rng(seed)
    by_kind = {kind: [s for s in all_shapes() if s.kind == kind] for kind in KINDS}
    picks = []
    for i in range(n):
        kind = list(KINDS)[i % len(KINDS)]
        rest = by_kind[kind]
        picks.append(rest.pop(int(rng.integers(len(rest)))))
    return picks
