"""What the tests of batches share."""

from collections.abc import Iterator

import fsspec
import pytest
from fsspec import AbstractFileSystem


@pytest.fixture
def memory() -> Iterator[AbstractFileSystem]:
    """A store in memory, ``memory://``, that is empty before and after."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
