"""What is not HTTP/1.1 as we speak it: one row per rule, each at once and byte by byte."""

from __future__ import annotations

import pytest

from jobqueue.errors import (
    BadRequest,
    ExpectationFailed,
    HeadersTooLarge,
    JobQueueError,
    NotImplementedHere,
    TargetTooLong,
)
from tests.unit.http_kit import HOST, head, parse

REFUSED = {
    "no Host": (head(host=b""), BadRequest),
    "two Hosts": (head(host=HOST + HOST), BadRequest),
    "empty Host": (head(host=b"Host:\r\n"), BadRequest),
    "Host with a space": (head(host=b"Host: a b\r\n"), BadRequest),
    "Host in Latin-1": (head(host=b"Host: \xe4\r\n"), BadRequest),
    "Host with a user": (head(host=b"Host: u@a\r\n"), BadRequest),
    "Host with a path": (head(host=b"Host: a/b\r\n"), BadRequest),
    "Host with a bad port": (head(host=b"Host: a:b\r\n"), BadRequest),
    "Content-Length and Transfer-Encoding": (
        head(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        BadRequest,
    ),
    "Transfer-Encoding and Content-Length": (
        head(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n",
        BadRequest,
    ),
    "two Content-Lengths": (head(b"Content-Length: 3", b"Content-Length: 4") + b"abc", BadRequest),
    "two equal Content-Lengths": (head(b"Content-Length: 3", b"Content-Length: 3") + b"abc", BadRequest),
    "a list of Content-Lengths": (head(b"Content-Length: 3, 3") + b"abc", BadRequest),
    "Content-Length +2": (head(b"Content-Length: +2") + b"ab", BadRequest),
    "Content-Length -2": (head(b"Content-Length: -2"), BadRequest),
    "Content-Length 0x2": (head(b"Content-Length: 0x2") + b"ab", BadRequest),
    "Content-Length 1_0": (head(b"Content-Length: 1_0"), BadRequest),
    "empty Content-Length": (head(b"Content-Length:"), BadRequest),
    "Content-Length of 2^63": (head(b"Content-Length: %d" % 2**63), BadRequest),
    "Content-Length of 10^30": (head(b"Content-Length: %d" % 10**30), BadRequest),
    "Transfer-Encoding gzip": (head(b"Transfer-Encoding: gzip"), NotImplementedHere),
    "Transfer-Encoding gzip, chunked": (head(b"Transfer-Encoding: gzip, chunked"), NotImplementedHere),
    "Transfer-Encoding identity": (head(b"Transfer-Encoding: identity"), NotImplementedHere),
    "Transfer-Encoding twice": (head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), BadRequest),
    "Transfer-Encoding with a vertical tab": (head(b"Transfer-Encoding: \x0bchunked"), BadRequest),
    "Transfer-Encoding in HTTP/1.0": (
        head(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") + b"0\r\n\r\n",
        BadRequest,
    ),
    "CONNECT": (head(start=b"CONNECT a:443 HTTP/1.1"), NotImplementedHere),
    "space before the colon": (head(b"X : a"), BadRequest),
    "header without a name": (head(b": a"), BadRequest),
    "header without a colon": (head(b"X"), BadRequest),
    "NUL in a header": (head(b"X: a\0b"), BadRequest),
    "control byte in a header": (head(b"X: a\x01b"), BadRequest),
    "DEL in a header": (head(b"X: a\x7fb"), BadRequest),
    "CR in a header": (head(b"X: a\rb"), BadRequest),
    "obs-fold": (head(b"X: a", b" b"), BadRequest),
    "space before the first header": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", BadRequest),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n", BadRequest),
    "bare LF after a header": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", BadRequest),
    "bare LF at the end of the head": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", BadRequest),
    "absolute-form target of another host": (head(start=b"GET http://b/x HTTP/1.1"), BadRequest),
    "absolute-form target of another port": (head(start=b"GET http://a:81/x HTTP/1.1"), BadRequest),
    "absolute-form target with a user": (head(start=b"GET http://u@a/x HTTP/1.1"), BadRequest),
    "absolute-form target of another scheme": (head(start=b"GET ftp://a/x HTTP/1.1"), BadRequest),
    "authority-form target": (head(start=b"GET a:80 HTTP/1.1"), BadRequest),
    "target without a slash": (head(start=b"GET jobs HTTP/1.1"), BadRequest),
    "target * of a GET": (head(start=b"GET * HTTP/1.1"), BadRequest),
    "target with a fragment": (head(start=b"GET /a#b HTTP/1.1"), BadRequest),
    "target with a raw UTF-8 byte": (head(start=b"GET /\xc3\xa4 HTTP/1.1"), BadRequest),
    "target with a control byte": (head(start=b"GET /\x01 HTTP/1.1"), BadRequest),
    "target with a space": (head(start=b"GET /a b HTTP/1.1"), BadRequest),
    "HTTP/3.7": (head(start=b"GET / HTTP/3.7"), BadRequest),
    "HTTP/9.9": (head(start=b"GET / HTTP/9.9"), BadRequest),
    "HTTP/1.2": (head(start=b"GET / HTTP/1.2"), BadRequest),
    "HTTP/2.0": (head(start=b"GET / HTTP/2.0"), BadRequest),
    "http/1.1": (head(start=b"GET / http/1.1"), BadRequest),
    "HTTP/0.9": (b"GET /jobs/a\r\n\r\n", BadRequest),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadRequest),
    "a TLS hello": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 hello\r\n\r\n", BadRequest),
    "a line of prose": (b"hello world\r\n\r\n", BadRequest),
    "a name that never ends as a method": (b"A" * 100, BadRequest),
    "Expect: x": (head(b"Expect: x"), ExpectationFailed),
    "a target of 9,000 bytes": (head(start=b"GET /" + b"a" * 9000 + b" HTTP/1.1"), TargetTooLong),
    "a target without end": (b"GET /" + b"a" * 9000, TargetTooLong),
    "101 headers": (head(*[b"X-%d: 1" % i for i in range(100)]), HeadersTooLarge),
    "a head of 20 KiB": (head(b"X: " + b"a" * 20_000), HeadersTooLarge),
    "a head of 20 KiB in small headers": (head(*[b"X: " + b"a" * 300] * 70), HeadersTooLarge),
    "a head without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000, HeadersTooLarge),
    "a header name without end": (b"GET / HTTP/1.1\r\n" + b"a" * 20_000, HeadersTooLarge),
    "empty lines without end": (b"\r\n" * 10_000, HeadersTooLarge),
}


