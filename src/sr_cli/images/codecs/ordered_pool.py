"""Work in threads whose results come out in the order the work went in."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_MOST_THREADS = 8


class InOrder:
    """Runs ``work`` in threads and hands each result to ``use`` in this thread, in order of submission.

    Few pieces are ever under way, so memory stays small however many are submitted.
    """

    def __init__(self, work: Callable[..., bytes], use: Callable[[bytes], None]) -> None:
        threads = min(_MOST_THREADS, os.cpu_count() or 1)
        self._work, self._use = work, use
        self._threads = ThreadPoolExecutor(threads)
        self._under_way: deque[Future[bytes]] = deque()
        self._most = threads + 1

    def submit(self, *arguments: Any) -> None:
        self._under_way.append(self._threads.submit(self._work, *arguments))
        if len(self._under_way) >= self._most:
            self._use(self._under_way.popleft().result())

    def finish(self) -> None:
        """Wait for all that is under way and hand it on."""
        while self._under_way:
            self._use(self._under_way.popleft().result())

    def close(self) -> None:
        """Drop what is under way."""
        self._threads.shutdown(cancel_futures=True)
