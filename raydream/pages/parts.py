"""What the pages share: the head of the file with the style, the lightbox, pictures inside of HTML, safe text."""

import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from io import BytesIO
from typing import Any

from PIL import Image

# The background of the page. Transparent pictures are composited over it, since JPEG has no transparency.
_GROUND = (16, 16, 18)
_PAGE_BYTES = 40_000_000
_BYTES_A_PIXEL = 0.4  # of a dream as JPEG, in base64
_SIDES = (384, 1600)  # minimum and maximum side of a picture, in pixels


def filled(template: str, parts: Mapping[str, str]) -> str:
    """A template beside this file with `{{name}}` replaced by the parts, which are HTML."""
    html = files("raydream.pages").joinpath(template).read_text("utf-8")
    # In one pass, so that {{title}} inside of a part is not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], html)


def head(title: str) -> str:
    """The beginning of a page: its policy, its title, and the common style."""
    return filled("head.html", {"title": text(title)})


def facts(shown: Mapping[str, str]) -> str:
    """Facts for a list `<dl>`."""
    return "".join(f"<div><dt>{text(key)}<dd>{text(value)}</div>" for key, value in shown.items())


def side_for(pictures: int) -> int:
    """The side of pictures, in pixels, for which a page with this number of pictures has about `_PAGE_BYTES`.

    So the lightbox shows a few pictures at full size, and many as large as possible.
    """
    pixels = _PAGE_BYTES / (max(1, pictures) * _BYTES_A_PIXEL)
    return max(_SIDES[0], min(_SIDES[1], math.isqrt(int(pixels))))


def thumbnail(encoded: bytes, side: int) -> Image.Image:
    """The picture in RGB, shrunk to at most `side` pixels per side; raises `PIL.UnidentifiedImageError`."""
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


def colour(image: Image.Image) -> str:
    """The mean colour, which is shown until the picture is loaded."""
    mean = image.resize((1, 1), Image.Resampling.BOX).tobytes()
    return f"#{mean.hex()}"


def data_uri(image: Image.Image) -> str:
    """The picture as JPEG, for `src`."""
    buffer = BytesIO()
    profile = image.info.get("icc_profile")
    image.save(buffer, "JPEG", quality=85, optimize=True, progressive=True, icc_profile=profile)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode('ascii')}"


def zoomable(encoded: bytes, side: int, name: str) -> str:
    """A picture, shrunk to at most `side` pixels per side, in a button that enlarges it; see zoom.js."""
    image = thumbnail(encoded, side)
    return (
        f'<button type="button" class="zoom" aria-label="Enlarge {text(name)}">'
        f'<img alt="{text(name)}" width="{image.width}" height="{image.height}" decoding="async" '
        f'style="background: {colour(image)}" src="{data_uri(image)}"></button>'
    )


def text(plain: str) -> str:
    """Text for HTML; bytes of a file name that are not UTF-8 (lone surrogates) become `?`."""
    return escape(plain.encode("utf-8", "replace").decode("utf-8"))


def json_text(value: Any) -> str:
    r"""ASCII JSON that is safe inside of HTML: `<` is `\u003c`, so there is no `</script>` or `<!--` in it."""
    plain = json.dumps(value, separators=(",", ":"))
    return plain.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
