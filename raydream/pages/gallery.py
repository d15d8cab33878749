"""The gallery: one HTML file that shows each dream with its photograph; it loads nothing from the network.

    Path("index.html").write_text(page(exhibits, "cats", {"recipe": "natural-dreams"}), "utf-8")

The page's structure, style and script are in gallery.html beside this file.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raydream.pages import parts

_KEYS = "← → pictures &ensp; ↑ ↓ source and dream &ensp; Esc back"


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One dream of a data set, and its photograph."""

    id: str  # path below the input folder
    label: str | None  # class folder, if any
    dream: bytes  # encoded picture, in any format of Pillow
    source: bytes | None  # encoded picture of the same size, if kept
    width: int  # of the dream itself, not of its thumbnail, in pixels
    height: int
    numbers: Mapping[str, str]  # small facts to show with the picture, in this order
    link: str | None = None  # URL of the dream's file, relative to the page, if it has its own file


def page(
    exhibits: Iterable[Exhibit],
    title: str,
    facts: Mapping[str, str],
    total: int | None = None,
    side: int = 384,
) -> str:
    """The whole page, to be written as UTF-8. It reads the exhibits one at a time.

    `facts` are shown in the header. `total` is the number of dreams in the data set, if the
    exhibits are only a sample. Pictures are shrunk to at most `side` pixels per side, and never
    enlarged. Raises `PIL.UnidentifiedImageError` for bytes that are not a picture.
    """
    rows = [_row(exhibit, side) for exhibit in exhibits]
    content = {
        "head": parts.head(title),
        "title": parts.text(title),
        "notice": _notice(len(rows), total),
        "facts": parts.facts(facts),
        "lightbox": parts.filled("lightbox.html", {"keys": _KEYS}),
        "data": parts.json_text(rows),
    }
    return parts.filled("gallery.html", content)


def _row(exhibit: Exhibit, side: int) -> dict[str, object]:
    dream = parts.thumbnail(exhibit.dream, side)
    source = parts.data_uri(parts.thumbnail(exhibit.source, side)) if exhibit.source else None
    return {
        "id": exhibit.id,
        "label": exhibit.label,
        "width": exhibit.width,
        "height": exhibit.height,
        "pixels": dream.width,
        "numbers": list(exhibit.numbers.items()),  # pairs: a JS object would sort numeric names
        "colour": parts.colour(dream),
        "dream": parts.data_uri(dream),
        "source": source,
        "link": exhibit.link,
    }


def _notice(shown: int, total: int | None) -> str:
    if total is not None and total > shown:
        return f"Showing {shown:,} of {total:,} dreams"
    if not shown:
        return "This data set holds no dreams."
    return f"{shown:,} dream{'s' * (shown != 1)}"
