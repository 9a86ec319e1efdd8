"""Plugins of the test run: how JAX compiles, what CPU time each file takes, and what is a second view."""

pytest_plugins = ("tests.compilation", "tests.cpu_time", "tests.second_views")
