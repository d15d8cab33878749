"""collecting: images by URL into class folders, continued after any end."""

import csv
import errno
import gc
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydream.data import codec
from raydream.data.collecting import Collection
from raydream.data.fetch_options import FetchOptions
from raydream.data.storage import Folder
from raydream.data.url_lists import Entry, no_entries
from raydream.errors import UsageError
from tests.data.web import Handler, Web, jpeg, picture


def collect(out: Path | str, entries: list[Entry], **options: Any) -> Collection:
    collection = Collection(str(out), FetchOptions(**{"private": True, **options}))
    seen: list[tuple[int, int]] = []
    with no_entries() as missing:
        collection.select(entries, missing)
        collection.collect(missing, lambda done, failed: seen.append((done, failed)))
        assert sum(done for done, _ in seen) == len(missing)
    return collection


def failures(out: Path) -> dict[str, tuple[str, str, str]]:
    """URL -> (class, reason, retry)."""
    with (out / "failures.csv").open(encoding="utf-8") as file:
        return {row["url"]: (row["class"], row["reason"], row["retry"]) for row in csv.DictReader(file)}


def name_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_images_come_into_class_folders_under_lasting_names(web: Web, out: Path) -> None:
    png = codec.encode(picture(1))
    cat, dog = web.image("/cat.gif", png, "text/html"), web.image("/dog?id=7", jpeg(2))
    bare = web.image("/bare", jpeg(3))
    found = collect(out, [Entry(cat, "cat"), Entry(dog, "big dog"), Entry(bare, "")])
    assert Folder(str(out)).files().keys() == {
        f"cat/{name_of(cat)}.png",
        f"big dog/{name_of(dog)}.jpg",
        f"{name_of(bare)}.jpg",
    }
    assert (out / f"cat/{name_of(cat)}.png").read_bytes() == png
    assert found.images == {"cat": 1, "big dog": 1, "": 1}
    assert found.new == 3


