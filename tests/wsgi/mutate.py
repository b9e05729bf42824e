"""Removes the checks of the request reader one by one, and sees which hostile requests then pass.

    python tests/wsgi/mutate.py          (make mutate)

Each row of mutations.toml takes a check away in a copy of the package. A request of the corpus that
gets another answer than the one it must get has shown that check to be tested. Exit 1 where a check
can be removed and nothing is seen, where a request fails by no removal, or where a row fits no line
any more.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "forge_min"
READER = "wsgi/http1"

# Prints {name: what the request got} as JSON: a status, "accepted", or "waits".
JUDGE = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from forge_min.wsgi.http1.reader import ExpectedBody, Phase, read_requests
from forge_min.wsgi.http1.refusal import ProtocolError

def judged(raw):
    requests = read_requests(bytearray(raw), {}, 1 << 20)
    try:
        found = next(requests)
        while isinstance(found, ExpectedBody):
            found = next(requests)
        return "waits" if isinstance(found, Phase) else "accepted"
    except ProtocolError as err:
        return err.status
    except Exception as err:
        return type(err).__name__

rows = json.load(sys.stdin)
print(json.dumps({name: judged(raw.encode("latin-1")) for name, raw in rows.items()}))
"""


def corpus() -> tuple[dict[str, str], dict[str, int]]:
    """name → bytes as latin-1 text, and name → the status that it must get."""
    bytes_of, wanted = {}, {}
    for path in sorted((HERE / "corpus").glob("*.toml")):
        for row in tomllib.loads(path.read_text())["request"]:
            raw: str = row["bytes"]
            for key, (text, count) in row.get("repeat", {}).items():
                raw = raw.replace(f"<{key}>", text * count)
            assert re.fullmatch(r"RFC 911[02] section \d+(\.\d+)*", row["rfc"]), row
            bytes_of[row["name"]], wanted[row["name"]] = raw, row["status"]
    return bytes_of, wanted


def judge(folder: Path, rows: Mapping[str, str]) -> dict[str, int | str]:
    """What the package in `folder` makes of the requests."""
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(folder)],
        input=json.dumps(rows), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found: dict[str, int | str] = json.loads(done.stdout)
    return found


def main() -> int:
    """0 when every check is tested and every request tests one."""
    rows, wanted = corpus()
    mutations = tomllib.loads((HERE / "mutations.toml").read_text())["mutation"]
    never, wrong = set(rows), []
    with tempfile.TemporaryDirectory(prefix="forge-mutate-") as name:
        folder = Path(name)
        shutil.copytree(
            PACKAGE, folder / "forge_min", ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
        before = judge(folder, rows)
        wrong += [f"{name}: {before[name]}, not {wanted[name]}" for name in rows
                  if before[name] != wanted[name]]  # fmt: skip
        for mutation in mutations:
            place = folder / "forge_min" / READER / mutation["file"]
            text = place.read_text()
            changed = text
            for old, new in mutation["changes"]:
                if changed.count(old) != 1:
                    wrong.append(
                        f"{mutation['check']}: {old!r} is {changed.count(old)} times there"
                    )
                changed = changed.replace(old, new)
            place.write_text(changed)
            found = judge(folder, rows)
            place.write_text(text)
            seen = {name for name in rows if found[name] != wanted[name]}
            never -= seen
            print(f"{len(seen):4}  {mutation['check']}")
            if not seen:
                wrong.append(f"{mutation['check']}: removed, and nothing is seen")
    wrong += [f"{name}: fails by no removal" for name in sorted(never)]
    for line in wrong:
        print(f"error: {line}")
    print(f"{len(mutations)} checks removed, {len(rows)} requests, {len(wrong)} errors")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
