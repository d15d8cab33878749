"""The atlas of a network: a page with the pictures that the channels of its layers respond to most.

It is one HTML file that loads nothing from the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raydream.pages import parts

_KEYS = "← → channels &ensp; ↑ ↓ layers &ensp; Esc back"


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


def page(
    layers: Mapping[str, Sequence[Channel]], title: str, facts: Mapping[str, str], side: int | None = None
) -> bytes:
    """The page as HTML.

    Args:
        layers: layer -> its channels, in the order of the page.
        title: title of the page.
        facts: facts for the header.
        side: maximum side of the pictures in pixels; None to choose it by the number of pictures.
    """
    side = side or parts.side_for(sum(map(len, layers.values())))
    content = {
        "head": parts.head(title),
        "title": parts.text(title),
        "facts": parts.facts(facts),
        "layers": "".join(_section(name, channels, side) for name, channels in layers.items()),
        "lightbox": parts.filled("lightbox.html", {"keys": _KEYS}),
        "script": parts.filled("zoom.js", {}),
    }
    return parts.filled("atlas.html", content).encode()


def _section(layer: str, channels: Sequence[Channel], side: int) -> str:
    figures = "".join(_figure(layer, channel, side) for channel in channels)
    return f'<h2>{parts.text(layer)}</h2>\n<div class="group">\n{figures}</div>\n'


def _figure(layer: str, channel: Channel, side: int) -> str:
    numbers = f'<dl class="numbers">{parts.facts({"activation": f"{channel.activation:.3g}"})}</dl>'
    picture = parts.zoomable(channel.picture, side, f"{layer}, channel {channel.number}")
    return f"<figure>{picture}<figcaption>{channel.number}{numbers}</figcaption></figure>\n"
