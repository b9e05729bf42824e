"""Random streams of requests, most of which are plain or nearly valid."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import TypeVar

from wsgi.mutate import corpus

T = TypeVar("T")

MAX_BODY = 300  # bytes

LINES = [
    b"GET / HTTP/1.0", b"GET  / HTTP/1.1", b"GET http://h/x HTTP/1.1", b"OPTIONS * HTTP/1.1",
    b"content-length: 5", b"\tGET / HTTP/1.1", b"GET / HTTP/1.1\r", b"GET /\0 HTTP/1.1", b"",
    b"GET /%41?%zz HTTP/1.1", b"GET /%zz HTTP/1.1", b"GET /%00 HTTP/1.1", b"GET /a#b HTTP/1.1",
    b"G\x80T / HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET /\x7f HTTP/1.1", b'GET /" HTTP/1.1',
    b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / http/1.1", b"GET / HTTP/1.1 ", b"GET /",
    b"GET\t/ HTTP/1.1", b" / HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"GET ? HTTP/1.1", b"(/ HTTP/1.1",
    b"PRI * HTTP/2.0", b"POST / HTTP/1.0\r\nConnection: keep-alive", b"GET https:///x HTTP/1.1",
    b"GET HTTP://h HTTP/1.1", b"GET //h/x HTTP/1.1", b"GET / HTTP/1.1\nHost: a",
]  # fmt: skip
PLAIN_LINES = [
    b"GET / HTTP/1.1", b"POST /p?q=1 HTTP/1.1", b"GET /a/b?c=%20d HTTP/1.1", b"HEAD / HTTP/1.1",
    b"PUT /? HTTP/1.1", b"M_X /~!$&'()*+,;=:@ HTTP/1.1", b"DELETE /a?b?c HTTP/1.1",
]  # fmt: skip
NAMES = [
    b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"cOnTeNt-LeNgTh",
    b"Content-Length ", b" Content-Length", b"Content_Length", b"Content-Length\0",
    b"Content-Lengt", b"Content-LengthX", b"Content\x0dLength", b"Transfer-Encoding",
    b"transfer-ENCODING", b"Transfer-Encoding ", b"\tTransfer-Encoding", b"Transfer_Encoding",
    b"Transfer-Encodin", b"Expect", b"EXPECT", b"Expec", b"Host", b"hOST", b"Host ", b"Hos",
    b"X-A", b"x-a", b"X\x0eA", b"Cookie", b"cookie", b"Connection", b"Content-Type",
    b"Authorization", b"", b"X A", b"X(A", b"\xb5", b"@-A", b"`-A",
]  # fmt: skip
SEPARATORS = [b":", b": ", b":\t", b" :", b": \t ", b"", b"::", b":\r\n "]
VALUES = [
    b"0", b"1", b"5", b"5 ", b"5\t ", b"05", b"00", b"+5", b"-5", b"5,5", b"5, 5", b"5;5", b"5 5",
    b"", b"299", b"300", b"301", b"999999999999999999", b"9999999999999999999", b"0x5", b"5_0",
    b"18446744073709551621", b"4294967301", b"5\x0b", b"\x0c5", b"5\r", b"5\0", b"\xb25", b"5\xa0",
    b"chunked", b"Chunked", b" chunked ", b"identity", b"chunked, chunked", b"gzip, chunked",
    b"chunked,", b"chunked;a=b", b"\x0bchunked", b"100-continue", b"100-Continue", b"100-other",
    b"a", b"a:1", b"a:123456", b"a:", b":1", b"[::1]:80", b"a/b", b"a b", b"a,b", b"%41", b"%4",
    b"close", b"keep-alive", b"Keep-Alive, x", b"upgrade", b"x\r\n y", b"x\n", b"x\rY: 1", b"\xff",
    b"x" * 200, b"x\x7f", b'"a" \t b',
]  # fmt: skip
FIELDS = [b"".join(parts) for parts in product(NAMES, SEPARATORS, VALUES)]
GOOD_FIELDS = [
    b"User-Agent: test/1.0 (x)", b'Accept:text/html, */*;q=0.8\t', b"X-Cafe: \xe9", b"X-Empty:",
    b'Cookie: a=b; c="d"', b"Content-Type: text/plain", b"X-A: 1", b"Connection: keep-alive",
    b"^: 1", b"|~: 2", b"Accept-Encoding: gzip", b"If-Match: \"a\", \"b\"",
]  # fmt: skip
BODIES = [
    b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"GET /second HTTP/1.1\r\nHost: s\r\n\r\n", b"\r\n", b"\n", b"\r", b"x" * 300, b"x" * 301,
    b"12c\r\n" + b"x" * 300 + b"\r\n0\r\n\r\n", b"12d\r\n", b"-1\r\n", b"5\nhello\n0\n\n",
    b"0005\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX0\r\n\r\n", b"ffffffffffffffffff\r\n",
]  # fmt: skip
LEADING = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\0"]
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"\x80", b"\xff", b"0", b"\r\n\r\n",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"chunked", b"_",
    b"Expect: 100-continue\r\n", b" HTTP/1.1\r\n", b"/", b"%", b"#", b"\x0b", b"\x85", b"\xa0",
]  # fmt: skip
SIZES = [4000, *range(8184, 8196), 16380, 16384, 16390, 24570, 24590]


class Streams:
    """Random streams of a seed, a text."""

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(seed)
        hostile = sorted((raw.encode("latin-1") for raw in corpus()[0].values()), key=len)
        self._short = [raw for raw in hostile if len(raw) < 1000]
        self._long = [raw for raw in hostile if len(raw) >= 1000]

    def next(self) -> bytes:
        """Return a stream: of requests of the grammar, or with bytes that were changed."""
        kind = self.rng.random()
        if kind < 0.7:
            return self._requests()
        if kind < 0.8:
            return self._changed(self._requests())
        if kind < 0.998:
            return self._changed(self._pick(self._short))
        return self._changed(self._pick(self._long))

    def _pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.rng.random() * len(choices))]

    def _requests(self) -> bytes:
        chance, out = self.rng.random, []
        for _ in range(self._pick([1, 1, 2, 3, 5])):
            if chance() < 0.03:
                out.append(self._pick(LEADING))
            out.append(self._plain() if chance() < 0.6 else self._hostile())
        return b"".join(out)

    def _plain(self) -> bytes:
        """Return a request that is plain but for its length."""
        chance = self.rng.random
        lines = [self._pick(PLAIN_LINES), b"Host: a"]
        start = int(chance() * len(GOOD_FIELDS))
        lines += GOOD_FIELDS[start : start + int(chance() * 4)]
        body = b""
        if chance() < 0.4:
            size = int(chance() * 30) if chance() < 0.9 else self._pick([298, 299, 300, 301, 302])
            body = (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 12)[:size]
            lines.append(b"Content-Length: %d" % size)
        if chance() < 0.1:
            lines[1:] = self.rng.sample(lines[1:], len(lines) - 1)
        return b"\r\n".join(self._padded(lines, chance())) + b"\r\n\r\n" + body

    def _hostile(self) -> bytes:
        """Return a request in which something is unusual or forbidden."""
        chance = self.rng.random
        lines = [self._pick(LINES if chance() < 0.2 else PLAIN_LINES)]
        if chance() < 0.97:
            lines.append(b"Host: a" if chance() < 0.9 else b"Host:" + self._pick(VALUES))
        for _ in range(self._pick([0, 1, 1, 2, 3])):
            if chance() < 0.4:
                lines.append(b"Content-Length: " + VALUES[int(chance() * 24)])
            else:
                lines.append(self._pick(FIELDS))
        end = b"\n" if chance() < 0.02 else b"\r\n"
        return end.join(self._padded(lines, chance())) + end + end + self._pick(BODIES)

    def _padded(self, lines: list[bytes], kind: float) -> list[bytes]:
        """Return the lines, rarely of a size or number near a limit."""
        if kind < 0.004:
            missing = self._pick(SIZES) - len(b"\r\n".join(lines)) - 4
            if kind < 0.001:
                lines[0] = lines[0].replace(b"/", b"/" + b"p" * max(missing, 0), 1)
            else:
                lines.append(b"X-Pad:" + b"p" * max(missing - 8, 0))
        elif kind < 0.006:
            lines += [b"X-%d: 1" % n for n in range(self._pick([37, 38, 39, 40, 98, 99, 100]))]
        return lines

    def _changed(self, data: bytes) -> bytes:
        """Return the stream after one to four random changes."""
        rng = self.rng
        for _ in range(self._pick([1, 1, 2, 4])):
            at = int(rng.random() * (len(data) + 1))
            kind = int(rng.random() * 6)
            to = at + self._pick([1, 1, 2, 4, 16, 64])
            if kind == 0:
                data = data[:at] + bytes([int(rng.random() * 256)]) + data[at + 1 :]
            elif kind == 1:
                data = data[:at] + self._pick(TOKENS) + data[at:]
            elif kind == 2:
                data = data[:at] + data[to:]
            elif kind == 3:
                data = data[:to] + data[at:]
            elif kind == 4:
                data = data[:at] + self._pick(TOKENS) + data[to:]
            else:
                other = self._pick(self._short)
                data = data[:at] + other[int(rng.random() * len(other)) :]
        return data
