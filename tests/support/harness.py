"""What the harness shares: how much to do, mutations, and a process in which a mutant may do its worst.

The harness does the same in every run, as much as CI has time for. ``SR_LONG=1`` does what docs/explanation/trust.md
reports; ``SR_LONG=0.1`` a tenth of it.
"""

import multiprocessing
import os
import random
import resource
import time
import traceback
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

SHARE = float(os.environ.get("SR_LONG") or 0)
MAX_SECONDS = 10  # of CPU
MAX_MEMORY = 12 << 30  # bytes of address space; the libraries alone reserve some of it
MAX_RESIDENT = 2 << 30  # bytes
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Problem = Callable[..., str | None]
"""Does something with a mutant; what went wrong, if anything."""


def cases(ci: int, *, long: int) -> range:
    """The numbers of the cases; each is the seed of its case."""
    return range(max(1, round(SHARE * long)) if SHARE else ci)


class Child:
    """A process that tries mutants; it is replaced when it dies or takes too long.

    Attributes:
        largest: the most resident memory that any of its processes had, in bytes.
    """

    def __init__(self, problem_of: Problem) -> None:
        self._problem_of = problem_of
        self.largest = 0
        self._start()

    def run(self, *arguments: object) -> str | None:
        """What went wrong with one mutant, if anything."""
        self._connection.send(arguments)
        try:
            if self._answers():
                problem, largest = self._connection.recv()
                self.largest = max(self.largest, largest)
                return problem if largest < MAX_RESIDENT else f"{largest >> 20} MiB of memory"
            problem = f"no answer within {MAX_SECONDS} s"
        except (EOFError, ConnectionError):
            problem = "crash"
        self.stop()
        self._start()
        return problem

    def _answers(self) -> bool:
        """Wait for an answer: `MAX_SECONDS` of CPU, or much longer, as other processes may be busy."""
        began, deadline = self._cpu_seconds(), time.monotonic() + 20 * MAX_SECONDS
        while not self._connection.poll(1):
            if self._cpu_seconds() - began > MAX_SECONDS or time.monotonic() > deadline:
                return False
        return True

    def _cpu_seconds(self) -> float:
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self._problem_of), daemon=True)
        self._process.start()
        there.close()
        assert self._connection.recv() == "ready"


def _serve(connection: Connection, problem_of: Problem) -> None:
    """Answer each mutant with the problem it causes, or ``None``, and the largest memory yet."""
    import torch

    from sr_cli.system.device import peak_memory

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    connection.send("ready")
    while True:
        arguments = connection.recv()
        try:
            problem = problem_of(*arguments)
        except Exception:
            problem = traceback.format_exc(limit=-2)
        connection.send((problem, peak_memory(torch.device("cpu"))))  # `ru_maxrss` begins with the parent's


def failures_of(problem_of: Problem, mutants: Any, folder: Path) -> list[str]:
    """What went wrong with mutants of ``(name, content, *more)``; the contents are kept in the folder."""
    failures = []
    child = Child(problem_of)
    for case, (name, content, *more) in enumerate(mutants):
        if problem := child.run(name, content, folder, *more):
            (folder / f"{case}-{name}").write_bytes(content)
            failures.append(f"case {case} ({name}): {problem}")
    child.stop()
    print(f"{case + 1} mutants, {len(failures)} failures, at most {child.largest >> 20} MiB")
    return failures


def one_line(error: BaseException) -> str | None:
    """What is wrong with the message of an error that was raised on purpose."""
    return None if "\n" not in str(error) and "Traceback" not in str(error) else f"message {str(error)!r}"


def mutate(content: bytes, generator: random.Random, *, other: bytes) -> bytes:
    """Change one to six places, mostly near the start, where the structure is."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        at = int(len(changed) * generator.random() ** generator.choice((1, 3)))
        length = generator.choice((1, 2, 4, 8, 64))
        start = generator.randrange(len(other))
        size = generator.choice((1, 2, 4))
        number = generator.choice(INTERESTING) & (1 << 8 * size) - 1
        where, replacement = generator.choice((
            (slice(at, at + 1), generator.randbytes(1)),
            (slice(at, at + size), number.to_bytes(size, generator.choice(("little", "big")))),
            (slice(at, None), b""),
            (slice(at, at + length), b""),
            (slice(at, at), generator.randbytes(length)),
            (slice(at, at + length), bytes(length)),
            (slice(at, at + length), other[start : start + length]),
        ))  # fmt: skip
        changed[where] = replacement
    # PNGs with wrong checksums are refused at once; half of them get right ones.
    return with_checksums(bytes(changed)) if generator.random() < 0.5 else bytes(changed)


def with_checksums(content: bytes) -> bytes:
    """Correct the checksum of every chunk of a PNG; other files are returned as they are."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    whole, at = content[:8], 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        body = content[at + 4 : end]
        whole += content[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at = end + 4
    return whole + content[at:]
