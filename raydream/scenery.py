"""Skies and landscapes from numbers alone: the pictures that the demo dreams on.

A scene is a `Place` painted back to front in linear light: sky, stars, clouds, land, water, film.
The world is height fields of 1/f noise on periodic tiles, seen by a level camera that looks along
z; so a seed keeps its composition at every size. Lengths are kilometres, at sea metres.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Surface = Callable[[Field, Field], Field]
Random = np.random.Generator
TILE = 512  # cells along the side of a periodic texture


# ---- noise: periodic tiles ---------------------------------------------------------------------


def _noise(rng: Random, amplitude: Callable[[Field, Field], Field]) -> Field:
    """A tile of mean 0 and deviation 1 whose spectrum is `amplitude(fx, fy)`, in cycles a tile."""
    fy = np.fft.fftfreq(TILE, 1 / TILE).astype(np.float32)[:, None]
    fx = np.arange(TILE // 2 + 1, dtype=np.float32)[None]
    parts = rng.standard_normal((TILE, TILE // 2 + 1, 2), dtype=np.float32)
    field = np.fft.irfft2(parts.view(np.complex64)[..., 0] * amplitude(fx, fy))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def _fractal(rng: Random, power: float = 1.8, first: float = 2) -> Field:
    """Spectral synthesis (Saupe 1988): amplitude falls as frequency to the -`power`."""
    return _noise(rng, lambda x, y: (x * x + y * y + first**2) ** (-power / 2))


def _band(rng: Random, centre: float) -> Field:
    """An octave of noise, as one of Perlin's (1985) but without a lattice to betray it."""
    return _noise(rng, lambda x, y: np.exp(-(np.log((x * x + y * y + 1e-9) / centre**2) ** 2)))


def _ridged(rng: Random, first: float = 2.5, octaves: int = 6) -> Field:
    """Musgrave's ridged multifractal (1994), about 0 to 1: detail gathers on the ridges."""
    height, weight = np.zeros((TILE, TILE), np.float32), np.float32(1)
    for k in range(octaves):
        signal = (1 - np.minimum(np.abs(_band(rng, first * 2**k)) * 0.55, 1)) ** 2 * weight
        weight = np.clip(signal * 1.8, 0, 1)
        height += signal * 0.5 * 0.48**k
    return height


def _dunes(rng: Random) -> Field:
    """Sharp crests on smooth flanks."""
    crests = [1 - np.hypot(_band(rng, f), 0.02) * 0.5 for f in (2.5, 5.0)]
    return crests[0] + 0.35 * crests[1] + 0.3 * _fractal(rng, 3)


def _ripples(rng: Random) -> Field:
    """Sand ripples: a narrow band of waves along one direction."""
    return _noise(rng, lambda x, y: np.exp(-(((y - 60) / 9) ** 2) - ((x - 20) / 9) ** 2))


def _spruces(rng: Random) -> Field:
    """A wood from above, 0 to 1: cones with ragged flanks, grown from their tips by dilation."""
    wood = np.zeros((TILE, TILE), np.float32)
    tips = rng.integers(0, TILE, (2, 900))
    wood[tips[0], tips[1]] = rng.uniform(0.4, 1, 900)
    for k in range(16):
        drop = 0.04 + 0.05 * rng.random(wood.shape, dtype=np.float32)
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            wood = np.maximum(wood, np.roll(wood, step, axis) - drop)
    return wood


def _sample(texture: Field, x: Field, z: Field) -> Field:
    """Bilinear look-up in a tile of period 1."""
    x, z = x * TILE, z * TILE
    left, low = np.floor(x), np.floor(z)
    a, b = x - left, z - low
    i, j = left.astype(np.int32) & (TILE - 1), (low.astype(np.int32) & (TILE - 1)) * TILE
    i1, j1 = (i + 1) & (TILE - 1), (j + TILE) & (TILE * TILE - 1)
    flat = texture.ravel()
    near = flat[j + i] + (flat[j + i1] - flat[j + i]) * a
    return near + (flat[j1 + i] + (flat[j1 + i1] - flat[j1 + i]) * a - near) * b


