"""What importing the package does to the rest of the process."""

import os
import subprocess
import sys

LATER_FLAGS = """
import os
import pymc_dynsys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
import jax
print(len(jax.devices("cpu")))
"""


def test_importing_the_package_does_not_start_jax():
    """Devices, platforms and hosts can still be chosen after it, as after `import jax`."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-W", "ignore", "-c", LATER_FLAGS]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["3"]