def test_what_is_no_image_fails_with_its_reason(web: Web, out: Path) -> None:
    whole = jpeg(1, 200, 200)
    page = web.image("/page.jpg", b"<!DOCTYPE html><html>sorry</html>")
    broken = web.image("/broken.jpg", whole[: len(whole) // 2])
    empty = web.image("/empty.jpg", b"")
    local = "file:///etc/passwd"
    none = f"{web.url}/none.jpg"
    busy = web.status("/busy", 503)
    collect(out, [Entry(url, "cat") for url in (page, broken, empty, local, none, busy)])
    assert Folder(str(out)).files().keys() == {"failures.csv"}
    found = failures(out)
    assert "<!DOCTYPE html>" in found[page][1]
    assert "damaged image" in found[broken][1]
    assert found[empty] == ("cat", "file is empty", "no")
    assert found[local] == ("cat", "not an http or https URL", "no")
    assert found[none] == ("cat", "HTTP 404 Not Found", "no")
    assert found[busy] == ("cat", "HTTP 503 Service Unavailable", "yes")
    assert {retry for url, (_, _, retry) in found.items() if url != busy} == {"no"}


def test_the_same_command_asks_only_for_what_may_still_come(web: Web, out: Path) -> None:
    good, late = web.image("/good.jpg", jpeg(1)), web.status("/late", 503)
    none = f"{web.url}/none.jpg"
    entries = [Entry(url, "cat") for url in (good, late, none, good)]
    collect(out, entries)
    assert web.asked == {"/good.jpg": 1, "/late": 4, "/none.jpg": 1}
    web.image("/late", jpeg(2))
    again = collect(out, entries)
    assert web.asked == {"/good.jpg": 1, "/late": 5, "/none.jpg": 1}
    assert (again.new, again.images["cat"]) == (1, 2)
    assert failures(out).keys() == {none}


def test_equal_images_of_a_class_are_kept_once_also_in_the_next_run(web: Web, out: Path) -> None:
    first, second, third = (web.image(f"/{n}.jpg", jpeg(1)) for n in range(3))
    collect(out, [Entry(first, "cat"), Entry(second, "cat"), Entry(third, "dog")])
    kept = {Path(name).stem for name in Folder(str(out)).files() if name.startswith("cat/")}
    assert len(kept) == 1
    ((url, (label, reason, retry)),) = failures(out).items()
    assert name_of(url) not in kept
    assert (label, retry) == ("cat", "no")
    assert reason == f"the same image as cat/{kept.pop()}.jpg"
    assert len([name for name in Folder(str(out)).files() if name.startswith("dog/")]) == 1
    later = web.image("/later.jpg", jpeg(1))
    assert collect(out, [Entry(later, "cat")]).new == 0
    assert "the same image as" in failures(out)[later][1]


def test_images_are_resized_to_a_short_side(web: Web, out: Path) -> None:
    url = web.image("/a.png", codec.encode(picture(1, 40, 80)))
    collect(out, [Entry(url, "cat")], size=20)
    data = (out / f"cat/{name_of(url)}.jpg").read_bytes()
    assert codec.decode(data).shape == (20, 40, 3)
    expected = codec.fit(codec.decode(codec.encode(picture(1, 40, 80))), 20)
    assert np.abs(codec.decode(data) - expected).mean() < 0.1


def test_a_class_is_full_after_as_many_images_as_asked(web: Web, out: Path) -> None:
    cats = [Entry(web.image(f"/cat{n}.jpg", jpeg(n)), "cat") for n in range(30)]
    dogs = [Entry(f"{web.url}/none{n}.jpg", "dog") for n in range(10)]
    dogs += [Entry(web.image(f"/dog{n}.jpg", jpeg(100 + n)), "dog") for n in range(3)]
    found = collect(out, cats + dogs, per_class=3)
    assert found.images == {"cat": 3, "dog": 3}
    assert sum(name.startswith("cat/") for name in Folder(str(out)).files()) == 3
    assert sum(web.asked[f"/cat{n}.jpg"] for n in range(30)) <= 3 + 4
    asked = web.asked.copy()
    collect(out, cats + dogs, per_class=3)
    assert web.asked == asked


def test_hosts_are_not_asked_for_more_than_a_few_files_at_a_time(web: Web, out: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.05)
        handler.answer(404, b"", {})

    entries = [Entry(web.add(f"/{n}", slow), "cat") for n in range(24)]
    collect(out, entries, parallel=16, per_host=3)
    assert web.most == 3
    assert web.asked.total() == 24


def test_a_full_host_does_not_hold_up_the_others(web: Web, out: Path) -> None:
    def stuck(handler: Handler) -> None:
        while not web.over and web.asked["/quick9"] == 0:
            time.sleep(0.01)
        handler.answer(404, b"", {})

    other = web.url.replace("127.0.0.1", "localhost")
    web.pages |= {f"/stuck{n}": stuck for n in range(10)}
    web.pages |= {f"/quick{n}": lambda handler: handler.answer(404, b"", {}) for n in range(10)}
    entries = [Entry(f"{web.url}/stuck{n}", "a") for n in range(10)] + [
        Entry(f"{other}/quick{n}", "a") for n in range(10)
    ]
    collect(out, entries, parallel=8, per_host=2, timeout=20)
    assert {reason for _, reason, _ in failures(out).values()} == {"HTTP 404 Not Found"}


def test_a_list_without_urls_is_one_line(out: Path) -> None:
    with pytest.raises(UsageError, match="holds no http or https URL"):
        collect(out, [Entry("file:///x", "cat"), Entry("nothing", "")])
    assert not out.exists()


def test_a_foreign_list_of_failures_is_not_overwritten(web: Web, out: Path) -> None:
    out.mkdir()
    (out / "failures.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="is not a list of failures"):
        collect(out, [Entry(web.image("/a", jpeg(1)), "cat")])
    assert (out / "failures.csv").read_text() == "a,b\n1,2\n"


def test_an_output_may_be_a_url(web: Web) -> None:
    url = web.image("/a.jpg", jpeg(1))
    collect("memory://collect", [Entry(url, "cat"), Entry(f"{web.url}/none", "cat")])
    assert Folder("memory://collect").files().keys() == {f"cat/{name_of(url)}.jpg", "failures.csv"}
    assert collect("memory://collect", [Entry(url, "cat")]).new == 0


def test_a_full_disk_ends_the_run_with_one_error(
    web: Web, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Folder, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", name)

    entries = [Entry(web.image(f"/{n}.jpg", jpeg(n)), "cat") for n in range(5)]
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", full)
        with pytest.raises(OSError, match="No space left"):
            collect(out, entries)
    gc.collect()
    assert not caplog.records  # asyncio logs errors that nobody has seen
    assert collect(out, entries).new == 5


COMMAND = """
import sys
from raydream.data import fetching
fetching._DELAYS = (0.0, 0.0, 0.0)
from raydream.cli.app import main
main()
"""


def test_a_killed_run_leaves_whole_files_and_the_next_one_finishes(web: Web, tmp_path: Path, out: Path) -> None:
    def slow(data: bytes) -> Any:
        def page(handler: Handler) -> None:
            time.sleep(0.05)
            handler.answer(200, data, {})

        return page

    images = {f"/{n}.jpg": jpeg(n, 100, 100) for n in range(40)}
    urls = [web.add(path, slow(data)) for path, data in images.items()]
    (tmp_path / "urls.csv").write_text("url,class\n" + "".join(f"{url},cat\n" for url in urls))
    command = [sys.executable, "-c", COMMAND, "images", "fetch", "urls.csv", str(out), "--private"]
    (out / "cat").mkdir(parents=True)
    (out / "cat" / ".0123.partial").write_bytes(b"half")
    for most in (10, 25):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while len(list(out.glob("cat/*.jpg"))) < most:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in out.glob("cat/*.jpg"):
            assert path.read_bytes() in images.values()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.read_bytes() for path in out.rglob("*.*")} == {*images.values()}  # nothing partial is left
    assert web.asked.total() <= 40 + 2 * 4  # only what was under way is asked for twice
