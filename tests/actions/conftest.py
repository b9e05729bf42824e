"""A bookshop for tests of reading."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forge_min.testing import TestDatabase

from bookshop import Bookshop


@pytest.fixture
def shop(fresh_database: TestDatabase) -> Iterator[Bookshop]:
    """An empty bookshop on a database of this test alone."""
    made = Bookshop(fresh_database)
    try:
        yield made
    finally:
        made.close()
