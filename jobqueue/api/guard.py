"""What is checked before any endpoint: that no foreign web page is behind a request.

Any page can make a browser post to a server on localhost. A write must come from the same origin, and an open server
answers only to names that no stranger can point at it (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from jobqueue.api.exchange import Request
from jobqueue.api.parts import Parts
from jobqueue.errors import CrossSite

SAFE = frozenset({"GET", "HEAD"})
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
OWN_SITES = frozenset({"same-origin", "none"})  # "none": the user typed it in


def check(request: Request, parts: Parts) -> None:
    """Raises CrossSite."""
    if request.method in SAFE:
        return
    site = request.header(b"sec-fetch-site")
    if site is not None and site not in OWN_SITES:
        raise CrossSite("this request comes from another site")
    origin = request.header(b"origin")
    host = request.header(b"host") or ""
    if origin is not None and not _same_origin(origin, host):
        raise CrossSite("this request's Origin is not its Host")
    if parts.hosts is not None and not _ours(host, parts.hosts):
        raise CrossSite(f"an open server does not answer to the name {host}: see --hosts")


def _same_origin(origin: str, host: str) -> bool:
    """Whether the authorities are the same; a proxy that ends TLS leaves the scheme different from ours."""
    scheme, _, authority = origin.lower().partition("://")
    default = DEFAULT_PORTS.get(scheme)
    return default is not None and authority.removesuffix(default) == host.lower().removesuffix(default)


@lru_cache(maxsize=256)  # a server is asked under few names, and strangers' names may not fill the memory
def _ours(host: str, hosts: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if "." not in name and ":" not in name:
        return True
    if name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.endswith(".localhost")
    return True
