"""How the threads of a network wait for each other."""

import os

_SPINS = "20000"


def wait_briefly() -> None:
    """Let threads that have nothing to do look out for more for a millisecond, then sleep. Call it before torch comes.

    A thread that sleeps at once is late for the next layer, by a third of the time that a small picture takes; one
    that never sleeps keeps a core from the codecs. What the environment says already goes before.

    Source: GCC's libgomp manual, GOMP_SPINCOUNT; other runtimes of OpenMP read OMP_WAIT_POLICY.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
