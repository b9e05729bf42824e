"""Compiled modules (.pyc) with bytes that depend only on their sources.

The output of marshal depends on the history of the process (interned strings), so every build
compiles in a new isolated child process. The files are of the kind "unchecked hash" (PEP 552):
they have no time, and the reader compares nothing.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath

from ..errors import build_error, one_line
from ..progress import run_program

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


def compile_members(sources: Mapping[str, bytes], *, zipped: bool) -> dict[str, bytes]:
    """Return the .pyc of every `.py` among the sources, by name.

    sources: text by name inside the artifact; tracebacks show this name.
    zipped: whether zipimport loads them, which needs `a.pyc` beside `a.py`. Files on disk, also
        those that are unpacked from `_native/`, have theirs in `__pycache__/`.
    Raises BuildError F344 with file and line for source that does not compile.
    """
    names = sorted(name for name in sources if name.endswith(".py"))
    results = _run_child([(name, sources[name]) for name in names])
    compiled = {}
    for name, result in zip(names, results, strict=False):  # an error ends the list
        if isinstance(result, tuple):
            file, line, why = result
            raise build_error("no_bytecode", file=file, line=line, why=why)
        if zipped and not name.startswith("_native/"):
            compiled[f"{name}c"] = result
            continue
        # importlib's cache_from_source(path), but without PYTHONPYCACHEPREFIX
        path = PurePosixPath(name)
        cached = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        compiled[str(cached)] = result
    return compiled


def _run_child(work: list[tuple[str, bytes]]) -> list[bytes | tuple[str, int, str]]:
    environ = {}
    if "LD_LIBRARY_PATH" in os.environ:
        environ["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    python = sys.executable
    command = [python, "-I", "-S", "-X", "utf8", "-c", _CHILD]
    # SAFETY: version 0 does not depend on interned or shared strings of this process.
    child = run_program(command, input=marshal.dumps(work, 0), env=environ)
    if child.returncode:
        output = one_line(child.stderr)
        raise build_error("no_compiler", status=child.returncode, output=output, python=python)
    return list(marshal.loads(child.stdout))
