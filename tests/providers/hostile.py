"""Every way in which a server may answer that no well-behaved one would, in one table."""

import gzip
import zlib
from collections.abc import Callable

from tests.providers.wire import Behaviour, Endless, http, slowly, then_close, then_reset, then_silence

MIB = 1_048_576
GOOD = b'{"status": "success"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n"
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def json(body: bytes) -> bytes:
    return http(body, content_type="application/json")


def bomb() -> bytes:
    """64 MiB in 64 KiB."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(64)) + packer.flush()


WAYS: dict[str, Callable[[], Behaviour]] = {
    # what is no JSON, or none with a status
    "html": lambda: http(HTML, content_type="text/html"),
    "html-502": lambda: http(HTML, "502 Bad Gateway", content_type="text/html"),
    "html-captive-portal": lambda: http(HTML * 5_000, content_type="text/html"),
    "xml": lambda: http(b"<?xml version='1.0'?><status>success</status>"),
    "empty": lambda: http(b""),
    "empty-204": lambda: b"HTTP/1.1 204 No Content\r\n\r\n",
    "null": lambda: json(b"null"),
    "a-number": lambda: json(b"1"),
    "a-string": lambda: json(b'"success"'),
    "a-list": lambda: json(b"[" + GOOD + b"]"),
    "two-documents": lambda: json(GOOD + GOOD),
    "cut-json": lambda: json(GOOD[:-1]),
    "not-utf-8": lambda: json(b'{"status": "success", "message": "\xff\xfe"}'),
    "utf-16": lambda: json(GOOD.decode().encode("utf-16")),
    "nan": lambda: json(b'{"status": NaN}'),
    "binary": lambda: http(bytes(range(256)) * 100),
    # what JSON can hold
    "nested-lists": lambda: json(b"[" * 100_000 + b"]" * 100_000),
    "nested-objects": lambda: json(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "nested-status": lambda: json(b'{"status":' * 900 + b'"success"' + b"}" * 900),
    "a-hundred-thousand-keys": lambda: json(b"{" + b",".join(b'"%x":0' % n for n in range(100_000)) + b"}"),
    "a-million-values": lambda: json(b'{"status":[' + b"0," * 500_000 + b"0]}"),
    "many-lists": lambda: json(b"[" + b"[]," * 340_000 + b"[]]"),
    "huge-number": lambda: json(b'{"status": ' + b"9" * 1_000_000 + b"}"),
    "huge-exponent": lambda: json(b'{"status": 1e999999999}'),
    "huge-fraction": lambda: json(b'{"status": 0.' + b"1" * 1_000_000 + b"}"),
    "huge-string": lambda: json(b'{"status": "' + b"s" * 1_000_000 + b'"}'),
    "huge-key": lambda: json(b'{"' + b"_" * 1_000_000 + b'": 1}'),
    "half-a-surrogate": lambda: json(b'{"status": "\\ud800"}'),
    # what is too long, or compressed
    "too-long": lambda: json(GOOD.ljust(MIB + 1)),
    "endless": lambda: Endless(LENGTH % 10**12, b" " * 65_536),
    "endless-chunks": lambda: Endless(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "endless-until-closed": lambda: Endless(HEAD + b"\r\n", b" " * 65_536),
    "bomb": lambda: http(bomb(), content_encoding="gzip"),
    "bomb-of-a-bomb": lambda: http(gzip.compress(bomb()), content_encoding="gzip"),
    "no-gzip": lambda: http(GOOD, content_encoding="gzip"),
    "cut-gzip": lambda: http(gzip.compress(GOOD * 100)[:-20], content_encoding="gzip"),
    # what is no HTTP
    "chunked-garbage": lambda: CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
    "negative-chunk": lambda: CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
    "huge-chunk": lambda: then_close(CHUNKED + b"f" * 40 + b"\r\n{}"),
    "endless-chunk-size": lambda: Endless(CHUNKED, b"0" * 65_536),
    "endless-chunk-extension": lambda: Endless(CHUNKED + b"1;a=", b"x" * 65_536),
    "endless-trailers": lambda: Endless(CHUNKED + b"0\r\n", b"X: 1\r\n" * 10_000),
    "endless-trailer": lambda: Endless(CHUNKED + b"0\r\nX: ", b"x" * 65_536),
    "endless-status-line": lambda: Endless(b"HTTP/1.1 200 ", b"O" * 65_536),
    "endless-headers": lambda: Endless(HEAD, b"X: 1\r\n" * 10_000),
    "endless-header": lambda: Endless(HEAD + b"X: ", b"x" * 65_536),
    "endless-continue": lambda: Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
    "endless-garbage": lambda: Endless(b"", b"\0" * 65_536),
    "two-lengths": lambda: then_close(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "length-and-chunks": lambda: then_close(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"),
    "no-length-at-all": lambda: then_close(HEAD + b"Content-Length: none\r\n\r\n" + GOOD),
    "another-protocol": lambda: then_close(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "no-headers": lambda: then_close(GOOD),
    "status-none": lambda: then_close(b"HTTP/1.1 OK\r\n\r\n" + GOOD),
    "upgrade": lambda: then_close(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + GOOD),
    # who leads astray
    "redirect": lambda: http(b"", "302 Found", location="/v1/jobs/other"),
    "redirect-elsewhere": lambda: http(b"", "307 Temporary Redirect", location="http://127.0.0.1:1/"),
    "redirect-to-a-file": lambda: http(b"", "301 Moved", location="file:///etc/passwd"),
    # who ends too soon, or not at all
    "hang-up": then_close,
    "reset": then_reset,
    "hang-up-in-headers": lambda: then_close(HEAD),
    "hang-up-in-body": lambda: then_close(LENGTH % 99 + GOOD[:9]),
    "reset-in-body": lambda: then_reset(LENGTH % 99 + GOOD[:9]),
    "hang": then_silence,
    "hang-in-headers": lambda: then_silence(HEAD),
    "hang-in-body": lambda: then_silence(LENGTH % 99 + GOOD[:9]),
    "slow": lambda: slowly(json(GOOD), 0.05),
}  # fmt: skip
"""What makes each of them; anew for each server, since some count."""
