"""Compiled modules (.pyc) whose bytes depend on the sources alone.

marshal's output depends on what the compiling process did before (which strings it has interned),
so every run compiles in a fresh isolated child that has done nothing else. The .pyc are of the kind
"unchecked hash" (PEP 552): they hold no time, and the reader compares nothing.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath

from ..errors import build_error

_CHILD = """
import sys, marshal, importlib.util
head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
done = []
for name, source in marshal.load(sys.stdin.buffer):
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as err:
        line = getattr(err, "lineno", None) or 1
        done.append((name, line, str(getattr(err, "msg", err)) or "too complex"))
        break
    done.append(head + importlib.util.source_hash(source) + marshal.dumps(code))
sys.stdout.buffer.write(marshal.dumps(done))
"""


def compile_members(sources: Mapping[str, bytes], *, beside: bool) -> dict[str, bytes]:
    """The .pyc of every `.py` among the sources, by name.

    sources: name inside the artifact → text; the name is also what tracebacks show. beside: where
    zipimport looks (`a.pyc`); else where the import from folders does (`__pycache__/`).
    Raises BuildError F344 for source that does not compile, naming file and line.
    """
    names = sorted(name for name in sources if name.endswith(".py"))
    results = _run_child([(name, sources[name]) for name in names])
    compiled: dict[str, bytes] = {}
    for name, result in zip(names, results, strict=False):  # a build_error ends the list early
        if isinstance(result, tuple):
            file, line, why = result
            raise build_error("no_bytecode", file=file, line=line, why=why)
        compiled[name + "c" if beside else _cached(name)] = result
    return compiled


def _cached(name: str) -> str:
    """As importlib's cache_from_source, which leads outside where PYTHONPYCACHEPREFIX is set."""
    path = PurePosixPath(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc")


def _run_child(work: list[tuple[str, bytes]]) -> list[bytes | tuple[str, int, str]]:
    keep = {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
    child = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CHILD],
        # SAFETY: version 0 tells nothing of what is interned or shared in this process.
        input=marshal.dumps(work, 0),
        env=keep,
        capture_output=True,
        check=False,
    )
    if child.returncode:
        said = child.stderr.decode(errors="replace").strip()[-400:]
        python = sys.executable
        raise build_error("no_compiler", status=child.returncode, said=said, python=python)
    return list(marshal.loads(child.stdout))
