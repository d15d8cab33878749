"""The page before and after training: which channels come first, what stands in the file, and how it behaves."""

import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from raydream.data.storage import Folder
from raydream.pages.before_after import Changed, Dreamed, Row, changed_channels, page, write
from tests.pages.browser import HOSTILE, Browser, needs_browser, plain

# ---- channels


def means(*channels: float) -> np.ndarray:
    """Activations of two photographs whose mean is `channels`."""
    return np.array([channels, channels]) * [[0.5], [1.5]]


def test_channels_are_ordered_by_the_size_of_their_relative_change() -> None:
    found = changed_channels(means(1, 2, 1, 4, -2), means(1.5, 0.5, 1, 4.4, -4))
    assert [one.channel for one in found] == [4, 1, 0, 3]  # channel 2 has not changed
    assert [one.change for one in found] == pytest.approx([-1, -0.75, 0.5, 0.1])
    assert (found[1].before, found[1].after, found[1].picture) == (2, 0.5, None)


def test_only_the_first_channels_are_kept_and_equal_ones_stay_in_order() -> None:
    found = changed_channels(np.ones((3, 20)), np.full((3, 20), 2.0), most=5)
    assert [one.channel for one in found] == [0, 1, 2, 3, 4]
    assert len(changed_channels(np.ones((3, 20)), np.full((3, 20), 2.0))) == 12


def test_a_channel_that_was_almost_never_active_does_not_come_first() -> None:
    """From 1e-9 to 0.001 is a factor of a million, but nothing beside the others."""
    found = changed_channels(means(1, 1, 1e-9), means(1, 1.5, 0.001))
    assert [one.channel for one in found] == [1, 2]
    assert found[1].change == pytest.approx(0.001 / (0.1 * 2.501 / 3), rel=1e-4)


