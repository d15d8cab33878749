"""The atlas of a layer: for each channel, the picture that it responds to most.

It is one HTML file that loads nothing from the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raydream.data.storage import Folder
from raydream.pages import parts

NAME = "index.html"
_KEYS = "← → channels &ensp; Esc back"


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A channel.

    Attributes:
        number: its number in the layer, from 0.
        picture: encoded picture.
        activation: its mean activation on the picture.
    """

    number: int
    picture: bytes
    activation: float


def write(out: Folder, channels: Sequence[Channel], title: str, facts: Mapping[str, str]) -> None:
    """Writes the page to the file `NAME`.

    Args:
        out: the folder.
        channels: the channels, in the order of the page.
        title: title of the page.
        facts: facts for the header.
    """
    side = parts.side_for(len(channels))
    content = {
        "head": parts.head(title),
        "title": parts.text(title),
        "notice": f"What {len(channels)} channel{'s respond' if len(channels) != 1 else ' responds'} to most",
        "facts": parts.facts(facts),
        "pictures": "".join(_figure(channel, side) for channel in channels),
        "lightbox": parts.filled("lightbox.html", {"keys": _KEYS}),
        "script": parts.filled("zoom.js", {}),
    }
    out.write(NAME, parts.filled("atlas.html", content).encode())


def _figure(channel: Channel, side: int) -> str:
    numbers = f'<dl class="numbers">{parts.facts({"activation": f"{channel.activation:.3g}"})}</dl>'
    picture = parts.zoomable(channel.picture, side, f"channel {channel.number}")
    return f"<figure>{picture}<figcaption>{channel.number}{numbers}</figcaption></figure>\n"
