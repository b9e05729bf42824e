"""What other clients notice while one client attacks the artifact, and after it has gone.

    python benchmarks/http/attacks.py [--only NAME] [--seconds 10] [--json FILE]
    python benchmarks/http/attacks.py --only idle --seconds 1     one attack, a short look

The attacker (attacker.py, at the lowest priority) has the address 127.0.0.2. The other client has
127.0.0.1 and a key; it requests a row 80 times a second, and connects anew for every twentieth. The
rate limits are the default ones unless `--without-rate-limits` is given. Each attack meets a new
process. A request that fails is repeated, as clients do; its time includes all of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from forge_min import db  # noqa: E402
from forge_min.auth import accounts, credentials  # noqa: E402
from forge_min.db import EmbeddedServer  # noqa: E402

from attacker import READY, attacks  # noqa: E402
from goals import Figure, at_most, report  # noqa: E402
from run import CASES, prepare_shop, serve_again  # noqa: E402
from usage import peak_mib  # noqa: E402

ROW = CASES["row"]
LARGE = "00000000-0000-0000-0000-000000000001"
# A `contains` without an index is refused from 100,000 rows on.
DOCUMENTS = f"""
insert into documents (name)
select 'product <' || n || '> & more' from generate_series(1, 95000) n;
insert into documents (id, content)
select '{LARGE}', jsonb_agg('word ' || n) from generate_series(1, 70000) n;
analyze documents;
"""
DEFAULT_RATES = '{default = "100/1m", session = "1000/1m", api_key = "5000/1m"}'
PAUSE = 0.0125  # seconds between two requests
TIMEOUT = 10  # seconds of a request
PER_CONNECTION = 20  # requests
BEFORE = AFTER = 3  # seconds of measurement
RECOVERY = 5  # seconds after the attacker has gone
MOST_P99, MOST_RATIO = 100, 1.5


class Times(NamedTuple):
    """Milliseconds of requests. failed: tries without a response of 200."""

    p50: float
    p99: float
    requests: int
    failed: int


class Setting(NamedTuple):
    """What every attack needs. key: of the other client."""

    server: EmbeddedServer
    artifact: list[str]
    work: Path
    seconds: float
    key: str
    rates: str


def rows(port: int, key: str, seconds: float) -> Times:
    """Request a row again and again for some seconds."""
    times, tries = [], 0
    end = time.monotonic() + seconds
    conn = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    while time.monotonic() < end or len(times) < 2:
        if len(times) % PER_CONNECTION == 0:
            conn.close()  # request() connects
        began = time.monotonic()
        while time.monotonic() < began + TIMEOUT:
            tries += 1
            if status_of(conn, key) == 200:
                break
            conn.close()
            time.sleep(PAUSE)
        times.append((time.monotonic() - began) * 1000)
        time.sleep(PAUSE)
    conn.close()
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return Times(cuts[49], cuts[98], len(times), tries - len(times))


def status_of(conn: HTTPConnection, key: str) -> int:
    """Request a row, and return the status; 0 without a response."""
    try:
        conn.request("GET", ROW, headers={"Authorization": f"Bearer {key}"})
        response = conn.getresponse()
        response.read()
        return response.status
    except (OSError, HTTPException):
        return 0


def figures(setting: Setting, name: str) -> Iterator[Figure]:
    """Attack a new process, and yield the figures of the other client and of the process."""
    with ExitStack() as stack:
        settings = {"FORGE_API_RATE_LIMIT": setting.rates, "FORGE_SERVER_MAX_PER_CLIENT": "0"}
        description = json.loads(
            serve_again(
                stack, setting.artifact, setting.server, setting.work, **settings
            ).read_text()
        )
        port = urlsplit(description["base"]).port
        rows(port, setting.key, 1)  # warm
        before = rows(port, setting.key, BEFORE)
        command = [sys.executable, str(HERE / "attacker.py"), name, str(port), ROW]
        command += [f"/documents/{LARGE}"]
        attacker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stack.callback(attacker.kill)
        assert attacker.stdout is not None
        assert attacker.stdout.readline().strip() == READY
        during = rows(port, setting.key, setting.seconds)
        attacker.send_signal(signal.SIGTERM)
        sent = json.loads(attacker.communicate(timeout=60)[0])
        time.sleep(RECOVERY)
        after = rows(port, setting.key, AFTER)
        peak = peak_mib(description["pid"])
    note = f"before {before.p99:.1f} ms; {during.requests} requests, {during.failed} failed tries"
    yield at_most(f"row p99 beside {name}", during.p99, "ms", MOST_P99, note)
    yield Figure(f"row p50 beside {name}", during.p50, "ms", note=f"before {before.p50:.1f} ms")
    yield at_most(
        f"row p50 {RECOVERY} s later, of before", after.p50 / before.p50, "x", MOST_RATIO,
        f"{after.p50:.1f} ms; {after.failed} failed tries",
    )  # fmt: skip
    yield Figure("peak memory of the server", peak, "MiB")
    yield Figure(
        "sent by the attacker", sent["bytes"] / sent["seconds"] / 1e6, "MB/s", note=text(sent)
    )


def text(sent: dict[str, Any]) -> str:
    """Describe what the attacker has sent."""
    answers = ", ".join(f"{number} x {status}" for status, number in sent["statuses"].items())
    connections = f"{sent['opened']} connections, {sent['closed']} closed by the server"
    return f"{connections}; responses: {answers or 'none'}; {sent['seconds']:.0f} s"


def main() -> None:
    """Run, print, and write JSON if --json is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="attacks with this text in their name")
    parser.add_argument("--seconds", type=float, default=10, help="of each attack")
    parser.add_argument("--without-rate-limits", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    names = [name for name in attacks() if options.only in name]
    if not names:
        parser.error(f"--only {options.only}: the attacks are {', '.join(attacks())}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # also of the server and the attacker
    with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
        work = Path(folder)
        with EmbeddedServer(work / "postgres", app_role="shop_app") as server:
            artifact = prepare_shop(server, work)
            with db.connect(server.owner_url) as conn:
                conn.execute(DOCUMENTS)
            with db.connect(server.app_url) as conn:
                user = accounts.create_user(conn, "other@example.com")
                key = credentials.create_key(conn, user)
            rates = '{default = "100000000/1m"}' if options.without_rate_limits else DEFAULT_RATES
            setting = Setting(server, artifact, work, options.seconds, key, rates)
            report((each for name in names for each in figures(setting, name)), options.json)


if __name__ == "__main__":
    main()