# ---- places ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """What there is to see, and in which light; a direction is (right, up, forward)."""

    light: tuple[float, float, float]
    sun: str  # colours are hexadecimal sRGB
    shade: str
    sky: str  # from the horizon to the zenith
    horizon: float = 0.6  # from the top of the picture
    focal: float = 1.3
    # clouds: from none (-9) to overcast (1); height and thickness of the layer; size of its tile
    cover: float = -0.3
    base: float = 1.0
    thick: float = 0.8
    spread: float = 20.0
    rough: float = 0.5
    # land: its form, and small forms on it; size of the tile, heights, eye; colours from low to high
    relief: Callable[[Random], Field] | None = None
    detail: Callable[[Random], Field] = _fractal
    soil: str = ""
    tile: float = 20.0
    peak: float = 1.0
    bump: float = 0.05
    eye: float = 1.0
    haze: float = 40.0
    mist: float = 0.0
    valley: float = 0.1
    swell: float = 0.0  # height of the waves in metres; 0 for no water
    stars: float = 0.0
    aurora: float = 0.0


@dataclass(frozen=True)
class View:
    """A place in a picture's rectangle, and the light of its colours."""

    place: Place
    width: int
    height: int

    def rays(self, sharp: int = 1) -> tuple[Field, Field]:
        """Slopes to the right (1, width) and up (height, 1), `sharp` along a pixel's side."""
        width, height, focal = self.width * sharp, self.height * sharp, self.place.focal
        right = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (height * focal)
        up = (self.place.horizon - (np.arange(height, dtype=np.float32) + 0.5) / height) / focal
        return right[None], up[:, None]

    @cached_property
    def angle(self) -> Field:
        """Angle between every ray and the light, radians (height, width)."""
        right, up = self.rays()
        light = np.array(self.place.light) / np.linalg.norm(self.place.light)
        cosine = (right * light[0] + up * light[1] + light[2]) / np.sqrt(right**2 + up**2 + 1)
        return np.arccos(np.clip(cosine, -1, 1)).astype(np.float32)

    def lay(self, picture: Field, hit: NDArray[np.bool_], colour: Field) -> Field:
        """Covers the picture with what 2 x 2 rays a pixel have hit."""
        layer = np.zeros((*hit.shape, 4), np.float32)
        layer[hit] = np.concatenate([colour, np.ones_like(colour[:, :1])], 1)
        layer = layer.reshape(self.height, 2, self.width, 2, 4).mean((1, 3))
        return picture * (1 - layer[..., 3:]) + layer[..., :3]


# ---- light -------------------------------------------------------------------------------------


def _paint(colours: str) -> Field:
    """Hexadecimal sRGB colours as linear light, (colours, 3)."""
    return np.array([list(bytes.fromhex(c)) for c in colours.split()], np.float32) ** 2.2 / 255**2.2


def _blend(colours: str, t: Field) -> Field:
    """Colours spread evenly over t from 0 to 1, without a crease between them."""
    palette = _paint(colours)
    t = np.clip(t, 0, 1)[..., None] - np.linspace(0, 1, len(palette), dtype=np.float32)
    weights = np.exp(-((t * len(palette) / 1.1) ** 2))
    return (weights @ palette) / weights.sum(-1, keepdims=True)


def _shadow(heights: Field, place: Place, cell: float) -> Field:
    """How high the shade reaches over every cell: a running maximum towards the light."""
    toward = np.array((place.light[2], place.light[0])) / np.hypot(place.light[2], place.light[0])
    drop = cell * place.light[1] / np.hypot(place.light[2], place.light[0])
    for k in range(7):
        step = np.rint(-toward * 2**k).astype(int)
        heights = np.maximum(heights, np.roll(heights, tuple(step), (0, 1)) - drop * 2**k)
    return heights


