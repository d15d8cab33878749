"""Decodes image files to arrays and encodes arrays to files: float32 (height, width, 3), sRGB, range [-1, 1]."""

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

# Twice Pillow's MAX_IMAGE_PIXELS: above this size Pillow itself refuses a file as a decompression bomb.
# No camera makes such an image, and its float32 array (2.1 GB) still fits in memory.
MAX_PIXELS = 178_956_970

# Pillow's other formats are unsafe: they may start programs (EPS: Ghostscript), match any bytes (TGA),
# be larger than their header says (ICO), or decode to a blank image when truncated (JPEG 2000).
# The first five are Pillow's preloaded plugins: a folder of JPEGs does not import the other forty.
_READABLE = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "QOI")

# fmt: off
FORMATS: Mapping[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
IMAGE_ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif",
    ".tiff", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".qoi",
})
_SAVE_OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"compress_level": 3},  # for photographs: 3 times as fast as the default 6, files 4 % larger
    "jpeg": {"quality": 95, "subsampling": "4:4:4"}, "webp": {"quality": 90},
}
_ENDINGS = {"MPO": ".jpg", "JPEG": ".jpg", "TIFF": ".tif"}  # by Pillow's format; others are the format in lower case
_Turn = Image.Transpose
_TURNS = {  # by EXIF orientation
    2: _Turn.FLIP_LEFT_RIGHT, 3: _Turn.ROTATE_180, 4: _Turn.FLIP_TOP_BOTTOM, 5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270, 7: _Turn.TRANSVERSE, 8: _Turn.ROTATE_90,
}
# fmt: on
_DESCRIPTION, _ORIENTATION, _SOFTWARE = 0x010E, 0x0112, 0x0131  # EXIF tags
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags


