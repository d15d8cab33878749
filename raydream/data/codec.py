"""Image files' bytes to images and back: float32 (height, width, 3), sRGB, range [-1, 1]."""

import io
import json
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

Format = Literal["png", "jpeg", "webp"]

# Twice Pillow's MAX_IMAGE_PIXELS: the size from which Pillow itself refuses a file as a bomb. It
# is beyond any camera's, and as float32 (2.1 GB) still fits a machine that can dream.
MAX_PIXELS = 178_956_970

# Only formats of pictures: Pillow's others may start programs (EPS: Ghostscript), match any bytes
# (TGA), be larger than their header says (ICO), or come out blank when cut short (JPEG 2000).
# With the first five first, a folder of JPEGs does not import Pillow's other forty plugins.
_READABLE = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "QOI")

# fmt: off
FORMATS: Mapping[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
IMAGE_ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif",
    ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".qoi",
})
_SAVE_OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"compress_level": 3},  # on photographs 3 times as fast as the default 6, and 4 % larger
    "jpeg": {"quality": 95, "subsampling": "4:4:4"}, "webp": {"quality": 90},
}
_Turn = Image.Transpose
_TURNS = {  # by EXIF orientation
    2: _Turn.FLIP_LEFT_RIGHT, 3: _Turn.ROTATE_180, 4: _Turn.FLIP_TOP_BOTTOM, 5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270, 7: _Turn.TRANSVERSE, 8: _Turn.ROTATE_90,
}
# fmt: on
_DESCRIPTION, _ORIENTATION, _SOFTWARE = 0x010E, 0x0112, 0x0131  # EXIF tags
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


