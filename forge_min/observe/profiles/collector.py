"""What the garbage collector says of itself, and the types that it looks after most of."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

_LOOKED_AT = 200_000  # objects; of more, every nth is counted for n


def collector(top: int) -> dict[str, Any]:
    """As of the module `gc`; `types`: the `top` most frequent, an estimate above 200,000 objects.

    Text, numbers and what else can hold nothing are not the collector's, and not counted.
    """
    objects = gc.get_objects()
    number = len(objects)
    step = number // _LOOKED_AT + 1
    counted = Counter(map(type, objects[::step]))
    del objects
    return {
        "enabled": gc.isenabled(),
        "counts": gc.get_count(),
        "thresholds": gc.get_threshold(),
        "generations": gc.get_stats(),
        "frozen": gc.get_freeze_count(),
        "uncollectable": len(gc.garbage),
        "objects": number,
        "counted_every": step,
        "types": [
            {"type": _name(kind), "objects": count * step}
            for kind, count in counted.most_common(top)
        ],
    }


def _name(kind: type) -> str:
    """SAFETY: by `type` itself: a metaclass may run anything for kind.__qualname__."""
    module = type.__dict__["__module__"].__get__(kind)
    name = type.__dict__["__qualname__"].__get__(kind)
    return name if module == "builtins" else f"{module}.{name}"[:300]
