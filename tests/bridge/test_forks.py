"""A forked process says that JAX may hang in it, and does not hang."""

import os
import signal
import warnings

import pymc as pm
import pytest

from tests.bad_inputs.models import build

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this platform")


def said_in_a_fork(action):
    """The message of the error that `action` ends with in a forked process."""
    read, write = os.pipe()
    with warnings.catch_warnings():  # of JAX and of Python, that forks are dangerous
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            action()
            os.write(write, b"no error")
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def test_likelihood_and_draws_refuse():
    model = build()
    logp, point = model.compile_logp(), model.initial_point()
    logp(point)
    assert "mp_ctx='forkserver'" in said_in_a_fork(lambda: logp(point))
    assert "mp_ctx='forkserver'" in said_in_a_fork(lambda: pm.draw(model["y"], random_seed=1))
    assert logp(point) == logp(point)  # the process itself goes on


@pytest.mark.slow
def test_a_sampler_that_forks_ends_with_the_remedy():
    model = build()
    with warnings.catch_warnings(), pytest.raises(Exception, match="forkserver"):
        warnings.simplefilter("ignore")
        pm.sample(
            10,
            tune=10,
            cores=2,
            chains=2,
            mp_ctx="fork",
            nuts_sampler="pymc",
            progressbar=False,
            model=model,
        )
