"""No JAX in a forked process, where it may wait forever for threads that a fork does not copy."""

import os

_seen = {"used": False, "forked": False}


def use_jax() -> None:
    """Say that JAX computes from now on in this process, and raise where it may hang.

    Raises
    ------
    RuntimeError
        If this process was forked off one in which JAX had been used.
    """
    if _seen["forked"]:
        raise RuntimeError(
            "this process was forked after JAX had been used, and JAX may hang in it. Sample in "
            "one process with pm.sample(nuts_sampler='numpyro') or cores=1, or start processes "
            "that are not forks with mp_ctx='forkserver' (multiprocessing.get_context of it)"
        )
    _seen["used"] = True


def _note_fork() -> None:
    _seen["forked"] = _seen["used"]


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_note_fork)
