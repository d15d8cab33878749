"""A web server of our own on this machine, whose pages are functions of the test."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from raydream.data import codec

Page = Callable[["Handler"], None]


def picture(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Random pixels (height, width, 3), uint8."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def jpeg(seed: int, height: int = 24, width: int = 32) -> bytes:
    return codec.encode(picture(seed, height, width), "jpeg")


class Web:
    """The server: `pages` by path, how often each was asked for, and how many were at a time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, Page] = {}
        self.asked: Counter[str] = Counter()
        self.now = self.most = self.sent = 0
        self.over = False  # endless pages end then
        self.lock = threading.Lock()

    def add(self, path: str, page: Page) -> str:
        self.pages[path] = page
        return f"{self.url}{path}"

    def image(self, path: str, data: bytes, kind: str = "image/jpeg") -> str:
        return self.add(path, lambda handler: handler.answer(200, data, {"Content-Type": kind}))

    def status(self, path: str, *statuses: int, data: bytes = b"", **headers: str) -> str:
        """Answers with these statuses in turn; the last one stays. The data come with status 200."""
        left = list(statuses)

        def page(handler: "Handler") -> None:
            status = left.pop(0) if len(left) > 1 else left[0]
            named = {key.replace("_", "-"): value for key, value in headers.items()} if status != 200 else {}
            handler.answer(status, data if status == 200 else b"", named)

        return self.add(path, page)

    def redirect(self, path: str, target: str) -> str:
        return self.add(path, lambda handler: handler.answer(302, b"", {"Location": target}))

    def drip(self, path: str, head: bytes, piece: bytes, pause: float, length: int | None = None) -> str:
        """Sends the piece again and again, for ever."""

        def page(handler: "Handler") -> None:
            handler.answer(200, head, {"Content-Length": str(length)} if length else {"Connection": "close"})
            while not self.over:
                handler.wfile.write(piece)
                self.sent += len(piece)
                time.sleep(pause)

        return self.add(path, page)


class Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        if "Connection" in headers:
            self.close_connection = True
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            if (key, headers.get("Connection")) != ("Content-Length", "close"):
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        web = self.web
        with web.lock:
            web.asked[self.path] += 1
            web.now += 1
            web.most = max(web.most, web.now)
        try:
            with suppress(ConnectionError):
                web.pages.get(self.path, lambda handler: handler.answer(404, b"gone", {}))(self)
        finally:
            with web.lock:
                web.now -= 1

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:  # clients may hang up
        pass


@contextmanager
def serving() -> Iterator[Web]:
    server = _Server(("127.0.0.1", 0), type("Own", (Handler,), {}))
    web = server.RequestHandlerClass.web = Web(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.over = True
        server.shutdown()
        thread.join()
        server.socket.close()
