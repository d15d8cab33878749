"""Generates skies and landscapes from random numbers: the demo dreams these pictures.

A `Place` is painted back to front in linear light: sky, clouds, land, water, film. Its shapes
are 1/f noise on periodic tiles, seen by a level camera that looks along z, so a seed gives the
same composition at every size. Lengths are in kilometres (waves: metres), colours hexadecimal sRGB.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]  # of float32, but for passing steps
Random = np.random.Generator
Form = Callable[[Random], Field]
TILE = 512  # samples along each side of a periodic tile
SLICES = 28  # through a layer of cloud; jittered, so that none shows


def _noise(rng: Random, amplitude: Callable[[Field, Field], Field]) -> Field:
    """A tile of mean 0 and deviation 1 whose spectrum is `amplitude(fx, fy)`, in cycles a tile."""
    fy = np.fft.fftfreq(TILE, 1 / TILE).astype(np.float32)[:, None]
    fx = np.arange(TILE // 2 + 1, dtype=np.float32)[None]
    parts = rng.standard_normal((TILE, TILE // 2 + 1, 2), dtype=np.float32)
    field = np.fft.irfft2(parts.view(np.complex64)[..., 0] * amplitude(fx, fy))
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _fractal(rng: Random, power: float = 1.8, first: float = 2.5) -> Field:
    """Spectral synthesis (Saupe 1988): amplitude falls as frequency to the -`power`."""
    return _noise(rng, lambda x, y: (x * x + y * y + first**2) ** (-power / 2))


def _octave(rng: Random, centre: float) -> Field:
    """An octave of noise, like Perlin's (1985) but without a visible lattice."""
    return _noise(rng, lambda x, y: np.exp(-(np.log((x * x + y * y + 1e-9) / centre**2) ** 2)))


def _ridged(rng: Random, first: float = 2.5) -> Field:
    """Musgrave's ridged multifractal (1994), about 0 to 1: detail gathers on ridges."""
    height, weight = np.zeros((TILE, TILE), np.float32), np.float32(1)
    for k in range(6):
        signal = (1 - np.minimum(np.abs(_octave(rng, first * 2**k)) * 0.55, 1)) ** 2 * weight
        height, weight = height + signal * 0.5 * 0.48**k, np.clip(signal * 1.8, 0, 1)
    return height


def _dunes(rng: Random) -> Field:
    crests = [1 - np.hypot(_octave(rng, first), 0.02) / 2 for first in (2.5, 5)]
    return crests[0] + 0.35 * crests[1] + 0.3 * _fractal(rng, 3)


def _spruces(rng: Random) -> Field:
    """A height map of a wood, 0 to 1: ragged cones that grow downwards from their tips."""
    wood = np.zeros((TILE, TILE), np.float32)
    wood[tuple(rng.integers(0, TILE, (2, 1500)))] = rng.uniform(0.4, 1, 1500)
    for _ in range(14):
        drop = 0.03 + 0.06 * rng.random(wood.shape, dtype=np.float32)
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            wood = np.maximum(wood, np.roll(wood, step, axis) - drop)
    return wood


def _sample(tile: Field, x: Field, z: Field) -> Field:
    """Bilinear lookup in a tile of period 1."""
    left, low = np.floor(x * TILE), np.floor(z * TILE)
    a, b = x * TILE - left, z * TILE - low
    i, j = left.astype(np.int32) & (TILE - 1), (low.astype(np.int32) & (TILE - 1)) * TILE
    right, high, flat = (i + 1) & (TILE - 1), (j + TILE) & (TILE * TILE - 1), tile.ravel()
    near = flat[j + i] * (1 - a) + flat[j + right] * a
    return np.asarray(near * (1 - b) + (flat[high + i] * (1 - a) + flat[high + right] * a) * b)


@dataclass(frozen=True)
class Place:
    """A scene: its contents, light and viewpoint, and the size of the picture."""

    light: tuple[float, ...]  # direction (right, up, forward)
    sun: str
    shade: str
    sky: str  # colours from the horizon to the zenith
    horizon: float = 0.6  # from the top of the picture
    cover: float = -0.3  # clouds: none (-2) to overcast (1)
    base: float = 2.0  # where their layer begins
    tile: float = 0.0  # length of the land's period; 0: no land
    relief: Form = _ridged  # large forms, and small ones on them
    detail: Form = _fractal
    soil: str = "0e3a4a"  # colours of the land from low to high, or of the water
    peak: float = 1.0  # heights of both, and of the eye
    bump: float = 0.05
    eye: float = 1.0
    haze: float = 1.5  # visibility, in tiles
    mist: float = 0.0  # in the valleys
    swell: float = 0.0  # height of waves; 0: no water
    width: int = 1
    height: int = 1

    def rays(self, sharp: int = 1) -> tuple[Field, Field]:
        """Slopes to the right (1, width) and up (height, 1), `sharp` along a pixel's side."""
        width, height = self.width * sharp, self.height * sharp
        right = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (height * 1.4)
        up = (self.horizon - (np.arange(height, dtype=np.float32) + 0.5) / height) / 1.4
        return right[None], up[:, None]

    def angle(self) -> Field:
        """Between every ray and the light, radians (height, width)."""
        (right, up), (x, y, z) = self.rays(), self.light
        cosine = (right * x + up * y + z) / np.sqrt(right**2 + up**2 + 1)
        return np.asarray(np.arccos(np.clip(cosine, -1, 1)))