@pytest.mark.parametrize("how", [pytest.param(1 << 20, id="at-once"), pytest.param(1, id="byte-by-byte")])
@pytest.mark.parametrize("data, error", REFUSED.values(), ids=REFUSED)
def test_a_head_out_of_order_is_refused(data: bytes, error: type[JobQueueError], how: int) -> None:
    """No request comes of it, however it is cut."""
    requests, refusal = parse(*[data[i : i + how] for i in range(0, len(data), how)])

    assert requests == []
    assert type(refusal) is error


CHUNKED = head(b"Transfer-Encoding: chunked")
BAD_CHUNKS = {
    "no size": b"zz\r\n",
    "empty size": b"\r\n",
    "signed size": b"+5\r\nhello\r\n",
    "size with 0x": b"0x5\r\nhello\r\n",
    "size beyond 64 bits": b"f" * 17 + b"\r\n",
    "space after the size": b"5 \r\nhello\r\n",
    "bare LF after the size": b"5\nhello\r\n",
    "control byte in an extension": b"5;a=\x01\r\nhello\r\n",
    "content longer than its size": b"2\r\nhello\r\n",
    "bare LF after the content": b"5\r\nhello\n",
    "bad trailer": b"0\r\nX : a\r\n\r\n",
}


@pytest.mark.parametrize("how", [pytest.param(1 << 20, id="at-once"), pytest.param(1, id="byte-by-byte")])
@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_bad_chunk_spoils_its_request(body: bytes, how: int) -> None:
    """The request may be with the app already, so the error stands in it too."""
    data = CHUNKED + body
    (request,), refusal = parse(*[data[i : i + how] for i in range(0, len(data), how)])

    assert type(refusal) is BadRequest
    assert request.error is refusal
    assert not request.complete


@pytest.mark.parametrize(
    "endless",
    [b"5;" + b"a" * 40_000, b"0\r\nX: " + b"a" * 40_000, b"0\r\n" + b"X: a\r\n" * 9_000],
    ids=["chunk extension", "trailer", "trailers"],
)
def test_what_stands_between_chunks_is_bounded(endless: bytes) -> None:
    """It is no content, so no bound on the body would catch it."""
    (request,), refusal = parse(*[CHUNKED + endless])

    assert type(refusal) is HeadersTooLarge
    assert request.error is refusal
