"""How tests compile: without optimizations, and each program once for all processes and runs.

Most of what tests cost is compilation. XLA compiles twice as fast without its optimizations, and
what it has compiled is kept in a folder that all processes share. PyTensor runs what surrounds our
Ops by Python, where Numba would compile for seconds. Tests that judge numbers or run long loops,
and single ones marked ``optimized``, keep the optimizer, and tests of samplers keep Numba, so that
the programs that users run are judged. JAX notes no lines of source, and the garbage collector
leaves alone what was there before the first test: together they take a tenth off the CPU time.
"""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Read by JAX and PyTensor when they are imported, here and in all processes that a test starts.
for name, value in {
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS": "false",
    "JAX_TRACEBACK_IN_LOCATIONS_LIMIT": "0",
    # Fused operations, which Numba compiles, would be loops over numbers in Python.
    "PYTENSOR_FLAGS": "mode=Mode,linker=py,optimizer_excluding=fusion",
}.items():
    os.environ.setdefault(name, value)

# Files and folders whose programs are compiled as users' are.
OPTIMIZED = (
    "tests/oracles",
    "tests/sampling",
    "tests/simulation",
    "tests/bridge/test_samplers.py",
)

# Files whose PyTensor functions run as users' do.
BY_NUMBA = ("tests/bridge/test_samplers.py",)


def pytest_configure() -> None:
    """Let many objects be made before the collector looks for circles among them."""
    gc.set_threshold(200_000, 20, 100)


def pytest_collection_finish() -> None:
    """What the packages made when they were imported stays until the end."""
    gc.freeze()


def is_among(path: Path, names: tuple[str, ...]) -> bool:
    """Whether a file is one of those named, or in a folder that is."""
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).as_posix().startswith(names)


class Optimizer:
    """XLA's optimizations, on or off; JAX does not tell which they are."""

    on = True

    @classmethod
    def switch(cls, on: bool) -> None:
        """The switch is a part of the key of the cache on disk, but not of those in memory."""
        if cls.on != on:
            import jax

            jax.config.update("jax_disable_most_optimizations", not on)
            jax.clear_caches()
            cls.on = on


@pytest.fixture(scope="module", autouse=True)
def compilation(request: pytest.FixtureRequest) -> None:
    """Compile as the file of the test asks for."""
    Optimizer.switch(is_among(request.path, OPTIMIZED))
    by_numba = is_among(request.path, BY_NUMBA)
    if by_numba or "pytensor" in sys.modules:
        import pytensor

        pytensor.config.mode = "NUMBA" if by_numba else "Mode"


@pytest.fixture(autouse=True)
def optimized(request: pytest.FixtureRequest, compilation: None) -> Iterator[None]:
    """Compile a single test as users do where it is marked so."""
    before = Optimizer.on
    if request.node.get_closest_marker("optimized"):
        Optimizer.switch(True)
    yield
    Optimizer.switch(before)
