"""The gallery: one HTML file that shows each dream with its photograph; it loads nothing from the network.

    Path("index.html").write_text(page(exhibits, "cats", {"recipe": "natural-dreams"}), "utf-8")

The page's structure, style and script are in gallery.html beside this file.
"""

import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from io import BytesIO

from PIL import Image

# The background of the page. Transparent pictures are composited over it, since JPEG has no transparency.
_GROUND = (16, 16, 18)
_PAGE_BYTES = 40_000_000
_BYTES_A_PIXEL = 0.4  # of a dream as JPEG, in base64
_SIDES = (384, 1600)  # minimum and maximum side of a picture, in pixels


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
    parts = {
        "title": _text(title),
        "notice": _notice(len(rows), total),
        "facts": "".join(f"<div><dt>{_text(k)}<dd>{_text(v)}</div>" for k, v in facts.items()),
        "data": _json(rows),
    }
    template = files("raydream.pages").joinpath("gallery.html").read_text("utf-8")
    # In one pass, so that {{title}} inside of a part is not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _row(exhibit: Exhibit, side: int) -> dict[str, object]:
    dream = _thumbnail(exhibit.dream, side)
    source = _data_uri(_thumbnail(exhibit.source, side)) if exhibit.source else None
    return {
        "id": exhibit.id,
        "label": exhibit.label,
        "width": exhibit.width,
        "height": exhibit.height,
        "pixels": dream.width,
        "numbers": list(exhibit.numbers.items()),  # pairs: a JS object would sort numeric names
        "colour": _colour(dream),
        "dream": _data_uri(dream),
        "source": source,
        "link": exhibit.link,
    }


def side_for(exhibits: int) -> int:
    """The side of pictures, in pixels, for which a page with this number of exhibits has about `_PAGE_BYTES`.

    So the lightbox shows small data sets at full size, and large ones as large as possible.
    """
    pixels = _PAGE_BYTES / (2 * max(1, exhibits) * _BYTES_A_PIXEL)
    return max(_SIDES[0], min(_SIDES[1], math.isqrt(int(pixels))))


def _thumbnail(encoded: bytes, side: int) -> Image.Image:
    with Image.open(BytesIO(encoded)) as image:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return _opaque(image)


def _opaque(image: Image.Image) -> Image.Image:
    """The picture in RGB; its colour profile is kept only if it is for RGB."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, _GROUND)
        image = Image.alpha_composite(ground, image)
    if image.mode.startswith("I;16"):  # convert() would clip 16-bit grey to white
        image = image.point(lambda value: value / 257).convert("L")
    rgb = image.convert("RGB")
    rgb.info = {"icc_profile": profile} if profile else {}
    return rgb


def _colour(image: Image.Image) -> str:
    """The mean colour, which is shown until the picture is loaded."""
    mean = image.resize((1, 1), Image.Resampling.BOX).tobytes()
    return f"#{mean.hex()}"


def _data_uri(image: Image.Image) -> str:
    buffer = BytesIO()
    profile = image.info.get("icc_profile")
    image.save(buffer, "JPEG", quality=85, optimize=True, progressive=True, icc_profile=profile)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode('ascii')}"


def _notice(shown: int, total: int | None) -> str:
    if total is not None and total > shown:
        return f"Showing {shown:,} of {total:,} dreams"
    if not shown:
        return "This data set holds no dreams."
    return f"{shown:,} dream{'s' * (shown != 1)}"


def _text(text: str) -> str:
    """`text` for HTML; bytes of a file name that are not UTF-8 (lone surrogates) become `?`."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))


def _json(rows: list[dict[str, object]]) -> str:
    r"""ASCII JSON that is safe inside of HTML: `<` is `\u003c`, so there is no `</script>` or `<!--` in it."""
    plain = json.dumps(rows, separators=(",", ":"))
    return plain.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