def _paint(names: str) -> Field:
    return np.asarray((np.array([[*bytes.fromhex(c)] for c in names.split()]) / 255) ** 2.2, "f4")


def _blend(colours: str, t: Field) -> Field:
    """Interpolates smoothly between colours that are spaced evenly over t from 0 to 1."""
    palette = _paint(colours)
    t = np.clip(t, 0, 1)[..., None] - np.linspace(0, 1, len(palette), dtype=np.float32)
    weights = np.exp(-((t * len(palette) / 1.1) ** 2))
    return np.asarray((weights @ palette) / weights.sum(-1, keepdims=True))


def _shadow(heights: Field, place: Place, cell: float) -> Field:
    """Height of the shadow at every position: a running maximum towards the light."""
    x, y, z = (c / (1 - place.light[1] ** 2) ** 0.5 for c in place.light)
    for step in (1, 2, 4, 8, 16, 32, 64):
        moved = np.roll(heights, (-round(z * step), -round(x * step)), (0, 1))
        heights = np.maximum(heights, moved - cell * y * step)
    return heights


def _sunlight(heights: Field, place: Place, cell: float) -> Field:
    """Lambert's law on a height field, with the shadows it casts."""
    dz, dx = ((np.roll(heights, -1, a) - np.roll(heights, 1, a)) / (2 * cell) for a in (0, 1))
    x, y, z = place.light
    facing = np.maximum(y - dx * x - dz * z, 0) / np.sqrt(1 + dx * dx + dz * dz)
    return np.asarray(facing * np.exp((heights - _shadow(heights, place, cell)) / (3 * cell)))


def _sky(place: Place) -> Field:
    """The sky from the horizon to the zenith, with the halo and disc of the sun or moon."""
    angle = place.angle()
    halo = 0.35 * np.exp(-angle / 0.45) + 1.2 * np.exp(-angle / 0.09)
    disc = 12 / (1 + np.exp(np.clip((angle - 0.022) / 0.002, -30, 30)))
    air = _blend(place.sky, place.rays()[1] * 1.6)
    return np.asarray(air + (halo + disc)[..., None] * _paint(place.sun))


def _clouds(place: Place, rng: Random, picture: Field) -> Field:
    """Ray marching up through a layer of cloud; Beer's law gives its opacity and shading."""
    thick, spread = 0.8 * place.base**-0.5, 14 + 6 * place.base
    tops = _fractal(rng, 1.9, 4) + place.cover
    tops = np.clip(np.sign(tops) * np.sqrt(np.abs(tops)) * 0.6, -0.5, 1.2)
    fields = tops + 1j * _shadow(tops, place, spread / TILE / thick)
    right, up = place.rays()
    up = up[up[:, 0] > 0.012]
    sky, shade = picture[: len(up)], _paint(place.shade)
    sun = _paint(place.sun) * (1 + 5 * np.exp(-place.angle()[: len(up), :, None] / 0.22))
    rough = 0.5 * _sample(_ridged(rng, 5), right, up * 1.3) - 0.1
    jitter, clear, colour = rng.random(rough.shape, np.float32), np.ones_like(rough), 0 * sky
    path = 9 * np.minimum(thick / SLICES * np.sqrt(1 + 1 / up**2), 0.6)
    for k in range(SLICES):
        h = (k + jitter) / SLICES
        far = (place.base + h * thick) / up
        found = _sample(fields, right * far / spread, far / spread)
        hidden = 1 - np.exp(-path * np.clip((found.real - h - rough * np.sqrt(h)) * 8, 0, 1))
        lit, air = np.exp(-5 * np.maximum(found.imag - h, 0) - rough), np.exp(-far / 40)
        tone = lit[..., None] * sun + (0.55 + 0.6 * h)[..., None] * shade
        colour += (clear * hidden)[..., None] * (sky + (tone - sky) * air[..., None])
        clear *= 1 - hidden
    for axis, n in enumerate(clear.shape):  # the jitter of neighbours evens out
        clear, colour = ((f + f.take(np.arange(n).clip(1) - 1, axis)) / 2 for f in (clear, colour))
    return np.concatenate([sky * clear[..., None] + colour, picture[len(up) :]])