def test_a_layer_without_activations_has_finite_changes() -> None:
    assert changed_channels(np.zeros((2, 3)), np.zeros((2, 3))) == []
    [one] = changed_channels(np.zeros((2, 3), np.float32), means(0, 0, 3).astype(np.float32))
    assert (one.channel, one.before, one.after) == (2, 0, 3)
    assert np.isfinite(one.change)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.ones((2, 3)), np.ones((3, 3))),
        (np.ones(3), np.ones(3)),
        (np.ones((0, 3)), np.ones((0, 3))),
        (np.ones((2, 3)), np.full((2, 3), np.nan)),
    ],
)
def test_what_cannot_be_compared_is_refused(before: np.ndarray, after: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must both be|must be finite"):
        changed_channels(before, after)


# ---- the file


def row(id: str = "one.jpg", label: str | None = "banjo", size: tuple[int, int] = (40, 30)) -> Row:
    return Row(
        id=id,
        label=label,
        photograph=plain(*size),
        before=Dreamed(picture=plain(*size, "#4060c0"), objective=(0.5, 1.25)),
        after=Dreamed(picture=plain(*size, "#40c060"), objective=(0.75, 2), logit=(3, 12.3456)),
    )


CHANNELS = {
    "mixed5": [
        Changed(channel=7, before=0.5, after=1.5, change=2.0, picture=plain(8, 8)),
        Changed(channel=2, before=1.0, after=0.5, change=-0.5),
    ],
    "mixed7": [],
}


class Reader(HTMLParser):
    """Tags with attributes, and the texts that a person sees, of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("style", "script") and data.strip():
            self.texts.append(data.strip())

    def images(self) -> list[tuple[str | None, Image.Image]]:
        found = [attributes for tag, attributes in self.tags if tag == "img"]
        return [(a["alt"], Image.open(BytesIO(b64decode(str(a["src"]).partition(",")[2])))) for a in found]


def test_each_photograph_has_its_dreams_and_numbers() -> None:
    read = Reader(page([row(), row("two.jpg", None)], {}, "Instruments", {"recipe": "classic"}))
    names = [f"{kind}: {id}" for id in ("one.jpg", "two.jpg") for kind in ("Photograph", "Dream before", "Dream after")]
    assert [alt for alt, _ in read.images()] == names
    colours = [image.getpixel((20, 15)) for _, image in read.images()[:3]]
    assert np.allclose(colours, [(192, 128, 64), (64, 96, 192), (64, 192, 96)], atol=3)
    first = read.texts[read.texts.index("one.jpg") : read.texts.index("two.jpg")]
    assert first == [
        *("one.jpg", "banjo", "Photograph"),
        *("Dream before", "objective", "0.5 → 1.25"),
        *("Dream after", "objective", "0.75 → 2", "logit of banjo", "3 → 12.3"),
    ]
    assert "2 photographs, dreamed before and after training" in read.texts
    assert read.texts[read.texts.index("recipe") :][:2] == ["recipe", "classic"]
    assert "Channels that changed most" not in read.texts


def test_the_channels_of_each_layer_are_a_table() -> None:
    read = Reader(page([row()], CHANNELS, "Instruments", {}))
    cells = read.texts[read.texts.index("mixed5") : read.texts.index("mixed7: no channel has changed.")]
    assert cells == [
        *("mixed5", "channel", "before", "after", "change"),
        *("7", "0.5", "1.5", "+200%"),
        *("2", "1", "0.5", "-50%"),
    ]
    bars = [(a["class"], a["style"]) for tag, a in read.tags if tag == "i"]
    assert bars == [("up", "width: 100.0%"), ("down", "width: 25.0%")]
    assert [alt for alt, _ in read.images()][3:] == ["mixed5, channel 7"]


def test_any_text_is_only_text() -> None:
    hostile = page([row(HOSTILE, "<i>")], {"<b>{{rows}}": CHANNELS["mixed5"]}, HOSTILE, {"<u>": HOSTILE})
    harmless = page([row()], {"mixed5": CHANNELS["mixed5"]}, "title", {"recipe": "r"})
    assert [tag for tag, _ in Reader(hostile).tags] == [tag for tag, _ in Reader(harmless).tags]
    assert Reader(hostile).texts.count(HOSTILE) == 4  # title, heading, fact, name of the row
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert b"caf?.jpg" in page([row(name)], {}, name, {}).encode()


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = page([row()], CHANNELS, "dreams", {})
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp|import\(", html)
    links = [str(a[k]) for _, a in Reader(html).tags for k in ("src", "href", "srcset") if k in a]
    assert {link.partition(",")[0] for link in links} == {"data:", "data:image/jpeg;base64"}


def test_pictures_are_shrunk_and_the_file_is_written(tmp_path: Path) -> None:
    rows = [row(size=(2000, 1000))]
    images = Reader(page(rows, {}, "dreams", {}, side=100)).images()
    assert {image.size for _, image in images} == {(100, 50)}
    write(Folder(str(tmp_path)), rows, CHANNELS, "dreams")
    read = Reader((tmp_path / "before-after.html").read_text("utf-8"))
    assert [image.size for _, image in read.images()] == [(1600, 800)] * 3 + [(8, 8)]


def test_what_is_no_picture_is_refused() -> None:
    broken = Row(id="a", photograph=b"none", before=Dreamed(picture=b""), after=Dreamed(picture=b""))
    with pytest.raises(UnidentifiedImageError):
        page([broken], {}, "dreams", {})


# ---- in a browser


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Browser:
    rows = [row(HOSTILE), row("two.jpg"), row("three.jpg", size=(30, 60))]
    write(Folder(str(tmp_path)), rows, CHANNELS, "Instruments", {"recipe": "classic"})
    browser.open(tmp_path / "before-after.html")
    return browser


ALT = "document.querySelector('#stage img').alt"
SHOWN = "[document.getElementById('lightbox').open, document.getElementById('place').textContent]"


@needs_browser
def test_the_keyboard_enlarges_turns_and_goes_back(opened: Browser) -> None:
    opened.js("document.querySelector('.zoom').focus()")
    opened.js("document.activeElement.click()")  # what Enter does
    assert opened.js(SHOWN) == [True, "1 of 10"]
    assert opened.js(ALT) == f"Photograph: {HOSTILE}"
    opened.key("ArrowRight", 39)
    assert opened.js(ALT) == f"Dream before: {HOSTILE}"
    assert "0.5 → 1.25" in opened.js("document.getElementById('caption').textContent")
    opened.key("ArrowDown", 40)
    assert opened.js(ALT) == "Dream before: two.jpg"
    opened.key("ArrowUp", 38)
    opened.key("ArrowUp", 38)  # to the last group, which has one picture
    assert opened.js(ALT) == "mixed5, channel 7"
    opened.key("ArrowLeft", 37)
    assert opened.js(f"[{ALT}, {SHOWN}[1]]") == ["Dream after: three.jpg", "9 of 10"]
    opened.key("Escape", 27)
    opened.until(f"!{SHOWN}[0]")
    opened.until("document.activeElement.ariaLabel === 'Enlarge Dream after: three.jpg'")
    assert opened.complaints() == []


@needs_browser
@pytest.mark.parametrize(("width", "tops"), [(1280, 1), (390, 2)])
def test_a_phone_shows_the_dreams_below_the_photograph(opened: Browser, width: int, tops: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.call("Emulation.setDeviceMetricsOverride", **size)
    places = "[...document.querySelectorAll('article:first-child figure')].map(f => f.getBoundingClientRect().top)"
    photograph, before, after = opened.js(places)
    assert before == after
    assert len({photograph, before}) == tops
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.js(overflow) == 0
    assert opened.complaints() == []
