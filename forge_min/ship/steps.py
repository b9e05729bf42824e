"""Steps of long work: named, timed, told of when they begin and when they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[str, float | None], None]


@contextmanager
def timed(steps: dict[str, float], tell: Step | None, name: str) -> Iterator[None]:
    """Times one step into `steps`. tell: gets its name and None first, its seconds at its end."""
    tell = tell or (lambda name, seconds: None)
    tell(name, None)
    start = time.perf_counter()
    yield
    steps[name] = time.perf_counter() - start
    tell(name, steps[name])
