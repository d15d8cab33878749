"""What the tests of data share."""

from collections.abc import Iterator

import pytest

from raydream.data import fetching
from tests.data.web import Web, serving


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server on this machine; without proxies, and without pauses before another attempt."""
    monkeypatch.setattr(fetching, "_DELAYS", (0.0, 0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as web:
        yield web
