"""The benchmark cases, and the packages that take part in each.

This file needs only the standard library, since every competitor's environment imports it.
"""

from dataclasses import dataclass, replace
from itertools import product

OURS = "pymc_dynsys"
TMB = "TMB"

# About half a step of NUTS in a parameter of the cases for Laplace.
STRIDE = 0.02


@dataclass(frozen=True)
class Competitor:
    """Module under `competitors/` that runs a package, which it needs besides jax."""

    module: str
    package: str
    version: str = ""


COMPETITORS = {
    OURS: Competitor("ours", "pymc-dynsys"),
    "dynestyx": Competitor("with_dynestyx", "dynestyx", "0.7.1"),
    "dynestyx-ode": Competitor("with_dynestyx_ode", "dynestyx", "0.7.1"),
    "cuthbert": Competitor("with_cuthbert", "cuthbert", "0.1.1"),
    "dynamax": Competitor("with_dynamax", "dynamax", "1.0.3"),
    "pymc-extras": Competitor("with_pymc_extras", "pymc-extras", "0.15.1"),
    # An R package; whichever version is installed takes part.
    TMB: Competitor("with_tmb.R", "TMB"),
}


# dynestyx has two exact filters.
DYNESTYX = {
    "kalman": (OURS, "dynestyx", "dynestyx-ode"),
    "ekf": (OURS, "dynestyx"),
    "enkf": (OURS, "dynestyx"),
}


@dataclass(frozen=True)
class Case:
    """One computation; competitors that do not offer its family do not take part."""

    name: str
    family: str
    likelihood: str = "kalman"
    subjects: int = 1
    times: int = 100
    members: int = 0
    states: int = 1
    variant: str = "mu"
    draws: int = 0
    repetitions: int = 1
    dtype: str = "float64"
    chains: int = 1
    # How far the points of a chain lie to either side in each parameter.
    stride: float = 0.0
    competitors: tuple[str, ...] = (OURS,)

    @property
    def memory_gb(self) -> float:
        """Approximate memory that the largest competitor needs.

        An ensemble filter holds the normals of every member at each of about three steps per gap,
        several times over while they are drawn and compiled; the others hold little but the data.
        """
        numbers = self.subjects * self.times * self.states
        return 1.0 + 8e-9 * numbers * (5 * 3 * self.members if self.members else 100)


def all_cases() -> list[Case]:
    """All cases, in the order in which they run."""
    return [
        *ou_cases(),
        *(two_layer(of, m) for of, m in (("kalman", 0), ("ekf", 0), ("enkf", 30))),
        ragged("ragged"),
        ragged("rectangle"),
        *(nonlinear(d) for d in (2, 4, 8)),
        lgssm("full"),
        lgssm("diagonal"),
        *(counts(d, N) for d in (1, 2) for N in (10, 100)),
        volatility(),
        sample("kalman", repetitions=3),
        sample("ekf", repetitions=3),
        sample("enkf", members=30),
        sample("kalman", draws=1000, name="sample/kalman-long"),
    ]


def small_cases() -> list[Case]:
    """Small forms of all cases, whose values and gradients are kept in `expected.json`."""
    return [
        *(
            ou(of, 3, 12, members, variant)
            for of, members in (("kalman", 0), ("ekf", 0), ("enkf", 8))
            for variant in ("mu", "all")
        ),
        ou("enkf", 24, 6, 8, "mu"),
        *(two_layer(of, m, times=8) for of, m in (("kalman", 0), ("ekf", 0), ("enkf", 8))),
        ragged("ragged", subjects=6, times=10),
        ragged("rectangle", subjects=6, times=10),
        nonlinear(2, subjects=2, times=8),
        nonlinear(4, subjects=2, times=8),
        lgssm("full", times=8),
        lgssm("diagonal", times=8),
        *(counts(d, subjects=3, times=8) for d in (1, 2)),
        volatility(times=8),
    ]


def device_cases() -> list[Case]:
    """Cases of `devices.py`: panels and ensembles of several sizes, and many vectorized chains."""
    return [
        *(ou("kalman", N, 100, 0, "all") for N in (10, 1000, 10_000)),
        *(ou("enkf", N, 100, M, "all") for N, M in ((10, 30), (10, 1000), (1000, 30), (1000, 100))),
        ragged("ragged"),
        *(nonlinear(d, subjects=1000) for d in (2, 8)),
        lgssm("full"),
        *(
            replace(case, name=f"{case.name}/chains100", chains=100)
            for case in (ou("kalman", 10, 100, 0, "all"), ou("enkf", 10, 100, 30, "all"))
        ),
    ]


