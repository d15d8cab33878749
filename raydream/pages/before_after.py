"""The page before and after training: the same photographs, dreamed with a network before and after it was trained.

    write(Folder("out"), rows, {"mixed5": changed_channels(before, after)}, title="Instruments")

It is one HTML file that loads nothing from the network. Its structure, style and script are in before_after.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream.data.storage import Folder
from raydream.pages import parts

NAME = "before-after.html"
_KEYS = "← → pictures &ensp; ↑ ↓ photographs &ensp; Esc back"
_SMALL = 256  # maximum side of a channel's picture, in pixels
_FLOOR = 0.1  # of a layer's mean activation; see `changed_channels`


@dataclass(frozen=True, kw_only=True)
class Dreamed:
    """A dream with one of the two networks.

    Attributes:
        picture: encoded picture, in any format of Pillow.
        objective: objective of the photograph and of the dream.
        logit: logit of the photograph's class, for the photograph and for the dream.
    """

    picture: bytes
    objective: tuple[float, float] | None = None
    logit: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A photograph and its two dreams.

    Attributes:
        id: name of the photograph.
        label: its class.
        photograph: encoded picture.
        before, after: its dreams with the network before and after training.
    """

    id: str
    label: str | None = None
    photograph: bytes
    before: Dreamed
    after: Dreamed


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A channel whose activations have changed.

    Attributes:
        channel: its number in the layer, from 0.
        before, after: mean activation over the photographs.
        change: relative change; see `changed_channels`.
        picture: encoded picture of what the channel sees.
    """

    channel: int
    before: float
    after: float
    change: float
    picture: bytes | None = None


def changed_channels(before: NDArray[Any], after: NDArray[Any], most: int = 12) -> list[Changed]:
    """The channels of a layer whose mean activation over the photographs changed most, largest change first.

    The change is relative to the mean activation before, or to a tenth of the layer's mean if that is larger, so that
    channels that are almost never active do not come first. Channels without a change are left out.

    Args:
        before, after: mean activations over the positions, (images, channels), of the same photographs.
        most: maximum number of channels.

    Raises:
        ValueError: the shapes differ or are not (images, channels), or a value is not finite.
    """
    if before.shape != after.shape or before.ndim != 2 or not before.size:
        raise ValueError(f"before and after must both be (images, channels), not {before.shape} and {after.shape}")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise ValueError("before and after must be finite numbers")
    old, new = before.mean(axis=0, dtype=np.float64), after.mean(axis=0, dtype=np.float64)
    floor = _FLOOR * max(np.abs(old).mean(), np.abs(new).mean())
    change = (new - old) / np.maximum(np.maximum(np.abs(old), floor), np.finfo(np.float64).tiny)
    order = np.argsort(-np.abs(change), kind="stable")[:most]
    return [
        Changed(channel=int(c), before=float(old[c]), after=float(new[c]), change=float(change[c]))
        for c in order
        if change[c]
    ]


def write(
    out: Folder,
    rows: Sequence[Row],
    channels: Mapping[str, Sequence[Changed]],
    title: str,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes the page to the file `NAME`. Its pictures are as large as the page allows; see `parts.side_for`.

    Args:
        out: the folder.
        rows: the photographs with their dreams, in the order of the page.
        channels: layer -> its channels, largest change first.
        title: title of the page.
        facts: facts for the header, such as the recipe.

    Raises:
        PIL.UnidentifiedImageError: the bytes of a picture are no picture.
    """
    side = parts.side_for(3 * len(rows))
    out.write(NAME, page(rows, channels, title, facts or {}, side).encode())


def page(
    rows: Iterable[Row],
    channels: Mapping[str, Sequence[Changed]],
    title: str,
    facts: Mapping[str, str],
    side: int = 384,
) -> str:
    """The whole page; arguments as for `write`. Pictures are shrunk to at most `side` pixels per side."""
    shown = [_row(row, side) for row in rows]
    content = {
        "head": parts.head(title),
        "title": parts.text(title),
        "notice": f"{len(shown)} photograph{'s' * (len(shown) != 1)}, dreamed before and after training",
        "facts": parts.facts(facts),
        "rows": "".join(shown),
        "channels": _layers(channels) if channels else "",
        "lightbox": parts.filled("lightbox.html", {"keys": _KEYS}),
        "script": parts.filled("zoom.js", {}),
    }
    return parts.filled("before_after.html", content)


def _row(row: Row, side: int) -> str:
    name = f"<h2>{parts.text(row.id)}{f' <small>{parts.text(row.label)}</small>' if row.label else ''}</h2>"
    figures = (
        _figure(row.photograph, side, "Photograph", row.id, {}),
        _figure(row.before.picture, side, "Dream before", row.id, _numbers(row.before, row.label)),
        _figure(row.after.picture, side, "Dream after", row.id, _numbers(row.after, row.label)),
    )
    return f'<article class="group">{name}<div class="three">{"".join(figures)}</div></article>\n'


def _numbers(dreamed: Dreamed, label: str | None) -> dict[str, str]:
    pairs = {"objective": dreamed.objective, f"logit of {label}" if label else "logit": dreamed.logit}
    return {key: f"{pair[0]:.3g} → {pair[1]:.3g}" for key, pair in pairs.items() if pair}


def _figure(encoded: bytes, side: int, kind: str, id: str, numbers: Mapping[str, str]) -> str:
    shown = f'<dl class="numbers">{parts.facts(numbers)}</dl>' if numbers else ""
    return f"<figure>{parts.zoomable(encoded, side, f'{kind}: {id}')}<figcaption>{kind}{shown}</figcaption></figure>"


def _layers(channels: Mapping[str, Sequence[Changed]]) -> str:
    tables = "".join(_layer(layer, found) for layer, found in channels.items())
    return (
        '<section id="channels" aria-labelledby="changed"><h2 id="changed">Channels that changed most</h2>'
        "<p>Mean activation over the photographs, before and after training. The change is relative to the activation "
        f'before.</p><div id="layers">{tables}</div></section>'
    )


def _layer(layer: str, channels: Sequence[Changed]) -> str:
    if not channels:
        return f"<p>{parts.text(layer)}: no channel has changed.</p>"
    largest = max(abs(one.change) for one in channels) or 1.0
    rows = "".join(_channel(layer, one, abs(one.change) / largest) for one in channels)
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("channel", "before", "after", "change"))
    return f"<table><caption>{parts.text(layer)}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _channel(layer: str, one: Changed, share: float) -> str:
    """A row of a table; the length of the bar is the change's share of the largest one in the table."""
    picture = parts.zoomable(one.picture, _SMALL, f"{layer}, channel {one.channel}") if one.picture else ""
    side = "up" if one.change > 0 else "down"
    bar = f'<i class="{side}" style="width: {share:.1%}"></i>'
    return (
        f'<tr class="group"><th scope="row"><div>{one.channel}{picture}</div></th>'
        f"<td>{one.before:.3g}</td><td>{one.after:.3g}</td><td>{one.change:+.0%}{bar}</td></tr>"
    )
