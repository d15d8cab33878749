"""fetching: files from hosts that nobody vouches for: limits of time, size, redirects and addresses."""

import asyncio
import socket
import time
from typing import Any

import pytest

from raydream.data import fetching
from raydream.data.fetch_options import FetchOptions
from raydream.data.fetching import Failure, Fetcher, _public_socket, web_url
from tests.data.web import Handler, Web


def fetch(*urls: str, **options: Any) -> list[bytes | Failure]:
    """What is had for each URL, one after the other."""

    async def work() -> list[bytes | Failure]:
        found: list[bytes | Failure] = []
        async with Fetcher(FetchOptions(**{"private": True, **options})) as fetcher:
            for url in urls:
                try:
                    found.append(await fetcher.fetch(url))
                except Failure as failure:
                    found.append(failure)
        return found

    return asyncio.run(work())


def failure(url: str, **options: Any) -> tuple[str, bool]:
    """The reason why a URL fails, and whether it may succeed later."""
    (found,) = fetch(url, **options)
    assert isinstance(found, Failure)
    assert "\n" not in str(found)
    return str(found), found.again


def test_a_file_is_had_whole_and_by_redirects(web: Web) -> None:
    data = bytes(range(256)) * 4000
    web.image("/a.jpg", data)
    for n in range(10):
        web.redirect(f"/{n}", "/a.jpg" if n == 0 else f"/{n - 1}")
    assert fetch(f"{web.url}/a.jpg", f"{web.url}/9") == [data, data]


def test_more_than_ten_redirects_and_loops_are_given_up(web: Web) -> None:
    url = web.redirect("/loop", "/loop")
    assert failure(url) == ("more than 10 redirects", False)
    assert web.asked["/loop"] == 11


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "data:text/plain,x"])
def test_a_redirect_out_of_the_web_is_refused(target: str, web: Web) -> None:
    reason, again = failure(web.redirect("/out", target))
    assert "redirected to" in reason
    assert "not an http or https URL" in reason
    assert not again
    assert web.asked["/out"] == 1


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "gs://b/x", "memory://x", "ftp://h/x", "http://", "http:///x", "x", ""]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Failure, match="not an http or https URL") as refused:
        web_url(url)
    assert not refused.value.again


def test_a_url_that_cannot_be_parsed_is_a_failure() -> None:
    assert failure("http://[::1/x")[0].startswith("not a URL")
    assert failure("http://h:99999999/x")[1] is False


def test_a_missing_file_is_not_asked_for_again(web: Web) -> None:
    assert failure(f"{web.url}/none") == ("HTTP 404 Not Found", False)
    assert web.asked["/none"] == 1


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_busy_server_is_asked_again(status: int, web: Web) -> None:
    assert fetch(web.status("/busy", status, status, 200, data=b"here")) == [b"here"]
    assert web.asked["/busy"] == 3


def test_a_server_that_stays_busy_may_be_better_later(web: Web) -> None:
    assert failure(web.status("/busy", 503)) == ("HTTP 503 Service Unavailable", True)
    assert web.asked["/busy"] == 4


def test_the_time_that_a_server_asks_for_is_waited_for_or_left_to_the_next_run(web: Web) -> None:
    soon = web.status("/soon", 429, 200, data=b"x", Retry_After="1")
    start = time.monotonic()
    assert fetch(soon) == [b"x"]
    assert time.monotonic() - start >= 1
    assert failure(web.status("/late", 429, Retry_After="3600")) == ("HTTP 429 Too Many Requests", True)
    assert web.asked["/late"] == 1


def test_a_file_that_comes_too_slowly_is_given_up(web: Web) -> None:
    url = web.drip("/slow", b"\xff\xd8", b"x", 0.05)
    start = time.monotonic()
    assert failure(url, timeout=0.5) == ("the server is too slow", True)
    assert time.monotonic() - start < 3


def test_a_server_that_never_answers_is_given_up(web: Web) -> None:
    def page(_: Handler) -> None:
        while not web.over:
            time.sleep(0.02)

    assert failure(web.add("/silent", page), timeout=0.3) == ("the server is too slow", True)


def test_a_file_that_stops_is_asked_for_again_and_never_taken_for_whole(web: Web) -> None:
    def page(handler: Handler) -> None:
        handler.answer(200, b"half", {"Content-Length": "1000"})
        handler.close_connection = True

    assert failure(web.add("/half", page)) == ("the file stops before its end", True)
    assert web.asked["/half"] == 4


def test_an_endless_file_is_stopped_at_the_limit(web: Web) -> None:
    url = web.drip("/endless", b"", b"x" * 50_000, 0.001)
    assert failure(url, max_bytes=200_000) == ("larger than 200,000 bytes", False)
    time.sleep(0.1)
    sent = web.sent
    time.sleep(0.2)
    assert web.sent == sent  # the connection is closed


def test_a_file_that_says_it_is_too_large_is_not_read(web: Web) -> None:
    url = web.drip("/large", b"", b"x", 0.01, length=10**12)
    start = time.monotonic()
    assert failure(url) == ("larger than 50,000,000 bytes", False)
    assert time.monotonic() - start < 2


def test_flickrs_picture_of_a_removed_photograph_is_no_photograph(web: Web) -> None:
    web.image("/images/en-us/photo_unavailable.png", b"png")
    reason, again = failure(web.redirect("/3/1.jpg", "/images/en-us/photo_unavailable.png"))
    assert "removed" in reason
    assert not again


def test_a_host_that_does_not_answer_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_DELAYS", (0.0, 0.0, 0.0))
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        *_, last = fetch(url, url, url)
    assert isinstance(last, Failure)
    assert (str(last), last.again) == ("the host does not answer", True)


def test_a_name_that_is_nowhere_may_be_there_later() -> None:
    assert failure("http://nowhere.invalid/1.jpg") == ("the host's name cannot be resolved", True)


def test_private_addresses_are_refused_also_by_name(web: Web) -> None:
    web.image("/a.jpg", b"x")
    for url in (f"{web.url}/a.jpg", f"{web.url.replace('127.0.0.1', 'localhost')}/a.jpg"):
        assert failure(url, private=False) == ("the address is private", False)
    assert not web.asked


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("0.0.0.0", False),
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
    ],
)
def test_what_is_a_public_address(address: str, public: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    info = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80))
    if public:
        _public_socket(info).close()
    else:
        with pytest.raises(PermissionError, match="private"):
            _public_socket(info)


def test_a_redirect_to_a_private_address_is_refused(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_the_first(info: Any) -> socket.socket:
        return socket.socket(*info[:3]) if info[4][0] == "127.0.0.1" else _public_socket(info)

    monkeypatch.setattr(fetching, "_public_socket", only_the_first)
    url = web.redirect("/in", web.url.replace("127.0.0.1", "127.0.0.2") + "/secret")
    assert failure(url, private=False) == ("the address is private", False)
    assert web.asked == {"/in": 1}


def test_the_users_proxy_is_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web.image("http://nowhere.invalid/1.jpg", b"by proxy")
    web.image("/2.jpg", b"directly")
    found = fetch("http://nowhere.invalid/1.jpg", private=False) + fetch(f"{web.url}/2.jpg")
    assert found == [b"by proxy", b"directly"]
    assert failure(f"{web.url}/2.jpg", private=False) == ("the address is private", False)