def _sunlight(heights: Field, place: Place, cell: float) -> Field:
    """Lambert's law on a height field, with the shadows it casts."""
    dz, dx = ((np.roll(heights, -1, a) - np.roll(heights, 1, a)) / (2 * cell) for a in (0, 1))
    x, y, z = np.array(place.light) / np.linalg.norm(place.light)
    facing = np.maximum(y - dx * x - dz * z, 0) / np.sqrt(1 + dx * dx + dz * dz)
    return facing * np.exp((heights - _shadow(heights, place, cell)) / (3 * cell))


def _sky(view: View) -> Field:
    """Air from the horizon to the zenith, and the sun's halo and disc."""
    halo = 0.35 * np.exp(-view.angle / 0.45) + 1.2 * np.exp(-view.angle / 0.09)
    disc = 12 / (1 + np.exp(np.clip((view.angle - 0.022) / 0.002, -30, 30)))
    air = _blend(view.place.sky, view.rays()[1] * 1.5)
    return air + (halo + disc)[..., None] * _paint(view.place.sun)


def _clouds(view: View, rng: Random, picture: Field) -> Field:
    """Marches rays up through a layer of cloud; Beer's law says what it hides and shades."""
    place = view.place
    tops = _fractal(rng, 1.9, 3) + place.cover
    tops = np.clip(np.sign(tops) * np.sqrt(np.abs(tops)) * 0.6, -0.5, 1.2)
    fields = tops + 1j * _shadow(tops, place, place.spread / TILE / place.thick)
    right, up = view.rays()
    up = up[up[:, 0] > 0.012]
    rough = place.rough * _sample(_ridged(rng, 5), right, up * 1.3) - 0.1
    jitter, (x, z) = rng.random(rough.shape, dtype=np.float32), rng.uniform(0, 9, 2)
    clear, colour = np.ones_like(rough), np.zeros((*rough.shape, 3), np.float32)
    forward = 1 + 5 * np.exp(-view.angle[: len(up)] / 0.22)
    sun, shade, sky = _paint(place.sun), _paint(place.shade), picture[: len(up)]
    path = 9 * np.minimum(place.thick / 28 * np.sqrt(1 + 1 / up**2), 0.6)
    for k in range(28):
        h = (k + jitter) / 28
        far = (place.base + h * place.thick) / up
        found = _sample(fields, (right * far + x) / place.spread, (far + z) / place.spread)
        hidden = 1 - np.exp(-path * np.clip((found.real - h - rough * np.sqrt(h)) * 8, 0, 1))
        lit = np.exp(-5 * np.maximum(found.imag - h, 0) - 1.5 * rough) * forward
        air = np.exp(-far / 40)[..., None]
        tone = (lit[..., None] * sun + (0.55 + 0.6 * h)[..., None] * shade) * air + sky * (1 - air)
        colour += (clear * hidden)[..., None] * tone
        clear *= 1 - hidden
    return np.concatenate([sky * clear[..., None] + colour, picture[len(up) :]])


