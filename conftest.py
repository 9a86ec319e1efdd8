"""Plugins of the test run: how JAX compiles, and what CPU time each file takes."""

pytest_plugins = ("tests.compilation", "tests.cpu_time")
