"""What the tests of pages share: a real browser, and pictures and names for pages."""

import json
import os
import select
import shutil
import subprocess
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

HOSTILE = """zoo/</script ><img src=x onerror="document.title='broken'"> & 'é' 夢 {{data}} <!--.png"""
CHROMIUM = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(width: int = 40, height: int = 30, colour: str = "#c08040") -> bytes:
    return encoded(Image.new("RGB", (width, height), colour))


def noise(width: int, height: int) -> bytes:
    """About as hard to compress as a dream."""
    bands = [Image.effect_noise((width // 2, height // 2), 90) for _ in range(3)]
    return encoded(Image.merge("RGB", bands).resize((width, height)), "JPEG")


class Browser:
    """A headless Chromium with one tab; `call` is the DevTools protocol."""

    FLAGS = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --remote-debugging-pipe"
    )

    def __init__(self, profile: Path) -> None:
        theirs, self.write = os.pipe()
        self.read, others = os.pipe()
        line = f'exec "$@" 3<&{theirs} 4>&{others}'  # Chromium reads descriptor 3 and writes 4
        command = [str(CHROMIUM), *self.FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", line, "bash", *command],
            pass_fds=(theirs, others),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(others)
        self.events: list[dict[str, Any]] = []
        self.rest, self.number, self.session = b"", 0, {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            assert select.select([self.read], [], [], 20)[0], "Chromium says nothing"
            self.rest += (chunk := os.read(self.read, 1 << 20))
            assert chunk, "Chromium is gone"
        message, _, self.rest = self.rest.partition(b"\0")
        return dict(json.loads(message))

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def js(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + 5
        while not self.js(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.02)

    def key(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def mouse(self, *path: tuple[float, float]) -> None:
        """Presses at the first point, moves along the others, and lets go at the last."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(path) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*path, path[-1]], strict=True):
            self.call(
                "Input.dispatchMouseEvent",
                **{"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1},
            )

    def touch(self, *path: tuple[float, float]) -> None:
        kinds = ["touchStart", *["touchMove"] * (len(path) - 1)]
        for kind, (x, y) in zip(kinds, path, strict=True):
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def complaints(self) -> list[dict[str, Any]]:
        """Script errors, log entries (a policy that was broken, too), and requests for anything."""
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        requests = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in requests]
        outside = [{"url": u} for u in urls if not u.startswith(("data:", "file:"))]
        return [event for event in self.events if event.get("method") in bad] + outside

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self.read)
        os.close(self.write)