def ou_cases() -> list[Case]:
    """Ornstein-Uhlenbeck panels along all axes of size."""
    sizes = [("kalman", 0), ("ekf", 0), ("enkf", 30), ("enkf", 100), ("enkf", 1000)]
    axes = product(sizes, (10, 100, 1000, 10_000), (100, 1000), ("mu", "all"))
    return [ou(of, N, T, M, variant) for (of, M), N, T, variant in axes]


def ou(likelihood: str, subjects: int, times: int, members: int, variant: str) -> Case:
    """`variant` "mu": rate and standard deviations are known; "all": they are parameters too."""
    size = f"N{subjects}/T{times}" + (f"/M{members}" if members else "")
    # With one Euler step per gap the EKF of a linear system is the Kalman filter of the Euler
    # chain, and these two packages run that filter.
    others = {"kalman": ("cuthbert", "dynamax", "pymc-extras"), "ekf": ("cuthbert", "dynamax")}
    everyone = (*DYNESTYX[likelihood], *others.get(likelihood, ()))
    # At other sizes dynestyx takes minutes for a call, or for its compilation.
    reachable = times == 100 and members in (0, 30, 100)
    if subjects not in (10, 1000):
        everyone = tuple(name for name in everyone if not name.startswith("dynestyx"))
    return Case(
        name=f"ou/{likelihood}/{size}/{variant}",
        family="ou",
        likelihood=likelihood,
        subjects=subjects,
        times=times,
        members=members,
        variant=variant,
        competitors=everyone if reachable else (OURS,),
    )


def two_layer(likelihood: str, members: int, times: int = 100) -> Case:
    """Three groups of three subjects."""
    return Case(
        name=f"two-layer/{likelihood}{members or ''}",
        family="two-layer",
        likelihood=likelihood,
        subjects=9,
        times=times,
        members=members,
        competitors=DYNESTYX[likelihood],
    )


def ragged(variant: str, subjects: int = 1000, times: int = 200) -> Case:
    """Two to `times` visits per subject, at individual times; or a rectangle of as many data."""
    return Case(
        name="ragged/kalman" if variant == "ragged" else "ragged/kalman-rectangle",
        family="ragged",
        subjects=subjects,
        times=times,
        variant=variant,
    )


def nonlinear(states: int, subjects: int = 10, times: int = 100) -> Case:
    """A chain of `states` / 2 noisy Van der Pol oscillators."""
    return Case(
        name=f"nonlinear/ekf/d{states}",
        family="nonlinear",
        likelihood="ekf",
        subjects=subjects,
        times=times,
        states=states,
        variant="all",
        competitors=(OURS, "dynestyx"),
    )


def lgssm(variant: str, times: int = 100) -> Case:
    """Two states, ten components, all matrices unknown; noises "diagonal" or correlated."""
    return Case(
        name=f"lgssm/{variant}",
        family="lgssm",
        times=times,
        states=2,
        variant=variant,
        competitors=(OURS, "dynamax", "pymc-extras"),
    )


def counts(states: int, subjects: int, times: int = 100) -> Case:
    """Poisson counts about an Ornstein-Uhlenbeck path, or a smooth one of two states."""
    return Case(
        name=f"laplace/counts/d{states}/N{subjects}/T{times}",
        family="counts",
        likelihood="laplace",
        stride=STRIDE,
        subjects=subjects,
        times=times,
        states=states,
        variant="all",
        competitors=(OURS, TMB),
    )


def volatility(times: int = 250) -> Case:
    """Returns of one series whose log-variance is an autoregression."""
    return Case(
        name=f"laplace/volatility/T{times}",
        family="volatility",
        likelihood="laplace",
        stride=STRIDE,
        times=times,
        variant="all",
        competitors=(OURS, TMB),
    )


def sample(
    likelihood: str, members: int = 0, draws: int = 100, repetitions: int = 1, name: str = ""
) -> Case:
    """One chain of NUTS on ten subjects, with as many tuning steps as draws."""
    return Case(
        name=name or f"sample/{likelihood}{members or ''}",
        family="ou",
        likelihood=likelihood,
        subjects=10,
        members=members,
        draws=draws,
        repetitions=repetitions,
        competitors=DYNESTYX[likelihood],
    )
