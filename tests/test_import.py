"""What importing the package does to the rest of the process, and what is imported later."""

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
from types import ModuleType

import pytest

import pymc_dynsys as pds
from pymc_dynsys.bridge.when_imported import when_imported

IMPORTED = """
import json, os, sys
import pymc_dynsys
loaded = sorted(sys.modules)
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
import jax
print(json.dumps({"loaded": loaded, "devices": len(jax.devices("cpu")),
                  "x64": jax.config.jax_enable_x64}))
"""

USED = """
import sys, warnings
if sys.argv[1] == "after numba":
    import pytensor.link.numba.dispatch
import numpyro.distributions as dist
import pymc as pm
import pymc_dynsys as pds
walk = pds.SDE(
    states=("level",),
    drift=lambda level, mu: mu - level,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 0.1),
)
with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as model:
    mu = pm.Normal("mu")
    pds.Trajectory("y", walk, params={"mu": mu}, observed=[0.1, 0.2, 0.3], dims="time")
print("pytensor.link.numba.dispatch" in sys.modules)
warnings.filterwarnings("error", message="Numba will use object mode")
print(model.compile_logp(mode="NUMBA")(model.initial_point()))
print(model.compile_logp(mode="JAX")(model.initial_point()))
"""


def run(code, *arguments):
    """What a fresh process prints."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def imported():
    return json.loads(run(IMPORTED))


def test_importing_the_package_does_not_start_jax(imported):
    """Devices, platforms and hosts can still be chosen after it, as after `import jax`."""
    assert imported["devices"] == 3
    assert imported["x64"]


@pytest.mark.parametrize(
    "module",
    [
        "arviz_plots",
        "arviz_stats",
        "blackjax",
        "diffrax",
        "equinox",
        "matplotlib",
        "numba",
        "pytensor.link.numba.dispatch",
        "scipy.stats",
    ],
)
def test_what_is_slow_to_import_waits_until_it_is_used(imported, module):
    assert "pymc_dynsys" in imported["loaded"]
    assert module not in imported["loaded"]


@pytest.mark.parametrize(
    "order", ["before numba", pytest.param("after numba", marks=pytest.mark.slow)]
)
def test_numba_runs_a_trajectory_without_a_warning(order):
    numba_is_loaded, of_numba, of_jax = run(USED, order).split()
    assert numba_is_loaded == str(order == "after numba")
    assert float(of_numba) == pytest.approx(float(of_jax), rel=1e-12)


@pytest.mark.parametrize("name", pds.__all__)
def test_every_name_is_there_and_listed(name):
    assert name in dir(pds)
    assert getattr(pds, name) is not None


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="'pymc_dynsys' has no attribute 'nothing'"):
        _ = pds.nothing


def test_version():
    assert pds.__version__ == importlib.metadata.version("pymc-dynsys")
    assert "__version__" in dir(pds)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module that can be imported, and that no one has imported."""
    (tmp_path / "late_module.py").write_text("seen = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield "late_module"
    sys.modules.pop("late_module", None)


def note(module: ModuleType) -> None:
    module.seen.append(module.__name__)


def test_an_action_waits_for_the_module(module):
    when_imported(module, note)
    assert module not in sys.modules
    late = importlib.import_module(module)
    assert late.seen == [module]
    assert late.__loader__ is late.__spec__.loader
    assert late.__loader__.get_source(module) == "seen = []\n"
    importlib.import_module(module)
    assert late.seen == [module]


def test_an_action_on_a_module_that_was_imported_before(module):
    late = importlib.import_module(module)
    when_imported(module, note)
    assert late.seen == [module]


def test_an_action_waits_for_an_import_that_works(module, tmp_path):
    when_imported(module, note)
    source = tmp_path / f"{module}.py"
    source.write_text("import no_such_module_as_this\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_as_this"):
        importlib.import_module(module)
    source.write_text("seen = []\n")
    assert importlib.import_module(module).seen == [module]
