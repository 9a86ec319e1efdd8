"""Plugins of the test run: how JAX compiles, what CPU time a file takes, what is a second view."""

pytest_plugins = ("tests.compilation", "tests.cpu_time", "tests.second_views")
