"""Downloads files by HTTP, many at once, from hosts that nobody vouches for: everything has a limit.

async with Fetcher(FetchOptions()) as fetcher:
    data = await fetcher.fetch("http://host/1.jpg")     # or Failure, with the reason in one line
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import random
import socket
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NoReturn

import aiohttp
from yarl import URL

from raydream import __version__
from raydream.data.fetch_options import FetchOptions
from raydream.data.retries import one_line, passes, status_passes

_DELAYS = (0.5, 1.0, 2.0)  # seconds before the next attempt
_LONGEST_WAIT = 30.0  # seconds that a server may ask us to wait (Retry-After)
_CONNECT = 10.0  # seconds to connect
_SILENCE = 20.0  # seconds between two pieces of a file
_REDIRECTS = 10
_DEAD_AFTER = 5  # connections in a row that fail: the other URLs of the host are not tried
_PRIVATE = "the address is private"
# Flickr answers with this picture in the place of a photograph that was removed.
_PLACEHOLDER = "photo_unavailable"


class Failure(Exception):
    """A file that cannot be had. The message is the reason, in one line.

    Attributes:
        again: whether it may succeed later.
        wait: seconds until the next attempt is worth it; None if only a later run should try it again.
    """

    def __init__(self, reason: str, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


class Fetcher:
    """Downloads files; create and close it inside a running event loop (`async with`)."""

    def __init__(self, options: FetchOptions) -> None:
        self.options = options
        self._proxies = urllib.request.getproxies()
        self._refused: Counter[str] = Counter()  # host -> connections in a row that failed
        self._session = _session(options, None if options.private else _public_socket)
        # With a proxy, each connection leads to the proxy, which may well have a private address.
        self._proxied = _session(options, None)

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._proxied.close()

    async def fetch(self, url: str) -> bytes:
        """The bytes of a file. Temporary errors are retried, with back-off.

        Raises:
            Failure: the URL is not http or https, or the file cannot be had within the limits.
        """
        parsed = web_url(url)
        for delay in (*_DELAYS, None):
            if self._refused[parsed.raw_host or ""] >= _DEAD_AFTER:
                raise Failure("the host does not answer", again=True)
            try:
                return await self._attempt(parsed)
            except Failure as failure:
                if failure.wait is None or delay is None:
                    raise
                await asyncio.sleep(max(failure.wait, delay * random.uniform(0.75, 1.25)))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, url: URL) -> bytes:
        host = url.raw_host or ""
        try:
            proxy = self._proxy(url)
            session = self._proxied if proxy else self._session
            # aiohttp counts the redirect that is one too many.
            async with session.get(url, max_redirects=_REDIRECTS + 1, proxy=proxy) as answer:
                self._refused[host] = 0
                self._check(answer)
                return await self._body(answer)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            unreachable = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            self._refused[host] += unreachable and _PRIVATE not in str(error)
            _explain(error)

    def _proxy(self, url: URL) -> str | None:
        # The session's own `trust_env` would also send passwords of ~/.netrc.
        bypassed = not self._proxies or urllib.request.proxy_bypass(url.raw_host or "")
        return None if bypassed else self._proxies.get(url.scheme)

    def _check(self, answer: aiohttp.ClientResponse) -> None:
        """Raises a `Failure` for an answer that holds no file, before it is read."""
        if answer.status >= 300:
            again = status_passes(answer.status)
            wait = _seconds(answer.headers.get("Retry-After")) if again else None
            raise Failure(f"HTTP {answer.status} {answer.reason or ''}".strip(), again=again, wait=wait)
        if PurePosixPath(answer.url.path).name.startswith(_PLACEHOLDER):
            raise Failure("the photograph was removed: the server sends a placeholder")
        if (answer.content_length or 0) > self.options.max_bytes:
            self._too_large()

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > self.options.max_bytes:
                self._too_large()
        return bytes(body)

    def _too_large(self) -> NoReturn:
        raise Failure(f"larger than {self.options.max_bytes:,} bytes")


def _session(options: FetchOptions, factory: Callable[[Any], socket.socket] | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=options.per_host, socket_factory=factory),
        timeout=aiohttp.ClientTimeout(total=options.timeout, sock_connect=_CONNECT, sock_read=_SILENCE),
        headers={"User-Agent": f"raydream/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def web_url(url: str) -> URL:
    """Parses a URL; raises a `Failure` unless it is http or https with a host."""
    try:
        parsed = URL(url)
        if parsed.scheme in ("http", "https") and parsed.raw_host:
            return parsed
    except ValueError as error:
        raise Failure(f"not a URL: {one_line(error)}") from error
    raise Failure("not an http or https URL")


def _explain(error: Exception) -> NoReturn:
    """Raises the `Failure` for an error of the connection."""
    if isinstance(error, aiohttp.TooManyRedirects):
        raise Failure(f"more than {_REDIRECTS} redirects") from error
    if isinstance(error, aiohttp.RedirectClientError):
        raise Failure(f"redirected to {one_line(error)}, which is not an http or https URL") from error
    if isinstance(error, TimeoutError):
        raise Failure("the server is too slow", again=True) from error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        raise Failure("the host's name cannot be resolved", again=True) from error
    if _PRIVATE in str(error):
        raise Failure(_PRIVATE) from error
    if isinstance(error, aiohttp.ClientPayloadError):
        raise Failure("the file stops before its end", again=True, wait=0.0) from error
    again = passes(error)
    raise Failure(one_line(error), again=again, wait=0.0 if again else None) from error


def _seconds(text: str | None) -> float | None:
    """Seconds in `Retry-After`: 0 without one; None if it is too long for this run, or a date."""
    if text is None:
        return 0.0
    return float(text) if text.isdecimal() and float(text) <= _LONGEST_WAIT else None


def _public_socket(info: Any) -> socket.socket:
    """A socket for a public address. A list by a stranger, or a redirect, must not reach into the user's network."""
    family, kind, protocol, _, address = info
    ip = ipaddress.ip_address(address[0].partition("%")[0])
    if not (getattr(ip, "ipv4_mapped", None) or ip).is_global:
        raise PermissionError(errno.EACCES, _PRIVATE)
    return socket.socket(family, kind, protocol)