def _lay(picture: Field, hit: NDArray[np.bool_], colour: Field) -> Field:
    """Composites the colours that the rays hit (2 x 2 rays per pixel) over the picture."""
    layer = np.zeros((*hit.shape, 4), np.float32)
    layer[hit] = np.pad(colour, ((0, 0), (0, 1)), constant_values=1)
    layer = layer.reshape(len(picture), 2, -1, 2, 4).mean((1, 3))
    return np.asarray(picture * (1 - layer[..., 3:]) + layer[..., :3])


def _land(place: Place, rng: Random, picture: Field, air: Field) -> Field:
    """The land in sunlight, behind haze and behind the mist in its valleys."""
    relief, detail = place.relief(rng), place.detail(rng)
    lit = _sunlight(relief, place, place.tile / TILE / place.peak)
    fine = _sunlight(detail, place, place.tile / 8 / TILE / place.bump)

    def look(tile: Field, x: Field, z: Field, scale: float = 1) -> Field:
        return _sample(tile, x * scale / place.tile, z * scale / place.tile)

    def surface(x: Field, z: Field) -> Field:
        rise = place.peak * look(relief, x, z) * np.clip(2 * z / place.tile + 0.1, 0, 1)
        return rise + place.bump * look(detail, x, z, 8)

    right, up = place.rays(2)
    far = place.tile * np.geomspace(0.05, 2.5, 480, dtype=np.float32)[:, None]
    slope = (surface(right * far, far + 0 * right) - place.eye) / far
    first = [np.searchsorted(c, up[:, 0]) for c in np.maximum.accumulate(slope, 0).T]
    last = np.clip(np.stack(first, 1), 1, len(far))
    hit, last = last < len(far), np.minimum(last, len(far) - 1)
    below, above = (np.take_along_axis(slope, last - k, 0) for k in (1, 0))
    part = np.clip((up - below) / np.where(above > below, above - below, 1), 0, 1)
    distance = far[last - 1, 0] * (far[1, 0] / far[0, 0]) ** part
    x, z, y = (f[hit] for f in (right * distance, distance, place.eye + up * distance))
    light = look(lit, x, z) * (0.4 + 1.2 * look(fine, x, z, 8)) * 2.2
    colour = _blend(place.soil, y / place.peak + 0.3 * look(detail, x, z, 8) - 0.1)
    colour *= light[:, None] * _paint(place.sun) + 0.6 * _paint(place.shade)
    mist = place.mist * np.exp(-np.maximum(y, 0) * 8 / place.peak)
    seen = np.exp(-z / place.tile * (1 / place.haze + mist))[:, None]
    return _lay(picture, hit, colour * seen + air[np.nonzero(hit)[1] // 2] * (1 - seen))


def _water(place: Place, rng: Random, picture: Field) -> Field:
    """Waves that mirror the picture above them: wind spectrum, Fresnel term by Schlick (1994)."""
    right, up = place.rays(2)
    z = 5 / np.maximum(-up[up < 0], 1e-3)[:, None]
    waves = _noise(rng, lambda x, y: (0.4 + np.abs(y + 0.3 * x)) * (9 + x * x + y * y) ** -1.55)
    slopes: list[Field] = list(np.gradient(place.swell * waves, 60 / TILE))
    calm, x, rise = 1 + z / 250, right * z, -5 / z
    dz, dx = ((_sample(s, x / 60, z / 60) + _sample(s, x / 17, z / 17)) / calm for s in slopes)
    facing = np.minimum(rise - right * dx - dz, 0) / (1 + dx * dx + dz * dz)
    ahead = np.maximum(1 + 2 * facing * dz, 0.2) / (1.4 * place.height)
    row = place.horizon * place.height - np.abs(rise - 2 * facing) / ahead
    row = np.clip(row, 0, max(place.horizon * place.height - 1, 0))
    col = np.clip((right + 2 * facing * dx) / ahead + place.width / 2, 0, place.width - 1)
    mirror = np.minimum(picture[row.astype(int), col.astype(int)], 6)
    fresnel = 0.02 + 0.98 * (1 + np.maximum(facing, -1)[..., None]) ** 5
    colour = fresnel * mirror + (1 - fresnel) * _paint(place.soil)[0]
    return _lay(picture, np.broadcast_to(up < 0, (len(up), right.size)), colour.reshape(-1, 3))


def _film(picture: Field, rng: Random) -> Field:
    """Compresses the highlights, adds contrast and grain; converts linear light to sRGB in [-1, 1]."""
    y = np.clip(picture / np.cbrt(1 + picture**3), 0, 1) ** (1 / 2.2)
    grain = rng.standard_normal(picture.shape[:2], dtype=np.float32)
    grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1))[..., None] * 0.01
    return np.asarray(np.clip(2 * y - 1 - 0.035 * np.sin(2 * np.pi * y) + grain, -1, 1), "f4")


