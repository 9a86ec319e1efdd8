"""What there is to run, and who takes part in it.

Only the standard library is needed here, since every contender's environment imports this file.
"""

from dataclasses import dataclass, replace
from itertools import product

OURS = "pymc_dynsys"


@dataclass(frozen=True)
class Contender:
    """Module under `contenders/` that runs it, and the package that it needs beside jax."""

    module: str
    package: str
    version: str = ""


CONTENDERS = {
    OURS: Contender("ours", "pymc-dynsys"),
    "dynestyx": Contender("with_dynestyx", "dynestyx", "0.7.1"),
    "dynestyx-ode": Contender("with_dynestyx_ode", "dynestyx", "0.7.1"),
    "cuthbert": Contender("with_cuthbert", "cuthbert", "0.1.1"),
    "dynamax": Contender("with_dynamax", "dynamax", "1.0.3"),
    "pymc-extras": Contender("with_pymc_extras", "pymc-extras", "0.15.1"),
}


# dynestyx has two ways to be exact.
DYNESTYX = {
    "kalman": (OURS, "dynestyx", "dynestyx-ode"),
    "ekf": (OURS, "dynestyx"),
    "enkf": (OURS, "dynestyx"),
}


@dataclass(frozen=True)
class Work:
    """One thing to compute; contenders that do not know its family do not take part."""

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
    contenders: tuple[str, ...] = (OURS,)

    @property
    def memory_gb(self) -> float:
        """Rough need of the largest contender.

        An ensemble filter holds the normals of every member at each of about three steps a gap,
        several times over while they are drawn and compiled; the others hold little beside data.
        """
        numbers = self.subjects * self.times * self.states
        return 1.0 + 8e-9 * numbers * (5 * 3 * self.members if self.members else 100)


def all_works() -> list[Work]:
    """Everything, in the order in which it runs."""
    return [
        *ou_works(),
        *(two_layer(of, m) for of, m in (("kalman", 0), ("ekf", 0), ("enkf", 30))),
        ragged("ragged"),
        ragged("rectangle"),
        *(nonlinear(d) for d in (2, 4, 8)),
        lgssm("full"),
        lgssm("diagonal"),
        sample("kalman", repetitions=3),
        sample("ekf", repetitions=3),
        sample("enkf", members=30),
        sample("kalman", draws=1000, name="sample/kalman-long"),
    ]


def small_works() -> list[Work]:
    """Small forms of them all, whose values and gradients are kept in `expected.json`."""
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
    ]


def device_works() -> list[Work]:
    """What `devices.py` compares: panels and ensembles of several sizes, many chains in step."""
    return [
        *(ou("kalman", N, 100, 0, "all") for N in (10, 1000, 10_000)),
        *(ou("enkf", N, 100, M, "all") for N, M in ((10, 30), (10, 1000), (1000, 30), (1000, 100))),
        ragged("ragged"),
        *(nonlinear(d, subjects=1000) for d in (2, 8)),
        lgssm("full"),
        *(
            replace(work, name=f"{work.name}/chains100", chains=100)
            for work in (ou("kalman", 10, 100, 0, "all"), ou("enkf", 10, 100, 30, "all"))
        ),
    ]


def ou_works() -> list[Work]:
    """Ornstein-Uhlenbeck panels along all axes of size."""
    sizes = [("kalman", 0), ("ekf", 0), ("enkf", 30), ("enkf", 100), ("enkf", 1000)]
    axes = product(sizes, (10, 100, 1000, 10_000), (100, 1000), ("mu", "all"))
    return [ou(of, N, T, M, variant) for (of, M), N, T, variant in axes]


def ou(likelihood: str, subjects: int, times: int, members: int, variant: str) -> Work:
    """`variant` "mu": rate and standard deviations are known; "all": they are parameters too."""
    size = f"N{subjects}/T{times}" + (f"/M{members}" if members else "")
    # With one Euler step a gap the EKF of a linear system is the Kalman filter of the Euler chain,
    # which is what these two run.
    others = {"kalman": ("cuthbert", "dynamax", "pymc-extras"), "ekf": ("cuthbert", "dynamax")}
    everybody = (*DYNESTYX[likelihood], *others.get(likelihood, ()))
    # dynestyx takes minutes for a call, or for its compilation, at other sizes.
    reachable = times == 100 and members in (0, 30, 100)
    if subjects not in (10, 1000):
        everybody = tuple(name for name in everybody if not name.startswith("dynestyx"))
    return Work(
        name=f"ou/{likelihood}/{size}/{variant}",
        family="ou",
        likelihood=likelihood,
        subjects=subjects,
        times=times,
        members=members,
        variant=variant,
        contenders=everybody if reachable else (OURS,),
    )


def two_layer(likelihood: str, members: int, times: int = 100) -> Work:
    """Three groups of three subjects."""
    return Work(
        name=f"two-layer/{likelihood}{members or ''}",
        family="two-layer",
        likelihood=likelihood,
        subjects=9,
        times=times,
        members=members,
        contenders=DYNESTYX[likelihood],
    )


def ragged(variant: str, subjects: int = 1000, times: int = 200) -> Work:
    """Two to `times` visits a subject, at times of their own; or as many data in a rectangle."""
    return Work(
        name="ragged/kalman" if variant == "ragged" else "ragged/kalman-rectangle",
        family="ragged",
        subjects=subjects,
        times=times,
        variant=variant,
    )


def nonlinear(states: int, subjects: int = 10, times: int = 100) -> Work:
    """A chain of `states` / 2 noisy Van der Pol oscillators."""
    return Work(
        name=f"nonlinear/ekf/d{states}",
        family="nonlinear",
        likelihood="ekf",
        subjects=subjects,
        times=times,
        states=states,
        variant="all",
        contenders=(OURS, "dynestyx"),
    )


def lgssm(variant: str, times: int = 100) -> Work:
    """Two states, ten components, all matrices unknown; noises "diagonal" or correlated."""
    return Work(
        name=f"lgssm/{variant}",
        family="lgssm",
        times=times,
        states=2,
        variant=variant,
        contenders=(OURS, "dynamax", "pymc-extras"),
    )


def sample(
    likelihood: str, members: int = 0, draws: int = 100, repetitions: int = 1, name: str = ""
) -> Work:
    """One chain of NUTS, as many steps of tuning as draws, on ten subjects."""
    return Work(
        name=name or f"sample/{likelihood}{members or ''}",
        family="ou",
        likelihood=likelihood,
        subjects=10,
        members=members,
        draws=draws,
        repetitions=repetitions,
        contenders=DYNESTYX[likelihood],
    )
