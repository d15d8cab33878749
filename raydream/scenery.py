"""Skies and landscapes from numbers alone: the pictures that the demo dreams on.

Every scene is painted back to front in linear light: sky, clouds, land, water, then the film that
turns light into a picture. Worlds are height fields of 1/f noise on periodic tiles, seen by a camera
that looks level along z; so a scene has the same composition at every size. Lengths are kilometres
on land and metres at sea; a direction is (right, up, forward).
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Vector = tuple[float, float, float]
Surface = Callable[[Field, Field], Field]
TILE = 512  # cells along the side of a periodic texture


@dataclass(frozen=True)
class View:
    """A level camera; `horizon` is its height in the picture, as a fraction from the top."""

    width: int
    height: int
    horizon: float
    focal: float = 1.2

    def rays(self, sharp: int = 1) -> tuple[Field, Field]:
        """Slopes to the right (1, width) and up (height, 1); `sharp` rays along a pixel's side."""
        width, height = self.width * sharp, self.height * sharp
        right = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / (height * self.focal)
        up = (self.horizon - (np.arange(height, dtype=np.float32) + 0.5) / height) / self.focal
        return right[None], up[:, None]


# ---- noise -------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, amplitude: Callable[[Field, Field], Field]) -> Field:
    """A periodic tile of mean 0 and deviation 1 whose spectrum is `amplitude(fx, fy)`."""
    fy = np.fft.fftfreq(TILE, 1 / TILE).astype(np.float32)[:, None]
    fx = np.arange(TILE // 2 + 1, dtype=np.float32)[None]
    parts = rng.standard_normal((TILE, TILE // 2 + 1, 2), dtype=np.float32)
    spectrum = parts.view(np.complex64)[..., 0] * amplitude(fx, fy)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum)
    return (field / field.std()).astype(np.float32)


def _fractal(rng: np.random.Generator, power: float, lowest: float = 1.0) -> Field:
    """Spectral synthesis (Saupe 1988): amplitude falls as frequency to the -`power`."""
    return _noise(rng, lambda x, y: (x * x + y * y + lowest**2) ** (-power / 2))


def _octaves(rng: np.random.Generator, first: float, count: int) -> Iterator[Field]:
    """Bands of noise an octave apart, as Perlin's (1985), but without a lattice to betray them."""
    for octave in range(count):
        centre = 2 * np.log(first * 2**octave)
        yield _noise(rng, lambda x, y, c=centre: np.exp(-((np.log(x * x + y * y + 1e-9) - c) ** 2)))


def _ridged(rng: np.random.Generator, first: float, count: int = 6) -> Field:
    """Musgrave's ridged multifractal (1994), about 0 to 1; steep ground stays smooth, as eroded."""
    total, weight, steep = np.zeros((2, TILE, TILE), np.float32), np.float32(1), 0.0
    height = total[0]
    for octave, band in enumerate(_octaves(rng, first, count)):
        signal = (1 - np.minimum(np.abs(band) * 0.55, 1)) ** 2 * weight
        weight = np.clip(signal * 1.8, 0, 1)
        height = height + signal * 0.5 * 0.48**octave
    return height


def _sample(texture: Field, x: Field, z: Field) -> Field:
    """Bilinear look-up in a tile of period 1 (TILE, TILE[, channels]), turned against repetition."""
    x, z = _turn(x * TILE, z * TILE)
    left, low = np.floor(x), np.floor(z)
    a, b = x - left, z - low
    i, j = left.astype(np.int32) & (TILE - 1), (low.astype(np.int32) & (TILE - 1)) * TILE
    i1, j1 = (i + 1) & (TILE - 1), (j + TILE) & (TILE * TILE - 1)
    flat = texture.reshape(TILE * TILE, *texture.shape[2:])
    if texture.ndim == 3:
        a, b = a[..., None], b[..., None]
    near = flat[j + i] * (1 - a) + flat[j + i1] * a
    return near + (flat[j1 + i] * (1 - a) + flat[j1 + i1] * a - near) * b


def _turn(x: Field | float, z: Field | float) -> tuple[Field, Field]:
    return np.float32(0.8) * x - np.float32(0.6) * z, np.float32(0.6) * x + np.float32(0.8) * z


# ---- light -------------------------------------------------------------------------------------


def _paint(*colours: str) -> Field:
    """Hexadecimal sRGB colours as linear light, (colours, 3)."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)] for c in colours], np.float32)
    return rgb**2.2


def _blend(palette: Field, t: Field) -> Field:
    """The palette's colours spread evenly over t in 0..1, without a crease between them."""
    centres = np.linspace(0, 1, len(palette), dtype=np.float32)
    weights = np.exp(-(((t[..., None] - centres) * len(palette) / 1.1) ** 2))
    return (weights / weights.sum(-1, keepdims=True)) @ palette


def _angle(view: View, light: Vector) -> Field:
    """Angle between every ray and the light, radians (height, width)."""
    right, up = view.rays()
    along = right * light[0] + up * light[1] + light[2]
    cosine = along / np.sqrt((right**2 + up**2 + 1) * np.dot(light, light))
    return np.arccos(np.clip(cosine, -1, 1)).astype(np.float32)


def _shadow(heights: Field, light: Vector, cell: float) -> Field:
    """How high the shadow reaches over every cell: a running maximum towards the light."""
    dx, dz = _turn(light[0], light[2])
    length = float(np.hypot(dx, dz))
    drop = cell * light[1] / length
    for k in range(8):
        shift = (-round(float(dz) / length * 2**k), -round(float(dx) / length * 2**k))
        heights = np.maximum(heights, np.roll(heights, shift, (0, 1)) - drop * 2**k)
    return heights


def _lambert(heights: Field, light: Vector, cell: float) -> Field:
    """Sunlight on a height field, 0 to about 1, with its cast shadows."""
    dz, dx = ((np.roll(heights, -1, a) - np.roll(heights, 1, a)) / (2 * cell) for a in (0, 1))
    lx, lz = _turn(light[0], light[2])
    facing = (light[1] - dx * lx - dz * lz) / np.sqrt(
        (1 + dx * dx + dz * dz) * np.dot(light, light)
    )
    depth = _shadow(heights, light, cell) - heights
    return np.maximum(facing, 0) * np.exp(-depth / (3 * cell))


def _sky(view: View, palette: Field, light: Vector, glow: Field) -> Field:
    """Air from the horizon (first colour) to the zenith, and the sun's halo and disc."""
    angle = _angle(view, light)
    height = np.clip(view.rays()[1] * 1.3, 0, 1) + 0 * angle
    halo = 0.35 * np.exp(-angle / 0.45) + 1.2 * np.exp(-angle / 0.09)
    disc = 12 / (1 + np.exp(np.clip((angle - 0.022) / 0.002, -30, 30)))
    return _blend(palette, height) + (halo + disc)[..., None] * glow


# ---- air ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clouds:
    """A layer of cloud: `base` and `thick` in kilometres, `cover` -1 (few) to 1 (overcast)."""

    base: float
    thick: float
    cover: float
    tile: float = 14.0
    power: float = 1.9
    billow: float = 0.0
    dense: float = 9.0
    haze: float = 40.0
    slices: int = 28
    rough: float = 0.5


def _cloud_tops(rng: np.random.Generator, kind: Clouds) -> Field:
    """Tops of the clouds as a fraction of the layer; `billow` heaps them up like cauliflowers."""
    tops = _fractal(rng, kind.power, 3.0) + kind.cover
    if kind.billow:
        heaps = sum(np.abs(b) * 0.6**k for k, b in enumerate(_octaves(rng, 9, 5)))
        tops = tops + kind.billow * (heaps - 1)
    return (np.sign(tops) * np.sqrt(np.abs(tops)) * 0.6).clip(-0.5, 1.2).astype(np.float32)


def _clouds(view, rng, sky, light, sun, shade, kind):  # type: ignore
    """Marches rays through a layer slice by slice, with Beer's law for what it hides and shades."""
    tops = _cloud_tops(rng, kind)
    reach = _shadow(tops, light, kind.tile / TILE / kind.thick)
    both = tops + 1j * reach
    right, up = view.rays()
    up = up[up[:, 0] > 0.012]
    rows = len(up)
    clear = np.ones((rows, view.width), np.float32)
    colour = np.zeros((rows, view.width, 3), np.float32)
    angle = _angle(view, light)[:rows]
    forward = 1 + 5 * np.exp(-angle / 0.22)
    drift = rng.uniform(0, 9, 2).astype(np.float32)
    rough = kind.rough * _sample(_ridged(rng, 5), right, up * 1.3) - 0.1
    jitter = rng.random((rows, view.width), dtype=np.float32)
    for k in range(kind.slices):
        h = (k + jitter) / kind.slices
        z = (kind.base + h * kind.thick) / up
        found = _sample(both, (right * z) / kind.tile + drift[0], z / kind.tile + drift[1])
        top, shadow = found.real, found.imag
        path = np.minimum(kind.thick / kind.slices * np.sqrt(1 + 1 / up**2), 0.6)
        hidden = 1 - np.exp(-kind.dense * path * np.clip((top - h - rough * np.sqrt(h)) * 8, 0, 1))
        lit = np.exp(-np.maximum(shadow - h, 0) * 5-rough*1.5) * forward
        tone = lit[..., None] * sun + (0.55 + 0.6 * h)[...,None] * shade
        air = np.exp(-z / kind.haze)[..., None]
        colour += (clear * hidden)[..., None] * (tone * air + sky[:rows] * (1 - air))
        clear *= 1 - hidden
    out = sky.copy()
    out[:rows] = sky[:rows] * clear[..., None] + colour
    return out


@dataclass(frozen=True)
class Land:
    """Ground to trace: where it lies, how it is lit, and the air in front of it."""

    surface: Surface
    shade: Surface
    eye: float
    near: float
    far: float
    haze: float
    mist: float = 0.0
    pool: float = 0.1


def _trace(view: View, land: Land) -> Field:
    """Distance z to a height field for two rays along a pixel's side; infinite where they miss."""
    right, up = view.rays(2)
    z = np.geomspace(land.near, land.far, 420, dtype=np.float32)[:, None]
    slope = (land.surface(right * z, z + 0 * right) - land.eye) / z
    crest = np.maximum.accumulate(slope, 0)
    first = np.stack([np.searchsorted(c, up[:, 0]) for c in crest.T], 1)
    last = np.clip(first, 1, len(z) - 1)
    below, above = (np.take_along_axis(slope, last - k, 0) for k in (1, 0))
    part = np.clip((up - below) / np.where(above == below, 1, above - below), 0, 1)
    distance = z[last - 1, 0] * (z[1, 0] / z[0, 0]) ** part
    return np.where(first < len(z), distance, np.inf).astype(np.float32)


def _ground(view, picture, land, air):
    """Lays the traced land over the picture, behind air and behind mist that lies in the valleys."""
    distance = _trace(view, land)
    right, up = view.rays(2)
    hit = np.isfinite(distance)
    z, x, rise = (np.broadcast_to(f, hit.shape)[hit] for f in (distance, right * distance, up*distance))
    rise = np.where(np.abs(rise) < 1e-4, 1e-4, rise)
    foot, top = (np.exp(-np.maximum(y,-2*land.pool) / land.pool) for y in (land.eye, land.eye + rise))
    depth = z / land.haze + land.mist * np.abs(land.pool * (foot - top) / rise) * z
    behind = np.exp(-depth[:, None] * np.array((0.85, 1.0, 1.2), np.float32))
    layer = np.zeros((*hit.shape, 4), np.float32)
    layer[hit, 3] = 1
    layer[hit, :3] = land.shade(x, z) * behind + air[np.nonzero(hit)[1] // 2] * (1 - behind)
    layer = layer.reshape(view.height, 2, view.width, 2, 4).mean((1, 3))
    return picture * (1 - layer[..., 3:]) + layer[..., :3]


def _horizon(view, sky):
    row = min(max(int(view.horizon * view.height) - 2, 0), view.height - 1)
    return np.minimum(sky[row], 1.0)

def _film(picture: Field, rng: np.random.Generator) -> Field:
    """Bloom, a shoulder for the lights, a little contrast, and grain."""
    y = picture / (1 + picture**3) ** (1 / 3)
    y = np.clip(y, 0, 1) ** (1 / 2.2)
    y = y + 0.10 * np.sin(2 * np.pi * (y - 0.5)) / 6
    grain = rng.standard_normal(picture.shape[:2], dtype=np.float32)
    grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / 1.73
    y = y + 0.012 * grain[..., None]
    return np.clip(2 * y - 1, -1, 1).astype(np.float32)


def _cumulus(rng, size):
    view = View(*size, 0.86)
    light = (-0.8, 0.55, -0.25)
    sky = _sky(view, _paint("c9d8e4", "8fb4d8", "5a8cc4", "2f5f9e"), light, _paint("ffe0b0")[0])
    return _clouds(view, rng, sky, light, _paint("fff0d8")[0]*0.9, _paint("8fa0bb")[0],
       Clouds(1.0, 0.8, -0.35, billow=0.5, tile=20))


def _alps(rng, light, sun, shade, tile=26.0, peak=3.4):
    heights = _ridged(rng, 2.5)
    cell = tile / TILE / peak
    lit = _lambert(heights, light, cell)
    fine = _lambert(heights, light, cell*1.5)

    def surface(x, z):
        rise = 0.35 + 0.65 * np.clip((z - 4) / 25, 0, 1)
        return peak * rise * (_sample(heights, x / tile, z / tile) + 0.05 * _sample(heights, x * 7 / tile, z * 7 / tile))

    def shader(x, z):
        y = _sample(heights, x / tile, z / tile)
        d = _sample(heights, x * 7 / tile, z * 7 / tile)
        light = _sample(lit, x / tile, z / tile) *1.4* (0.4 + 1.2*_sample(fine, x * 7 / tile, z * 7 / tile))
        snow = 1 / (1 + np.exp(-(surface(x, z) - 1.1 + 1.2*(d-.4)) / 0.08))
        albedo = _blend(_paint("4d4a44", "f4f6fa"), snow)
        return albedo * (light[:, None] * sun *1.8+ shade * (0.5+0.3*y[:,None]))

    return surface, shader


def _mountains(rng, size):
    view = View(*size, 0.62, 1.6)
    light = (-0.9, 0.42, 0.15)
    sun, shade = _paint("ffe0c0", "7f93b8")
    sky = _sky(view, _paint("f0d8c4", "a9c0d8", "5a86bc", "2b568f"), light, _paint("ffd0a0")[0])
    picture = _clouds(view, rng, sky, light, sun * 0.9, shade, Clouds(4.0, 0.6, -0.8, tile=30))
    surface, shader = _alps(rng, light, sun, shade)
    land = Land(surface, shader, 1.1, 1.5, 90, 45, 0.6, 0.25)
    return _ground(view, picture, land, _horizon(view, sky))


def _dunes(rng, size):
    view = View(*size, 0.42)
    light = (-0.85, 0.3, 0.5)
    sun, shade = _paint("ffd9a0", "8a86a8")
    sky = _sky(view, _paint("f6dcb0", "cfc8c0", "8fb0cc", "5a8abf"), light, _paint("ffcf90")[0])
    bands = list(_octaves(rng, 2.5, 2))
    heights = sum((1 - np.sqrt(b*b+.0004)*.5) * 0.35**k for k, b in enumerate(bands))+.3*_fractal(rng, 3)
    tile, peak = 0.9, 0.06
    lit = _lambert(heights, light, tile / TILE / peak)
    warp = _fractal(rng, 2.2)

    def surface(x, z):
        return peak * _sample(heights, x / tile, z / tile)

    def shader(x, z):
        ripple = np.sin((x * 0.6 + z) * 2600 + 9 * _sample(warp, x * 9, z * 9)+ 40*surface(x,z)/peak)
        light = _sample(lit, x / tile, z / tile)
        light = light * (1 + 0.35 * ripple * np.exp(-z / 0.25))
        sand = _blend(_paint("c98a4e", "e2b078"), np.clip(0.5 + 0.25 * _sample(warp, x * 3, z * 3), 0, 1))
        return sand * (light[:, None] * sun * 1.6 + 0.45 * shade)

    land = Land(surface, shader, 0.16, 0.06, 6, 4)
    return _ground(view, sky, land, _horizon(view, sky))



def _sea(rng, size, low=False):
    view = View(*size, 0.58)
    light = (rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.14), 1.0)
    sky = _sky(view, _paint("ffcf8a", "e89a78", "9a86a8", "54699c", "33508a"), light, _paint("ffb050")[0])
    picture = _clouds(view, rng, sky, light, _paint("ff9a50")[0], _paint("8a7290")[0], Clouds(2.5, 0.5, -0.3, tile=24,power=1.7,rough=.3))
    return _water(view, rng, picture, _paint("0e3a4a")[0], 0.35)


def _waves(rng, wind=1.0):
    def amplitude(fx, fy):
        f = np.hypot(fx, fy) + 1e-6
        return f**-2.1 * np.exp(-((3 / f) ** 2)) * (0.15 + (fy * 0.95 + 0.3 * fx) ** 2 / f**2)

    return _noise(rng, amplitude)


def _water(view, rng, picture, deep, swell, eye=5.0, tile=60.0):
    waves = _waves(rng)

    def surface(x, z):
        return swell * (_sample(waves, x / tile, z / tile) + 0.25 * _sample(waves, z * 3.7 / tile, x * 3.7 / tile))

    land = Land(surface, surface, eye, 4, 4000, 1)
    z = _trace(view, land)
    right, up = view.rays(2)
    hit = (up < 0) & (z > 0)
    z = np.where(np.isfinite(z), z, 4000.0)
    z, x, rise, side = (np.broadcast_to(f, hit.shape)[hit] for f in (z, right * z, up + 0 * z, right + 0 * z))
    step = 0.002 * z + 0.05
    y = surface(x, z)
    dx, dz = (surface(x + step, z) - y) / step, (surface(x, z + step) - y) / step
    # reflected ray r = d - 2 (d.n) n of d = (side, rise, 1), n ~ (-dx, 1, -dz)
    k = 2 * (rise - side * dx - dz) / (1 + dx * dx + dz * dz)
    k = np.minimum(k, 0)
    rx, ry, rz = side + k * dx, rise - k, 1 + k * dz
    facing = np.abs(k) / 2 * np.sqrt(1 + dx * dx + dz * dz) / np.sqrt(1 + side**2 + rise**2)
    fresnel = (0.02 + 0.98 * (1 - np.clip(facing, 0, 1)) ** 5)[:, None]
    h, w = view.height, view.width
    row = np.clip((view.horizon - np.abs(ry) / np.maximum(rz, 0.2) * view.focal) * h, 0, max(view.horizon * h - 1,0)).astype(int)
    col = np.clip(rx / np.maximum(rz, 0.2) * view.focal * h + w / 2, 0, w - 1).astype(int)
    mirror = np.minimum(picture, 6)[row, col]
    body = deep * (1 + 0.6 * np.clip(y / swell, -1, 2))[:, None]
    layer = np.zeros((2 * h, 2 * w, 4), np.float32)
    layer[hit, 3] = 1
    layer[hit, :3] = fresnel * mirror + (1 - fresnel) * body
    layer = layer.reshape(h, 2, w, 2, 4).mean((1, 3))
    return picture * (1 - layer[..., 3:]) + layer[..., :3]


def _stars(view, rng, picture):
    right, up = view.rays()
    tilt, off = rng.uniform(0.6, 1.3) * rng.choice([-1, 1]), rng.uniform(-0.1, 0.1)
    c, s = np.cos(tilt), np.sin(tilt)
    cloudy, dust = _fractal(rng, 1.7, 2), _ridged(rng, 3)

    def band(x, y):
        across = -s * (x - off) + c * (y - 0.3) + 0.02 * _sample(cloudy, x * 0.9, y * 0.9)
        glow = np.exp(-((across / 0.16) ** 2)) * 0.5 + np.exp(-((across / 0.07) ** 2))
        lane = np.exp(-((across / 0.06) ** 2)) * np.clip(_sample(dust, x * 1.1, y * 1.1) * 1.5 - 0.3, 0, 1)
        return glow * np.clip(0.8 + 0.35 * _sample(cloudy, x * 1.7, y * 1.7), 0.1, 2) * (1 - 0.9 * lane)

    glow = band(right + 0 * up, up + 0 * right)
    picture = picture + _blend(_paint("1a2440", "5a5a7c", "c8a890"), glow / 1.6) * (glow * 0.55)[..., None]
    x, y = rng.uniform(-0.7, 0.7, 14000).astype(np.float32), rng.uniform(0, 0.8, 14000).astype(np.float32)
    flux = 0.05 * (1 - rng.random(14000)) ** -0.75 * (0.15 + band(x, y))
    tint = _blend(_paint("ffb080", "ffffff", "9fc0ff"), rng.random(14000).astype(np.float32))
    tint = tint * (np.minimum(flux, 8) * (view.height / 336) ** 2)[:, None]
    u = x * view.focal * view.height + view.width / 2 - 0.5
    v = (view.horizon - y * view.focal) * view.height - 0.5
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    for di in (0, 1):
        for dj in (0, 1):
            weight = np.abs(1 - di - (u - i)) * np.abs(1 - dj - (v - j))
            ok = (i + di >= 0) & (i + di < view.width) & (j + dj >= 0) & (j + dj < view.height)
            np.add.at(picture, (j[ok] + dj, i[ok] + di), (tint * weight[:, None])[ok])
    return picture


def _night(rng, size):
    view = View(*size, 0.72)
    light = (0.5, 0.5, -0.7)
    sun, shade = _paint("5a6a9c", "1c2a4c")
    sky = _sky(view, _paint("3c4a5c", "1a2a4a", "0c1838", "060e26"), (0.3,-.12,1), _paint("6a5040")[0])
    picture = _stars(view, rng, sky)
    surface, shader = _alps(rng, light, sun*.6, shade*.8, 30, 2.0)
    land = Land(lambda x, z: surface(x, z)*np.clip((z-6)/8, 0,1), shader, 0.05, 5, 40, 60)
    picture = _ground(view, picture, land, _horizon(view, sky))
    return _water(view, rng, picture, _paint("04080f")[0], 0.012, 2.0,9.0)


def _aurora(rng, size):
    view = View(*size, 0.74)
    sky = _sky(view, _paint("2a4a5c", "14304a", "0a1a38", "060e26"), (0.3,-.12,1), _paint("305040")[0])
    picture = sky + _curtains(view, rng)
    picture = _stars(view, rng, picture*1.0)
    sun, shade = _paint("6a9c8c", "1c3a4c")
    surface, shader = _alps(rng, (0.3,.5,.6), sun*.6, shade*.8, 30, 1.5)
    land = Land(lambda x, z: surface(x, z)*np.clip((z-6)/8, 0,1), shader, 0.05, 5, 40, 60)
    picture = _ground(view, picture, land, _horizon(view, sky))
    return _water(view, rng, picture, _paint("04080f")[0], 0.012, 2.0,9.0)


def _curtains(view, rng):
    fold, streak = _fractal(rng, 2.6, 2), _fractal(rng, 1.2, 20)
    right, up = view.rays()
    up = np.maximum(up, 0.02)
    light = np.zeros((view.height, view.width, 3), np.float32)
    jitter = rng.random(light.shape[:2], dtype=np.float32)
    drift = rng.uniform(0, 9, 2).astype(np.float32)
    for k in range(30):
        h = (k + jitter) / 30
        z = (1 + 1.2 * h) / up
        x, y = right * z / 14 + drift[0], z / 14 + drift[1]
        sheet = np.exp(-((_sample(fold, x, y) / 0.07) ** 2))
        sheet = sheet * np.exp(0.7 * _sample(streak, x, y)-z/12) * np.exp(-2.5 * h) * (1 - np.exp(-h * 12))
        light += sheet[..., None] * _blend(_paint("50ff9a", "30d8a0", "7050d0", "c040a0"), h)
    return light * 0.35


def _dawn(rng, size):
    view = View(*size, 0.55, 1.5)
    light = (rng.uniform(-0.3, 0.3), 0.07, 1)
    sun, shade = _paint("ffb878", "7c86a8")
    sky = _sky(view, _paint("ffd9a0", "f4b89c", "b9a3b8", "7c93bc", "5577a8"), light, _paint("ffb868")[0])
    picture = _clouds(view, rng, sky, light, _paint("ffa070")[0], _paint("9a86a4")[0], Clouds(5, 0.3, -0.3, tile=40, power=1.6, rough=.4))
    surface, shader = _alps(rng, light, sun, shade * 0.6, 12, 0.9)
    land = Land(surface, shader, 0.75, 1, 50, 14, 5.0, 0.08)
    return _ground(view, picture, land, _horizon(view, sky))


def _downs(rng, light, sun, shade):
    hills, patch, wood = _fractal(rng, 2.7, 2), _fractal(rng, 1.9, 6), _fractal(rng, 1.7, 5)
    tile = 4.0
    trees = np.clip(wood - 0.6, 0, 0.5) * (1 + 0.5 * _fractal(rng, 0.8, 60))
    heights = 0.05 * hills + 0.03 * np.clip(trees, 0, 1)
    lit = _lambert(heights, light, tile / TILE)

    def surface(x, z):
        return _sample(heights, x / tile, z / tile)

    def shader(x, z):
        green = np.clip(0.5 + 0.3 * _sample(patch, x / tile, z / tile), 0, 1)
        fields = _blend(_paint("5a7a34", "8c9a48", "c8b060", "77883c"), green)
        tree = np.clip(_sample(trees, x / tile, z / tile) * 8, 0, 1)[:, None]
        dapple = 1 / (1 + np.exp(-5 * _sample(patch, x / 40, z / 40)))
        light = _sample(lit, x / tile, z / tile) * (0.15 + dapple)
        return (fields * (1 - tree) + _paint("24341c") * tree) * (light[:, None] * sun * 1.8 + shade * 0.5)

    return surface, shader


def _storm(rng, size):
    view = View(*size, 0.78)
    light = (0.5, 0.12, 0.8)
    sun, shade = _paint("ffc880", "566070")
    sky = _sky(view, _paint("ffdfa0", "b8b4ac", "7c8894", "4a5868"), light, _paint("ffc070")[0])
    picture = _clouds(view, rng, sky, light, sun * 0.5, shade*.6, Clouds(0.9, 1.0, 0.9, tile=16, power=1.8, dense=14))
    surface, shader = _downs(rng, (.5,.3,.3), sun, shade)
    land = Land(surface, shader, 0.22, 0.15, 15, 9)
    return _ground(view, picture, land, _horizon(view, sky))


def _cumulus(rng, size):
    view = View(*size, 0.8)
    light = (-0.8, 0.55, -0.25)
    sun, shade = _paint("fff0d8", "8fa0bb")
    sky = _sky(view, _paint("d4e0e6", "8fb4d8", "5a8cc4", "2f5f9e"), light, _paint("ffe0b0")[0])
    picture = _clouds(view, rng, sky, light, sun * 0.9, shade, Clouds(1.0, 0.8, -0.35, billow=0.5, tile=20))
    surface, shader = _downs(rng, light, sun, shade)
    land = Land(surface, shader, 0.2, 0.15, 15, 9)
    return _ground(view, picture, land, _horizon(view, sky))


def _forest(rng, size):
    view = View(*size, 0.6)
    light = (rng.uniform(-0.3, 0.3), 0.22, 1)
    picture = _sky(view, _paint("ffe2b0", "e8d0b0", "a8b8b8", "7898a8"), light, _paint("ffcf80")[0])
    layers = 7
    for k in range(layers):
        near = k / (layers - 1)
        dark = _blend(_paint("d8c8a8", "8fa09c", "40605c", "10201c"), np.float32(near)[None])[0]
        picture = _trees(view, rng, picture, near, dark)
    return picture

def _trees(view, rng, picture, near, colour):
    h, w = view.height, view.width
    scale = 0.12 + 0.5 * near**2
    base = 0.62 + 0.4 * near**1.3
    count = int(34 - 24 * near)
    cover = np.zeros((h, w), np.float32)
    rows, cols = (np.arange(h, dtype=np.float32)[:, None] + 0.5) / h, (np.arange(w, dtype=np.float32)[None] + 0.5) / h
    for x, size, wobble, phase in rng.uniform((0, 0.6, 0, 0), 1, (count, 4)).astype(np.float32):
        tall = scale * size
        x = x * w / h
        foot = base + 0.05 * np.sin(5 * x + 9 * near) + 0.02 * wobble
        i0, i1 = max(int((foot - tall) * h), 0), max(min(int(foot * h) + 1, h), 0)
        j0, j1 = max(int((x - tall * 0.3) * h), 0), max(min(int((x + tall * 0.3) * h) + 1, w), 0)
        if i1 <= i0 or j1 <= j0: continue
        dx, dy = np.abs(cols[:, j0:j1] - x) / tall, (rows[i0:i1] - foot + tall) / tall
        side = np.sign(cols[:, j0:j1] - x)
        fan = (dy - 0.5 * dx) * (16 + 6 * wobble) + phase + 0.35 * side
        fan = fan - 1.5 * dy * dy * 3
        tooth = fan - np.floor(fan)
        wide = (0.03 + dy) * 0.2 * (0.45 + 0.55 * tooth + 0.1 * np.sin(57 * fan + 9 * phase))
        edge = np.clip((wide - dx) * tall * h + 0.5, 0, 1)
        trunk = np.clip((0.012 * dy - dx) * tall * h + 0.5, 0, 1)
        cover[i0:i1, j0:j1] = np.maximum(cover[i0:i1, j0:j1], np.maximum(edge, trunk) * (dy > 0))
    ground = base + 0.05 * np.sin(5 * cols + 9 * near)
    cover = np.maximum(cover, np.clip((rows - ground) * h * 0.05 / scale, 0, 1))
    mist = np.exp(-((rows - base) / (0.5 * scale)) ** 2) * (1 - near) * 0.5
    cover = (cover * (1 - mist))[..., None]
    return picture * (1 - cover) + colour * cover


_SCENES = {"dawn": _dawn, "cumulus": _cumulus, "mountains": _mountains, "sea": _sea, "dunes": _dunes, "forest": _forest, "night": _night, "storm": _storm, "aurora": _aurora}
KINDS=tuple(_SCENES)

def scene(kind, seed, width=448, height=336):
    rng=np.random.default_rng([zlib.crc32(kind.encode()), seed])
    return _film(_SCENES[kind](rng,(width,height)), rng)