# fmt: off
_PLACES = {
    "dawn": Place((0.1, 0.08, 1), "ffb060", "4074d0", "ffc890 f0a890 b9a3b8 7c93bc 5577a8", 0.5,
        base=5, soil="141a38 4c4c70", tile=18, peak=1.8, bump=0.015, haze=1.2, mist=6),
    "cumulus": Place((-0.8, 0.55, -0.25), "fff0d8", "8fa0bb", "d4e0e6 8fb4d8 5a8cc4 2f5f9e", 0.74,
        base=1, tile=5, relief=lambda rng: 0.5 + 0.25 * _fractal(rng, 2.7), detail=_spruces,
        soil="7a8440 56703a 34502c 2c4420", peak=0.3, bump=0.012, eye=0.3),
    "mountains": Place((-0.9, 0.42, -0.3), "ffd8b0", "7090c8", "f0d8c4 a9c0d8 5a86bc 2b568f", 0.6,
        -0.8, 5, 40, detail=_ridged, soil="3c4858 a0a8b4 ffffff", peak=6, bump=0.3, eye=2, mist=1),
    "sea": Place((0.1, 0.09, 1), "ff9a50", "8a7290", "ffcf8a e89a78 9a86a8 54699c", swell=0.3),
    "dunes": Place((-0.85, 0.3, 0.5), "ffd9a0", "8078b8", "f6dcb0 cfc8c0 8fb0cc 5a8abf", 0.42, -0.5,
        5, 0.9, _dunes, lambda rng: _noise(rng, lambda x, y: np.exp(-np.hypot(x - 20, y - 60) / 9)),
        "c98a4e d89a5c e2b078", peak=0.08, bump=0.0004, eye=0.14, haze=4),
    "forest": Place((0.1, 0.2, 1), "ffe8b0", "3c7890", "f0e8d0 dce4dc 9cbac4 5c88a4", 0.42, -0.4, 6,
        tile=2, relief=lambda rng: 0.5 + 0.25 * _fractal(rng, 2.7), detail=_spruces,
        soil="0c2420 34644c 8ca860", peak=0.35, bump=0.035, eye=0.3, haze=2, mist=2),
    "night": Place((0.1, 0.25, 1), "8090b0", "18223c", "34426a 0a1430", swell=0.2, soil="061018"),
    "storm": Place((0.5, 0.12, 0.8), "ffc070", "34486c", "ffd890 b8b0a8 6c829c 3c5070", 0.7, 0.7, 1,
        swell=0.6, soil="1a3a40"),
}
# fmt: on
KINDS: tuple[str, ...] = tuple(_PLACES)


def scene(kind: str, seed: int, width: int = 448, height: int = 336) -> NDArray[np.float32]:
    """A picture (height, width, 3), float32 sRGB from -1 to 1; equal arguments give equal bytes.

    `kind` is one of `KINDS`; the seed (not negative) moves the sun, the clouds, the land and the
    eye a little. Raises ValueError for other kinds.
    """
    if kind not in _PLACES:
        raise ValueError(f"unknown kind of scene {kind!r}; valid: {', '.join(KINDS)}")
    rng, place = np.random.default_rng([zlib.crc32(kind.encode()), seed]), _PLACES[kind]
    turn, lift, cover, tilt = (rng.uniform(-1, 1, 4) * (0.25, 0.25, 0.25, 0.04)).tolist()
    light = np.array(place.light) * (1, 1 + lift, 1) + (turn, 0, 0)
    light /= np.linalg.norm(light)
    place = replace(place, light=tuple(light.tolist()), width=width, height=height)
    place = replace(place, cover=place.cover + cover, horizon=place.horizon + tilt)
    sky, shade = _sky(place), _paint(place.shade)
    air = sky[min(int(place.horizon * height), height - 1)]
    air = 0.6 * air / np.maximum(air.max(-1, keepdims=True), 1) + 0.4 * shade
    wind, rock, wave = rng.spawn(3)  # separate streams, since the clouds draw a number for every pixel
    picture = _clouds(place, wind, sky)
    picture = _land(place, rock, picture, air) if place.tile else picture
    return _film(_water(place, wave, picture) if place.swell else picture, rng)


def collection(
    count: int, seed: int = 0, width: int = 448, height: int = 336
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yields `count` scenes with their paths, as ("dawn/dawn_00.png", image); the kinds in turn."""
    for index in range(count):
        turn, kind = index // len(KINDS), KINDS[index % len(KINDS)]
        yield f"{kind}/{kind}_{turn:02d}.png", scene(kind, seed + turn, width, height)
