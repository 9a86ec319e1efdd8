"""A competitor's process: how it is started, asked and ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from threading import Timer

import numpy as np
from cases import COMPETITORS, OURS, TMB, Case

HERE = Path(__file__).parent
PATIENCE_S = 1800
"""How long any single answer may take."""


class Failed(RuntimeError):
    """A competitor's process ended without an answer."""


class Process:
    """One competitor on one case."""

    def __init__(self, competitor: str, case: Case, data: Path, seed: int = 0) -> None:
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command(competitor, case, data, seed),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment(),
            # A group of its own, so that ending it ends what uv started too.
            start_new_session=True,
        )

    def ask(self, question: dict) -> dict:
        """Send a question and wait for the answer."""
        # If it is gone, the answer will say so.
        with suppress(BrokenPipeError):
            print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict:
        """Wait for what the process says next."""
        alarm = Timer(PATIENCE_S, self.kill)
        alarm.daemon = True
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            last = self.errors.read().strip().splitlines()[-3:]
            status = f"ended with status {self.process.returncode}"
            raise Failed(" | ".join([status, *last]))
        return json.loads(line)

    def close(self) -> None:
        """End the process regardless of its state."""
        self.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(BrokenPipeError):
                stream.close()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


def absent(competitor: str) -> str:
    """Why a competitor that uv cannot bring is not here; an empty string if it is."""
    if competitor != TMB:
        return ""
    if not shutil.which("Rscript"):
        return "not run: R is not installed"
    found = subprocess.run(["Rscript", "-e", "library(TMB)"], capture_output=True, text=True)
    return "not run: R has no package TMB" if found.returncode else ""


def command(competitor: str, case: Case, data: Path, seed: int) -> list[str]:
    """How a competitor's process is called."""
    if competitor == TMB:
        script = HERE / "competitors" / COMPETITORS[TMB].module
        text = as_text(data)
        return ["Rscript", str(script), case.family, str(case.states), str(text), str(case.stride)]
    arguments = [HERE / "worker.py", competitor, json.dumps(asdict(case)), data, seed]
    return [*interpreter(competitor), *map(str, arguments)]


def as_text(data: Path) -> Path:
    """The arrays of a file as text beside it, a line each: name, sizes, values row by row."""
    text = data.with_suffix(".txt")
    with np.load(data) as arrays, text.open("w") as out:
        for name, array in arrays.items():
            sizes = ",".join(map(str, array.shape or (1,)))
            print(name, sizes, " ".join(map(repr, array.ravel().tolist())), sep=";", file=out)
    return text


def interpreter(competitor: str) -> list[str]:
    """Python with the competitor: the project's own, or one that uv makes and keeps for a peer."""
    if competitor == OURS:
        return [sys.executable]
    peer = COMPETITORS[competitor]
    # The same jax for all, so that only the packages differ.
    needs = [f"{peer.package}=={peer.version}", f"jax=={version('jax')}"]
    packages = [part for need in needs for part in ("--with", need)]
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    base = getattr(sys, "_base_executable", sys.executable)
    return [uv, "run", "--quiet", "--no-project", "--python", base, *packages, "python"]


def environment() -> dict[str, str]:
    """All compute on the CPU, and peers do not see the project's environment."""
    # Nor does anyone find programs that an earlier run has compiled.
    left_out = ("VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"JAX_PLATFORMS": "cpu"}