class UnreadableImage(ValueError):
    """Bytes that are not a complete, readable image. The message is one line."""


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Decodes an image file: float32 (height, width, 3), sRGB, range [-1, 1].

    - Orientation: the EXIF orientation is applied.
    - Animations and multi-page files: the first frame or page is read.
    - Colour: an RGB, grey or CMYK profile is applied. A broken or unsuitable profile is ignored.
      If the profile is sRGB (to within two of 255 levels), the pixels are not changed.
    - Transparency is composited over white, in sRGB values, as browsers do.
    - 8 bits per channel are exact. 16-bit grey keeps its precision (white is 65535). Pillow 13
      reads only the upper 8 bits (value // 256) of 16-bit colour and of 16-bit grey with alpha.
    - Float grey: white is the smallest of 1, 255 and 65535 that no value exceeds. For 32-bit
      integer grey, white is 65535. Values outside of these ranges are stretched to black..white.

    Raises `UnreadableImage` if the bytes are empty, not an image, truncated or damaged, or if the
    header states more than `max_pixels` (width * height; checked before any pixel is decoded).
    """
    if not data:
        raise UnreadableImage("file is empty")
    return _read(lambda: _open(data, max_pixels))


def from_pil(image: Image.Image) -> NDArray[np.float32]:
    """Converts a Pillow image to an array; range, colour and errors are those of `decode`."""
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
    """Resizes `image` (height, width, 3), range [-1, 1], in float: Lanczos, antialiased, clipped.

    `size` is None (no change), the short side in pixels (the aspect ratio is kept), or
    (width, height) exactly. Raises ValueError for sizes below 1 and results over `MAX_PIXELS`.
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
    for channel in range(3):  # Pillow has no mode with three float channels
        plane = Image.fromarray(np.ascontiguousarray(image[..., channel], np.float32))
        resized[..., channel] = np.asarray(plane.resize(size, Image.Resampling.LANCZOS))
    return np.clip(resized, -1, 1, out=resized)


def to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Converts range [-1, 1] to levels 0..255, for any shape: (x + 1) * 127.5, rounded half to even, clipped.

    Raises ValueError for NaN, so that a dream that diverged is not written as a black image.
    """
    levels = np.add(image, np.float32(1), dtype=np.float32) * np.float32(127.5)
    if np.isnan(levels).any():
        raise ValueError("the image has values that are not numbers (NaN)")
    return np.rint(np.clip(levels, 0, 255, out=levels), out=levels).astype(np.uint8)


def from_uint8(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Converts levels 0..255 to range [-1, 1], for any shape; `to_uint8` restores exactly the same levels."""
    image = np.divide(pixels, np.float32(127.5), dtype=np.float32)
    image -= np.float32(1)
    return image


def encode(
    image: NDArray[np.float32] | NDArray[np.uint8],
    format: Format = "png",
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """Encodes an image; equal arguments give equal bytes. PNG keeps all 8 bits without loss.

    `image` is (height, width, 3): float32 in [-1, 1], or uint8. JPEG has quality 95 and 4:4:4,
    WebP quality 90. `metadata`, a JSON object, is stored in the EXIF; `read_metadata` reads it.
    Raises ValueError for other shapes and types, NaN, sizes that the format does not support,
    and metadata that is too long for a JPEG (64 KiB); TypeError if it is not JSON.
    """
    # No ICC profile: programs show a picture without one as sRGB, and Pillow's profile contains
    # its creation time, so the same dream would not give the same bytes.
    height, width = _checked_size(image)
    pixels = image if image.dtype == np.uint8 else to_uint8(image.astype(np.float32, copy=False))
    options = dict(_SAVE_OPTIONS[format])
    if metadata is not None:  # all three formats have EXIF; its text is ASCII
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
    """The metadata that `encode` stored in an image file; None if there is none.

    Only the header is read. Bytes that are not an image give None.
    """
    with _pillow, suppress(Exception):
        exif = Image.Exif()
        exif.load(_open(data, MAX_PIXELS).info["exif"])
        metadata = json.loads(exif[_DESCRIPTION])
        if exif[_SOFTWARE] == "raydream" and isinstance(metadata, dict):
            return metadata
    return None


def ending(data: bytes) -> str:
    """The usual ending of an image's file name, from its header: `.jpg`, `.png`, ...; raises `UnreadableImage`."""
    with _pillow:
        format = str(_open(data, MAX_PIXELS).format)
    return _ENDINGS.get(format, f".{format.lower()}")


def _checked_size(image: NDArray[Any]) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"an image has the shape (height, width, 3), not {image.shape}")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(f"an image is of float32 or uint8, not {image.dtype}")
    return image.shape[0], image.shape[1]


class _PillowSettings:
    """Pillow's settings belong to the whole process: changed while any thread reads, then restored."""

    def __init__(self) -> None:
        self._lock, self._readers, self._undo = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                # Pillow warns about damaged EXIF and the like, but still reads the picture. (If each
                # call had its own catch_warnings, threads would restore them in the wrong order.)
                self._undo.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
                # `_open` checks the limit; with Pillow's own, no caller could choose a higher one.
                self._undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = None

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if self._readers == 0:
                self._undo.close()


_pillow = _PillowSettings()


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Opens an image: reads its header, but not its pixels."""
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
    """Like ImageOps.exif_transpose, which also copies upright images and rewrites the EXIF."""
    with suppress(Exception):  # a picture with damaged EXIF is still usable
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
        return image if turn is None else image.transpose(turn)
    return image


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours without alpha, and the alpha channel (mode L) if the image has transparency."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # from a 16-bit PNG, whose pixels are now 8-bit
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if not image.has_transparency_data:
        return image, None
    image = image.convert("LA" if image.mode in ("1", "L", "La", "LA") else "RGBA")
    return image.convert(image.mode[:-1]), image.getchannel("A")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts any 8-bit mode without alpha to RGB, with its colour profile if that is usable."""
    if profile:
        with suppress(Exception):  # a picture with a broken profile is still usable
            return _apply_profile(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[source.profile.xcolor_space.strip()]
    if mode == "RGB" and image.mode != "CMYK":
        image = _to_srgb(image, None)
    if image.mode != mode:  # LittleCMS does not check this
        raise ValueError("a profile for another kind of colour")
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    # sRGB profiles have many names and makers. This one is sRGB if it leaves a cube of colours unchanged.
    cube = (np.indices((6, 6, 6)) * 51).astype(np.uint8).reshape(3, 12, 18).T
    probe = Image.fromarray(cube).convert(mode)
    before, after = np.asarray(probe.convert("RGB")), np.asarray(transform.apply(probe))
    if np.abs(after.astype(int) - before).max() <= 2:
        return _to_srgb(image, None)
    return transform.apply(image)


def _grey_to_float(image: Image.Image, profile: bytes | None) -> NDArray[np.float32]:
    """Converts grey with more than 8 bits (modes I;16, I, F)."""
    tags = getattr(image, "tag_v2", {})  # TIFF only
    values = np.asarray(_upright(image))
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]  # 12 in some scans
    whites = {"F": (1, 255, 65535), "I": (65535,)}.get(image.mode, (2**bits - 1,))
    level = _unit_range(values, whites)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero: Pillow inverts 8 bits, but not 16
        level = 1 - level
    if profile:  # its curve for 8 bits, read at the middle of each resulting level
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
    """Scales values to 0..1: by the first white that no value exceeds, or else by their own range."""
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
