"""How tests compile: without optimizations, and each program once for all processes and runs.

Most of what tests cost is compilation. XLA compiles twice as fast without its optimizations, and
what it has compiled is kept in a folder that all processes share. Tests that judge numbers, run
long loops or check single precision keep the optimizer, so that the programs that users run are
judged.
"""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Read by JAX when it is imported, here and in all processes that a test starts.
for name, value in {
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}.items():
    os.environ.setdefault(name, value)

# Files and folders whose programs are compiled as users' are.
OPTIMIZED = (
    "tests/oracles",
    "tests/sampling",
    "tests/simulation",
    "tests/bridge/test_samplers.py",
    "tests/filters/test_execution.py",
)


def is_optimized(path: Path) -> bool:
    """Whether the tests of a file keep XLA's optimizations."""
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).as_posix().startswith(OPTIMIZED)


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
    Optimizer.switch(is_optimized(request.path))
