"""CPU seconds of tests, summed by file, and a limit on them.

The clock on the wall tells little where tests share a machine. The CPU time of a process, and of
the processes that it waited for, is charged to the test that ran meanwhile and to its fixtures.

``--budget`` fails a run in which a file takes more than ``tests/budget.toml`` allows it, and
``--cpu-times FILE`` writes the seconds of every test, in the order of their cost.
"""

import resource
import time
import tomllib
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

SHOWN = 25
BUDGET = tomllib.loads((Path(__file__).parent / "budget.toml").read_text())


def budget_of(file: str) -> float:
    """CPU seconds that the tests of a file may take."""
    return BUDGET["files"].get(file, BUDGET["default"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the dearest files first, so that no process is left alone with one of them."""
    items.sort(key=lambda item: -budget_of(item.nodeid.partition("::")[0]))


def cpu_seconds() -> float:
    """CPU time of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--budget",
        action="store_true",
        help="fail if the tests of a file take more CPU time than tests/budget.toml allows",
    )
    parser.addoption(
        "--cpu-times",
        metavar="FILE",
        type=Path,
        help="write the CPU seconds of every test into this file",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Clock())
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Tally())


class Clock:
    """Charges CPU time to tests, in each process that runs them."""

    def __init__(self) -> None:
        self.last = 0.0

    def pytest_runtest_logstart(self) -> None:
        self.last = cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        report = yield
        now = cpu_seconds()
        report.cpu, self.last = now - self.last, now
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["cpu"] = cpu_seconds()


class Tally:
    """Adds up what the processes report, in the one that prints."""

    def __init__(self) -> None:
        self.tests: Counter[str] = Counter()
        self.workers = 0.0

    @property
    def files(self) -> Counter[str]:
        """CPU seconds by file."""
        files: Counter[str] = Counter()
        for test, seconds in self.tests.items():
            files[test.partition("::")[0]] += seconds
        return files

    @property
    def over(self) -> dict[str, float]:
        """Files that took more than they may."""
        return {file: s for file, s in self.files.items() if s > budget_of(file)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests[report.nodeid] += getattr(report, "cpu", 0.0)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.workers += getattr(node, "workeroutput", {}).get("cpu", 0.0)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.config.getoption("budget") and self.over and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        write = terminalreporter.write_line
        terminalreporter.section("CPU seconds")
        for title, counter in (("Tests", self.tests), ("Files", self.files)):
            write(f"{title} that took most:")
            for name, seconds in counter.most_common(SHOWN):
                write(f"{seconds:8.1f}  {name}")
        if path := config.getoption("cpu_times"):
            lines = (f"{seconds:8.2f}  {name}\n" for name, seconds in self.tests.most_common())
            path.write_text("".join(lines))
        own = time.process_time()
        write(f"{own + self.workers:8.1f}  in all, of which {self.tests.total():.1f} in tests")
        if config.getoption("budget"):
            for file, seconds in self.over.items():
                write(
                    f"{file} took {seconds:.1f} CPU seconds, of which it may take "
                    f"{budget_of(file):g}; make it cheaper, or raise its limit in "
                    "tests/budget.toml and say why",
                    red=True,
                )
