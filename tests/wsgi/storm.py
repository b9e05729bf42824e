"""Sends random requests to a server: each is answered, or its connection closes.

    python tests/wsgi/storm.py --requests 200000 --seed 7        (make storm)

Client processes send requests of random kinds, in random pieces, pipelined to a random depth, and
leave at random points: they close, reset the connection, or end their output. What they receive
must be the responses to their requests, byte for byte and in order. A client that waits longer
than 20 seconds has found a stuck request. At the end the server must have no connection, no task,
no open body and no further descriptor, and the numbers of both sides must agree.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import multiprocessing
import os
import random
import resource
import sys
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from forge_min import fanout
from forge_min.wsgi import Server

from wsgi.storm_client import STUCK, run_client
from wsgi.storm_kinds import Application, Intended

CLIENTS = 3  # processes
THREADS = 8


class Records(logging.Handler):
    """Counts the exceptions of the application, and keeps all other records."""

    def __init__(self) -> None:
        super().__init__()
        self.intended, self.others = 0, list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is Intended:
            self.intended += 1
        else:
            self.others.append(self.format(record))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def live(name: str) -> int:
    """Return the number of objects of a class of this name."""
    gc.collect()
    return sum(type(each).__name__ == name for each in gc.get_objects())


class Storm:
    """A server, its clients, and all that is wrong."""

    def __init__(self, requests: int, seed: int) -> None:
        self.counts, self.longest, self.wrong = Counter[str](), 0.0, list[str]()
        self.application, self.records = Application(), Records()
        self.sent = [0] * CLIENTS
        self.parents, self.clients = list[Connection](), list[ForkProcess]()
        context = multiprocessing.get_context("fork")
        share = -(-requests // CLIENTS)
        for number in range(CLIENTS):
            mine, theirs = context.Pipe()
            self.parents.append(mine)
            args = (theirs, list(self.parents), number, f"{seed}/{number}", share)
            self.clients.append(context.Process(target=run_client, args=args, daemon=True))
            self.clients[-1].start()
            theirs.close()

    def run(self) -> None:
        """Run the server until all clients have ended, or one has failed."""
        logger = logging.getLogger("forge_min")
        logger.addHandler(self.records)
        logger.propagate = False
        before = descriptors()
        self.serve()
        self.check_objects(before)
        if not self.wrong:
            self.check_numbers()

    def serve(self) -> None:
        limits = dict.fromkeys(
            ("header_timeout", "body_timeout", "write_timeout", "keepalive"), 6 * STUCK
        )
        server = Server(("127.0.0.1", 0), self.application, threads=THREADS, **limits)
        server.start()
        for parent in self.parents:
            parent.send((server.server_name, server.server_port))
        running = list(self.parents)
        while running and not self.wrong:
            for parent in wait(running):
                assert isinstance(parent, Connection)
                if self.take(parent):
                    running.remove(parent)
        if self.wrong:
            faulthandler.dump_traceback(all_threads=True)
        self.check_end(server)
        self.application.parked.clear()
        for client in self.clients:
            client.kill()

    def take(self, parent: Connection) -> bool:
        """Take one report of a client. Returns whether it is the last one."""
        try:
            report = parent.recv()
        except EOFError:
            report = "a client process has ended"
        if isinstance(report, int):
            self.sent[self.parents.index(parent)] = report
            if sys.stderr.isatty():
                print(f"\r{sum(self.sent):,} requests", end="", file=sys.stderr)
            return False
        if isinstance(report, str):
            self.wrong.append(report)
        else:
            self.counts += report[0]
            self.longest = max(self.longest, report[1])
        return True

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            self.wrong.append(message)

    def check_end(self, server: Server) -> None:
        """Check that the server has no connection, and stop it."""
        until = time.monotonic() + (0 if self.wrong else STUCK)
        while server.connections and time.monotonic() < until:
            time.sleep(0.01)
        left = server.connections
        self.require(not left, f"{left} connections are open after all clients have ended")
        self.require(server.stop(), "stop() has closed connections")
        workers = [t.name for t in threading.enumerate() if t.name.startswith("http-")]
        self.require(not workers, f"threads run after stop(): {workers}")

    def check_objects(self, before: int) -> None:
        """Check that a stopped server has released everything.

        before: number of descriptors before it began.
        """
        for name in ("Task", "Exchange", "RequestReader", "IoThread", "ClientState"):
            self.require(not live(name), f"{live(name)} objects of {name} are left")
        after = descriptors()
        self.require(after == before, f"{after} descriptors are open, {before} before")
        opened, closed = (c.total() for c in (self.application.opened, self.application.closed))
        self.require(opened == closed, f"{opened} bodies and streams were opened, {closed} closed")
        self.wrong += self.records.others[:10]

    def check_numbers(self) -> None:
        """Check that the numbers of the clients and of the application agree."""
        counts, handled = self.counts, self.application.handled.total()
        parts = [counts[name] for name in ("answered", "left", "behind")]
        self.require(sum(parts) == counts["requests"], f"{parts} are not {counts['requests']}")
        ended = sum(
            counts[name] for name in counts if name.startswith(("closed", "reset", "ended"))
        )
        connections = counts["connections"]
        self.require(ended == connections, f"{ended} of {connections} connections ended")
        self.require(
            parts[0] <= handled <= parts[0] + parts[1],
            f"the application got {handled} requests, {parts} were answered, left and behind",
        )

    def report(self) -> None:
        for name, count in sorted(self.counts.items(), key=lambda pair: -pair[1]):
            print(f"{count:>12,} {name}")
        print(f"{self.application.handled.total():>12,} handled by the application")
        print(f"{self.records.intended:>12,} exceptions of the application")


def main() -> int:
    """Return 0 if all requests were answered, or their connections closed."""
    parser = argparse.ArgumentParser(
        description="Send random requests on many connections to a server.",
        epilog="Example: python tests/wsgi/storm.py --requests 200000 --seed 7",
    )
    parser.add_argument("--requests", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="random unless it is set")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    began = time.monotonic()
    storm = Storm(options.requests, seed)
    storm.run()
    if sys.stderr.isatty():
        print(file=sys.stderr)
    storm.report()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{time.monotonic() - began:.0f} s, longest wait {storm.longest:.2f} s, {memory} MB, ",
        end="",
    )
    print(f"core {fanout.IMPL}, seed {seed}")
    for each in storm.wrong:
        print(f"WRONG: {each[:5000]}")
    return 1 if storm.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