class UnreadableImage(ValueError):
    """Bytes that are not a whole, readable image; the message is one line for people."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """The picture in an image file's bytes: float32 (height, width, 3), sRGB, range [-1, 1].

    - Upright: the EXIF orientation is applied. Of animations and multi-page files, the first.
    - sRGB: an RGB, grey or CMYK colour profile is applied, a broken or misplaced one ignored.
      Pixels whose profile is sRGB, to within two of 255 levels, are left exactly as they are.
    - Transparency is composited over white, with the sRGB values, as browsers do.
    - 8 bits a channel are exact. 16-bit grey keeps its precision (white is 65535), but of 16-bit
      colour or grey with alpha Pillow 13 gives the upper 8 bits only (value // 256).
    - Float grey: values within 0..1, else within 0..255 or 0..65535, are taken as such;
      32-bit integer grey as 0..65535; any other range is stretched to black..white.

    Raises `UnreadableImage` for all else: empty, not an image, truncated, damaged, or more than
    `max_pixels` (width * height by the header, before any pixel is decoded).
    """
    if not data:
        raise UnreadableImage("file is empty")
    return _read(lambda: _open(data, max_pixels))


def from_pil(image: Image.Image) -> NDArray[np.float32]:
    """A Pillow image as an array; range, colour and errors as `decode`."""
    return _read(image.copy)


def _read(opened: Callable[[], Image.Image]) -> NDArray[np.float32]:
    try:
        with _pillow:
            return _to_float(opened())
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableImage(f"damaged image: {reason}") from error


def fit(image: NDArray[np.float32], size: int | tuple[int, int] | None) -> NDArray[np.float32]:
    """`image` (height, width, 3), range [-1, 1], resized in float: Lanczos, antialiased, clipped.

    `size` None: unchanged. A number: the short side in pixels, aspect kept. (width, height):
    exactly that, squashing. Raises ValueError for sizes below 1 and results over `MAX_PIXELS`.
    """
    height, width = _checked_size(image)
    if isinstance(size, int):
        short = min(width, height)
        size = round(width * size / short), round(height * size / short)
    if size is None or size == (width, height):
        return image
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"cannot resize {width}x{height} to {size[0]}x{size[1]} pixels")
    resized = np.empty((size[1], size[0], 3), np.float32)
    for channel in range(3):  # Pillow has no mode of three floats
        plane = Image.fromarray(np.ascontiguousarray(image[..., channel], np.float32))
        resized[..., channel] = np.asarray(plane.resize(size, Image.Resampling.LANCZOS))
    return np.clip(resized, -1, 1, out=resized)


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Range [-1, 1] to levels 0..255, any shape: half to even of (x + 1) * 127.5, clipped.

    Raises ValueError if a value is not a number: a dream that diverged must not pass for black.
    """
    levels = np.add(image, np.float32(1), dtype=np.float32) * np.float32(127.5)
    if np.isnan(levels).any():
        raise ValueError("the image has values that are not numbers (NaN)")
    return np.rint(np.clip(levels, 0, 255, out=levels), out=levels).astype(np.uint8)


def from_uint8(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Levels 0..255 to range [-1, 1], any shape; `to_uint8` gives exactly the levels back."""
    image = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    image -= np.float32(1)
    return image


def encode(
    image: NDArray[np.float32] | NDArray[np.uint8],
    format: Format = "png",
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """An image file's bytes, the same ones each time; PNG is lossless once rounded to 8 bits.

    `image` is (height, width, 3): float32 in [-1, 1], or uint8. JPEG has quality 95 and 4:4:4,
    WebP quality 90. `metadata`, a JSON object, goes into the EXIF and comes back from
    `read_metadata`. Raises ValueError for other shapes and types, NaN, sizes that the format
    does not have, and metadata too long for a JPEG (64 KiB); TypeError if it is not JSON.
    """
    # No ICC profile: a picture without one is shown as sRGB everywhere, and Pillow's has the
    # time of its making inside, so that the same dream would not give the same bytes.
    height, width = _checked_size(image)
    pixels = image if image.dtype == np.uint8 else to_uint8(image.astype(np.float32, copy=False))
    options = dict(_SAVE_OPTIONS[format])
    if metadata is not None:  # EXIF is what the three have in common; its text is ASCII
        options["exif"] = exif = Image.Exif()
        exif[_SOFTWARE] = "raydream"
        exif[_DESCRIPTION] = json.dumps(dict(metadata), allow_nan=False)
    file = io.BytesIO()
    try:
        Image.fromarray(pixels).save(file, format, **options)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot write {width}x{height} {format} or metadata: {error}") from error
    return file.getvalue()


def read_metadata(data: bytes) -> dict[str, object] | None:
    """The metadata that `encode` put into an image file's bytes; None if it is not ours.

    Reads the header only; bytes that are no image at all have no metadata of ours either.
    """
    with _pillow, suppress(Exception):
        exif = Image.Exif()
        exif.load(_open(data, MAX_PIXELS).info["exif"])
        metadata = json.loads(exif[_DESCRIPTION])
        if exif[_SOFTWARE] == "raydream" and isinstance(metadata, dict):
            return metadata
    return None


def _checked_size(image: NDArray[Any]) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image has the shape (height, width, 3), not {image.shape}")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(f"an image is of float32 or uint8, not {image.dtype}")
    return image.shape[0], image.shape[1]


class _PillowSettings:
    """Pillow's settings are the process's: held while any thread reads, then put back."""

    def __init__(self) -> None:
        self._lock, self._readers, self._undo = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                # Pillow warns of damaged EXIF and the like, which costs us no picture. (If each
                # call had its own catch_warnings, threads would put back in the wrong order.)
                self._undo.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
                # `_open` has the limit; Pillow's own would not let a caller ask for more.
                self._undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._undo.close()


_pillow = _PillowSettings()


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """The image with its header read and its pixels not."""
    try:
        image = Image.open(io.BytesIO(data), formats=_READABLE)
    except UnidentifiedImageError as error:
        what = f"unknown or cut off, begins with {data[:24]!r}"
        raise UnreadableImage(f"not an image that can be read: {what}") from error
    size, limit = image.width * image.height / 1e6, max_pixels / 1e6
    if size > limit:
        raise UnreadableImage(f"{size:.1f} megapixels, more than the limit of {limit:.1f}")
    return image


def _to_float(image: Image.Image) -> NDArray[np.float32]:
    image.load()
    profile = image.info.get("icc_profile")
    if image.mode == "F" or image.mode.startswith("I"):
        return _grey_to_float(image, profile)
    image, alpha = _split_alpha(_upright(image))
    result = from_uint8(np.asarray(_to_srgb(image, profile)))
    if alpha is not None:  # over white: 1 + (x - 1) * alpha
        result -= np.float32(1)
        result *= np.divide(np.asarray(alpha), np.float32(255), dtype=np.float32)[..., None]
        result += np.float32(1)
    return result


def _upright(image: Image.Image) -> Image.Image:
    """Not ImageOps.exif_transpose: that copies upright images too, and writes the EXIF anew."""
    with suppress(Exception):  # a damaged EXIF is no reason to lose the picture
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        return image if turn is None else image.transpose(turn)
    return image


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour without alpha, and alpha (mode L) where there is any transparency."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of a 16-bit PNG, whose pixels are 8-bit now
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if not image.has_transparency_data:
        return image, None
    image = image.convert("LA" if image.mode in ("1", "L", "La", "LA") else "RGBA")
    return image.convert(image.mode[:-1]), image.getchannel("A")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Any 8-bit mode without alpha to RGB, by its colour profile if it has a usable one."""
    if profile:
        with suppress(Exception):  # a broken profile is no reason to lose the picture
            return _apply_profile(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
    if mode == "RGB" and image.mode != "CMYK":
        image = _to_srgb(image, None)
    if image.mode != mode:  # LittleCMS itself would not notice
        raise ValueError("a profile for another kind of colour")
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    # sRGB has many names and makers, so it is known by what it does to a cube of colours.
    cube = (np.indices((6, 6, 6)) * 51).astype(np.uint8).reshape(3, 12, 18).T
    probe = Image.fromarray(cube).convert(mode)
    before, after = np.asarray(probe.convert("RGB")), np.asarray(transform.apply(probe))
    if np.abs(after.astype(int) - before).max() <= 2:
        return _to_srgb(image, None)
    return transform.apply(image)


def _grey_to_float(image: Image.Image, profile: bytes | None) -> NDArray[np.float32]:
    """Grey of more than 8 bits (modes I;16, I, F)."""
    tags = getattr(image, "tag_v2", {})  # TIFF only
    values = np.asarray(_upright(image))
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]  # 12 in some scans
    whites = {"F": (1, 255, 65535), "I": (65535,)}.get(image.mode, (2**bits - 1,))
    level = _unit_range(values, whites)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero: Pillow turns 8 bits round, but not 16
        level = 1 - level
    if profile:  # what it does to 8 bits, read from the middle of each resulting level
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        curve = np.asarray(_to_srgb(ramp, profile))[0, :, 1]
        shown, first, count = np.unique(curve, return_index=True, return_counts=True)
        middle = first + (count - 1) / 2
        middle[0], middle[-1] = 0, 255
        level = np.interp(level * 255, middle, shown / 255).astype(np.float32)
    if "transparency" in image.info:  # one value of a PNG
        level[values == image.info["transparency"]] = 1
    return np.repeat((level * 2 - 1)[..., None], 3, axis=2)


def _unit_range(values: NDArray[Any], whites: tuple[int, ...]) -> NDArray[np.float32]:
    """Scaled to 0..1 by the first white that no value exceeds, or else by their own range."""
    level = values.astype(np.float64)
    finite = np.isfinite(level)
    if not finite.any():
        raise UnreadableImage("damaged image: none of its values is a number")
    low = level.min(where=finite, initial=np.inf)
    high = level.max(where=finite, initial=-np.inf)
    np.nan_to_num(level, copy=False, nan=low, posinf=high, neginf=low)
    white = min((white for white in whites if low >= 0 and high <= white), default=0)
    level -= 0 if white else low
    level /= white or high - low or 1
    return level.astype(np.float32)
