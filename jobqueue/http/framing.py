"""The rules of a request's head that llhttp leaves open, as pure checks; `parser.py` asks them at each head's end.

llhttp itself refuses Content-Length beside Transfer-Encoding, two of either, bad numbers, bare LF, obs-fold, control
bytes and bad chunks. What it lets through and two servers in a row may read differently is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from jobqueue.errors import BadRequest, ExpectationFailed, NotImplementedHere
from jobqueue.http.request import Request

_MAX_LENGTH = 2**63 - 1  # more is no size of anything, and overflows elsewhere

# RFC 9110 section 7.2, RFC 3986 section 3.2.2: an IP literal or a reg-name, and a port.
_is_host = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?").fullmatch
_absolute_form = re.compile(rb"(?i:(https?)://)([^/?]*)(.*)").fullmatch
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def check_head(request: Request) -> None:
    """Refuse a head that is not fit to be served, and note in `request` what the headers say about it.

    Raises BadRequest, ExpectationFailed or NotImplementedHere.
    """
    if request.version not in ("1.1", "1.0"):
        raise BadRequest(f"HTTP/{request.version} is not spoken here; HTTP/1.1 is.")
    if request.method == "CONNECT":
        raise NotImplementedHere("This server is no proxy.")
    for name, value in request.headers:
        rule = _RULES.get(name)
        if rule is not None:
            rule(request, value)
    if request.host is None and request.version == "1.1":
        raise BadRequest("The Host header is missing.")
    _split_target(request)


def _host(request: Request, value: bytes) -> None:
    if request.host is not None:
        raise BadRequest("There is more than one Host header.")
    if _is_host(value) is None:
        raise BadRequest("The Host header names no host.")
    request.host = value


def _content_length(request: Request, value: bytes) -> None:
    request.length = int(value)  # llhttp has seen that these are digits
    if request.length > _MAX_LENGTH:
        raise BadRequest("The Content-Length is absurd.")


def _transfer_encoding(request: Request, value: bytes) -> None:
    if value.lower() != b"chunked":
        raise NotImplementedHere("The only transfer coding taken is chunked.")
    if request.version != "1.1":  # RFC 9112 section 6.1: such a message is to be treated as badly framed
        raise BadRequest("HTTP/1.0 has no Transfer-Encoding.")


def _expect(request: Request, value: bytes) -> None:
    if request.version == "1.0":  # RFC 9110 section 10.1.1: ignored
        return
    if value.lower() != b"100-continue":
        raise ExpectationFailed("The only expectation met is 100-continue.")
    request.expects_continue = True


def _content_type(request: Request, value: bytes) -> None:
    request.streamed = value.partition(b";")[0].rstrip().lower() == b"application/x-ndjson"


_RULES: dict[bytes, Callable[[Request, bytes], None]] = {
    b"content-length": _content_length,
    b"content-type": _content_type,
    b"expect": _expect,
    b"host": _host,
    b"transfer-encoding": _transfer_encoding,
}


def _split_target(request: Request) -> None:
    """Part the target in path and query (RFC 9112 section 3.2)."""
    target = request.target
    if not target.isascii() or b"#" in target:
        raise BadRequest("The request target holds what must be percent-encoded.")
    if not target.startswith(b"/"):
        target = _origin_form(request)
    request.raw_path, _, request.query = target.partition(b"?")


def _origin_form(request: Request) -> bytes:
    """The target of a client that takes us for a proxy, or that asks about the server as a whole."""
    target = request.target
    if target == b"*" and request.method == "OPTIONS":
        return target
    absolute = _absolute_form(target)
    if absolute is None:
        raise BadRequest("The request target is neither a path nor a URL.")
    scheme, authority, rest = absolute.groups()
    if _is_host(authority) is None:
        raise BadRequest("The URL names no host.")
    port = _DEFAULT_PORTS[scheme.lower()]
    if request.host is not None and _bare(authority, port) != _bare(request.host, port):
        raise BadRequest("The URL and the Host header name different hosts.")
    return rest if rest.startswith(b"/") else b"/" + rest


def _bare(authority: bytes, default_port: bytes) -> bytes:
    return authority.lower().removesuffix(default_port).removesuffix(b":")