def _stars(view: View, rng: Random, picture: Field) -> Field:
    """Stars, dense along a milky way with lanes of dust; drawn between the pixels, as light adds."""
    clouds, dust, turn = _fractal(rng, 1.7), _ridged(rng, 3), rng.choice([-1, 1]) * rng.uniform(0.6, 1.3)

    def milk(x: Field, y: Field) -> Field:
        d = np.cos(turn) * (y - 0.3) - np.sin(turn) * x + 0.02 * _sample(clouds, x * 0.9, y * 0.9)
        lane = np.exp(-((d / 0.06) ** 2)) * np.clip(1.5 * _sample(dust, x, y) - 0.3, 0, 1)
        glow = np.exp(-((d / 0.16) ** 2)) * 0.5 + np.exp(-((d / 0.07) ** 2))
        return glow * np.clip(0.8 + 0.35 * _sample(clouds, x * 2, y * 2), 0.1, 2) * (1 - 0.9 * lane)

    right, up = view.rays()
    glow = view.place.stars * milk(right, up)
    picture = picture + _blend("1a2440 5a5a7c c8a890", glow / 1.6) * (glow * 0.55)[..., None]
    x, y, tint, rare = rng.random((4, 14000), dtype=np.float32)
    x, y = 1.6 * x - 0.8, 0.8 * y
    flux = np.minimum(0.05 * (1 - rare) ** -0.75 * (0.15 + view.place.stars * milk(x, y)), 8) * (view.height / 336) ** 2
    u, v = (x * view.place.focal * view.height + view.width / 2 - 0.5, (view.place.horizon - y * view.place.focal) * view.height - 0.5)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, col = np.floor(v).astype(int) + i, np.floor(u).astype(int) + j
        light = (flux * (1 - np.abs(row - v)) * (1 - np.abs(col - u)))[:, None] * _blend("ffb080 ffffff 9fc0ff", tint)
        seen = (row >= 0) & (row < view.height) & (col >= 0) & (col < view.width)
        np.add.at(picture, (row[seen], col[seen]), light[seen])
    return picture


def _aurora(view: View, rng: Random) -> Field:
    """Light along upright sheets, which stand on the zero lines of a noise."""
    fold, streak = _fractal(rng, 2.6), _fractal(rng, 1.2, 20)
    right, up = view.rays()
    up = np.maximum(up, 0.02)
    jitter, (x, z) = rng.random((view.height, view.width), dtype=np.float32), rng.uniform(0, 9, 2)
    light = np.zeros((view.height, view.width, 3), np.float32)
    for k in range(28):
        h = (k + jitter) / 28
        far = (1 + 1.2 * h) / up
        at = right * far / 14 + x, far / 14 + z
        sheet = np.exp(0.7 * _sample(streak, *at) - (_sample(fold, *at) / 0.07) ** 2 - far / 8 - 2.5 * h)
        light += (sheet * (1 - np.exp(-12 * h)))[..., None] * _blend("50ff9a 30d8a0 7050d0 c040a0", h)
    return 0.45 * view.place.aurora * light


# ---- land and water ----------------------------------------------------------------------------


def _trace(view: View, surface: Surface, eye: float, near: float, far: float) -> Field:
    """Distance z to a height field, for 2 x 2 rays a pixel; infinite where they miss it."""
    right, up = view.rays(2)
    z = np.geomspace(near, far, 480, dtype=np.float32)[:, None]
    slope = (surface(right * z, z + 0 * right) - eye) / z
    crest = np.maximum.accumulate(slope, 0)
    first = np.stack([np.searchsorted(c, up[:, 0]) for c in crest.T], 1)
    last = np.clip(first, 1, len(z) - 1)
    below, above = (np.take_along_axis(slope, last - k, 0) for k in (1, 0))
    part = np.clip((up - below) / np.where(above > below, above - below, 1), 0, 1)
    distance = z[last - 1, 0] * (z[1, 0] / z[0, 0]) ** part
    return np.where(first < len(z), distance, np.inf).astype(np.float32)


def _land(view: View, rng: Random, picture: Field, air: Field) -> Field:
    """The land in sunlight, behind haze, and behind mist that lies in the valleys."""
    place = view.place
    assert place.relief is not None
    relief, detail = place.relief(rng), place.detail(rng)
    lit = _sunlight(relief, place, place.tile / TILE / place.peak)
    fine = _sunlight(detail, place, place.tile / 8 / TILE / place.bump)

    def look(texture: Field, x: Field, z: Field, scale: float = 1) -> Field:
        return _sample(texture, x * scale / place.tile + 0.3, z * scale / place.tile)

    def surface(x: Field, z: Field) -> Field:
        rise = place.peak * look(relief, x, z) * np.clip(z / place.tile, 0.3, 1)
        return rise + place.bump * look(detail, x, z, 8)

    distance = _trace(view, surface, place.eye, place.tile / 18, place.tile * 4)
    hit, (right, up) = np.isfinite(distance), view.rays(2)
    x, z, y = (f[hit] for f in (right * distance, distance, place.eye + up * distance))
    level = y / place.peak + 0.15 * look(detail, x, z, 8)
    light = look(lit, x, z) * (0.4 + 1.2 * look(fine, x, z, 8)) * 2.2
    colour = _blend(place.soil, level) * (light[:, None] * _paint(place.sun) + 0.6 * _paint(place.shade))
    fog = z / place.haze + place.mist * z * np.exp(-np.maximum(y, 0) / place.valley)
    seen = np.exp(-fog)[:, None]
    return view.lay(picture, hit, colour * seen + air[np.nonzero(hit)[1] // 2] * (1 - seen))


def _water(view: View, rng: Random, picture: Field) -> Field:
    """Waves of a wind spectrum that mirror the picture above them (Fresnel, by Schlick 1994)."""
    waves = _noise(rng, lambda x, y: np.hypot(x, y + 0.1)**-2.1 * np.exp(-9 / (x*x+y*y+0.1)) * (0.15 + (y + 0.3 * x) ** 2 / (x*x+y*y+0.1)))

    def surface(x: Field, z: Field) -> Field:
        wave = _sample(waves, x / 60, z / 60) + 0.25 * _sample(waves, z / 17, x / 17)
        return view.place.swell * wave / (1 + z / 300)

    (right, up), far = view.rays(2), _trace(view, surface, 5, 4, 4000)
    hit = np.broadcast_to(up < 0, far.shape)
    far = np.minimum(far, 4000)
    x, z, side, rise = (np.broadcast_to(f, hit.shape)[hit] for f in (right * far, far, right, up))
    step, y = 0.002 * z + 0.05, surface(x, z)
    dx, dz = (surface(x + step, z) - y) / step, (surface(x, z + step) - y) / step
    facing = np.minimum(rise - side * dx - dz, 0) / (1 + dx * dx + dz * dz)
    forward = np.maximum(1 + 2 * facing * dz, 0.2) * 1
    row = view.place.horizon - np.abs(rise - 2 * facing) / forward * view.place.focal
    row = np.clip(row, 0, view.place.horizon - 0.5 / view.height)
    col = (side + 2 * facing * dx) / forward * view.place.focal + view.width / view.height / 2
    mirror = picture[
        (row * view.height).astype(int), np.clip(col * view.height, 0, view.width - 1).astype(int)
    ]
    fresnel = 0.02 + 0.98 * (1 + np.maximum(facing, -1)[:, None]) ** 5
    body = _paint("0e3a4a") * _paint(view.place.shade)*2 * (1 + 0.5 * y / view.place.swell)[:, None]
    return view.lay(picture, hit, fresnel * np.minimum(mirror, 6) + (1 - fresnel) * body)


# ---- pictures ----------------------------------------------------------------------------------


def _film(picture: Field, rng: Random) -> Field:
    """A shoulder for the lights, a little contrast, grain; linear light to sRGB in [-1, 1]."""
    y = np.clip(picture / np.cbrt(1 + picture**3), 0, 1) ** (1 / 2.2)
    y += 0.017 * np.sin(2 * np.pi * (y - 0.5))
    grain = rng.standard_normal(picture.shape[:2], dtype=np.float32)
    grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / 1.73
    return np.clip(2 * y - 1 + 0.018 * grain[..., None], -1, 1).astype(np.float32)


_PLACES = {
    "dawn": Place((0.1, 0.08, 1), "ffb868", "7480a8", "ffd9a0 f4b89c b9a3b8 7c93bc 5577a8", 0.5, 1.5,
        cover=-0.3, base=5, thick=0.3, spread=40, rough=0.4,
        relief=_ridged, soil="2a3038 4a4a50", tile=14, peak=1.0, eye=0.8, haze=16, mist=2, valley=0.12),
    "cumulus": Place((-0.8, 0.55, -0.25), "fff0d8", "8fa0bb", "d4e0e6 8fb4d8 5a8cc4 2f5f9e", 0.8,
        relief=_fractal, soil="5a7a34 8c9a48 c8b060 77883c", tile=4, peak=0.06, bump=0.004, eye=0.25, haze=9),
    "mountains": Place((-0.9, 0.42, 0.15), "ffdcb8", "7f93b8", "f0d8c4 a9c0d8 5a86bc 2b568f", 0.66, 1.6,
        cover=-0.8, base=5, spread=30, relief=_ridged, soil="2c3a30 5c564e f4f6fa ffffff", tile=26, peak=3.6, eye=0.8, haze=60, mist=0.3, valley=0.3),
    "sea": Place((0.1, 0.09, 1), "ff9a50", "8a7290", "ffcf8a e89a78 9a86a8 54699c 33508a", 0.58,
        base=2.5, thick=0.5, spread=24, swell=0.4),
    "dunes": Place((-0.85, 0.3, 0.5), "ffd9a0", "8a86b0", "f6dcb0 cfc8c0 8fb0cc 5a8abf", 0.42,
        cover=-0.5, base=6, thick=0.2, spread=50, relief=_dunes, detail=_ripples, soil="c98a4e d89a5c e2b078", tile=0.9, peak=0.06, bump=0.0005, eye=0.13, haze=3),
    "forest": Place((0.1, 0.2, 1), "ffcf80", "7c94a0", "ffe2b0 e8d0b0 a8b8b8 7898a8", 0.5, 1.5, cover=-9,
        relief=_fractal, detail=_spruces, soil="10201c 24382c 405038", tile=2, peak=0.08, bump=0.025, eye=0.2, haze=1.5, mist=3, valley=0.05),
    "storm": Place((0.5, 0.12, 0.8), "ffc880", "566070", "ffdfa0 b8b4ac 7c8894 4a5868", 0.6, cover=0.9, base=0.9, thick=1, spread=16, swell=1.2),
    "night": Place((0.3, -0.12, 1), "6a5a50", "2c3a5c", "3c4a5c 1a2a4a 0c1838 060e26", 0.72, cover=-9, stars=1,
        relief=_ridged, soil="202428 8088a0", tile=26, peak=3, eye=0.1, haze=80, swell=0.03),
    "aurora": Place((0.3, -0.12, 1), "306050", "2c4a5c", "2a4a5c 14304a 0a1a38 060e26", 0.72, cover=-9, stars=0.3, aurora=1,
        relief=_ridged, soil="202428 8088a0", tile=26, peak=2, eye=0.1, haze=80, swell=0.03),
}
KINDS: tuple[str, ...] = tuple(_PLACES)


def _wander(place: Place, rng: Random) -> Place:
    """The same place on another day."""
    x, y, z = place.light
    light = (x + rng.uniform(-0.25, 0.25), y * rng.uniform(0.8, 1.3), z)
    return replace(place, light=light, cover=place.cover + rng.uniform(-0.25, 0.25), horizon=place.horizon + rng.uniform(-.04,.04))


def _picture(view: View, rng: Random) -> Field:
    """Paints a view back to front, in linear light."""
    place = view.place
    picture = _sky(view)
    air = np.minimum(picture[min(int(place.horizon * view.height), view.height - 1)], 1)
    if place.aurora:
        picture = picture + _aurora(view, rng)
    if place.stars:
        picture = _stars(view, rng, picture)
    if place.cover > -9:
        picture = _clouds(view, rng, picture)
    if place.relief:
        picture = _land(view, rng, picture, air)
    return _water(view, rng, picture) if place.swell else picture


def scene(kind: str, seed: int, width: int = 448, height: int = 336) -> NDArray[np.float32]:
    """x"""
    if kind not in _PLACES:
        raise ValueError(f"unknown kind of scene {kind!r}; there are {', '.join(KINDS)}")
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    return _film(_picture(View(_wander(_PLACES[kind], rng), width, height), rng), rng)
