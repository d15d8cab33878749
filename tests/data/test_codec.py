"""codec: every odd image file comes out upright, in sRGB and whole, or with a reason why not."""

import io
import struct
import threading
import tracemalloc
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from raydream.data import codec
from raydream.data.codec import UnreadableImage, decode, encode, fit, from_uint8, read_metadata, to_uint8

HEIGHT, WIDTH = 24, 40


def photo(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width, 3) without any symmetry, its pixels all over the range."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width, 3) that lossy formats keep nearly as it is."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 200 // width, y * 200 // height, (x + 2 * y)], -1).astype(np.uint8)


def saved(image: Any, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def levels(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.dtype == np.float32
    assert image.ndim == 3
    assert image.shape[2] == 3
    return to_uint8(image)


def png(size: tuple[int, int], depth: int, kind: int, rows: bytes, trns: bytes = b"") -> bytes:
    """A PNG by hand, for the kinds that Pillow does not write; `rows` with their filter bytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    transparency = chunk(b"tRNS", trns) if trns else b""
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparency + body + chunk(b"IEND", b"")


# ---------------------------------------------------------------- colour profiles, made by hand


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    offset, table, bodies = 128 + 4 + 12 * len(tags), b"", b""
    for name, body in tags.items():
        body += b"\0" * (-len(body) % 4)
        table += name + struct.pack(">II", offset + len(bodies), len(body))
        bodies += body
    header = struct.pack(
        ">I4s4s4s4s4s12s4s", offset + len(bodies), b"", b"\x02\x10\0\0", b"prtr", space,
        connection, struct.pack(">6H", 2020, 1, 1, 0, 0, 0), b"acsp",
    )  # fmt: skip
    illuminant = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    header = (header + b"\0" * 28 + illuminant).ljust(128, b"\0")
    return header + struct.pack(">I", len(tags)) + table + bodies


def gamma(exponent: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(exponent * 256))


def xyz(*values: float) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *(round(value * 65536) for value in values))


def swapped_rgb_profile() -> bytes:
    """sRGB's primaries with red and blue the other way round."""
    tags = {name: gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")}
    tags[b"bXYZ"], tags[b"gXYZ"] = xyz(0.4360, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971)
    tags[b"rXYZ"], tags[b"wtpt"] = xyz(0.1431, 0.0606, 0.7139), xyz(0.9642, 1.0, 0.8249)
    return profile(b"RGB ", tags)


def linear_grey_profile() -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma(1.0), b"wtpt": xyz(0.9642, 1.0, 0.8249)})


def cyan_only_profile() -> bytes:
    """CMYK in which cyan alone makes dark: nothing that one could get without the profile."""
    ramp = bytes(range(256))
    grid = b"".join(bytes([0 if corner & 8 else 255, 128, 128]) for corner in range(16))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    sizes = struct.pack(">IBBBB", 0, 4, 3, 2, 0)
    table = b"mft1" + sizes + matrix + ramp * 4 + grid + ramp * 3
    return profile(b"CMYK", {b"A2B0": table, b"wtpt": xyz(0.9642, 1.0, 0.8249)}, b"Lab ")


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# ---------------------------------------------------------------- levels


def test_uint8_round_trip_is_exact_for_all_levels():
    every = np.arange(256, dtype=np.uint8)
    image = from_uint8(every)
    assert image.dtype == np.float32
    assert image[0] == -1
    assert image[255] == 1
    np.testing.assert_array_equal(to_uint8(image), every)


def test_to_uint8_rounds_half_to_even():
    lower = np.arange(255)
    image = np.float32((lower + 0.5) / 127.5 - 1)
    ties = (image + np.float32(1)) * np.float32(127.5) == lower + 0.5
    assert (lower[ties] % 2 == 0).any()
    assert (lower[ties] % 2 == 1).any()
    np.testing.assert_array_equal(to_uint8(image)[ties], (lower + lower % 2)[ties])


def test_to_uint8_clips():
    pixels = to_uint8(np.float32([-7, -1.01, 1.01, 1.2, np.inf, -np.inf]))
    assert pixels.tolist() == [0, 0, 255, 255, 255, 0]
    assert pixels.dtype == np.uint8


def test_to_uint8_refuses_a_diverged_dream():
    with pytest.raises(ValueError, match="not numbers"):
        to_uint8(np.float32([0, np.nan]))


# ---------------------------------------------------------------- decode: kinds of pixels


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "QOI"])
def test_8_bit_rgb_is_exact(format):
    pixels = photo()
    np.testing.assert_array_equal(levels(saved(pixels, format)), pixels)
    np.testing.assert_array_equal(decode(saved(pixels, format)), from_uint8(pixels))


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_are_read(format):
    pixels = smooth()
    assert np.abs(levels(saved(pixels, format, quality=95)).astype(int) - pixels).mean() < 4


def test_grey_and_1_bit_fill_three_channels():
    grey = photo()[..., 0]
    np.testing.assert_array_equal(levels(saved(grey)), np.stack([grey] * 3, -1))
    bits = grey > 127
    np.testing.assert_array_equal(levels(saved(bits))[..., 1], bits * 255)


def test_palette_gives_colours_not_indices():
    image = Image.fromarray(photo()).quantize(16)
    np.testing.assert_array_equal(levels(saved(image)), np.asarray(image.convert("RGB")))


def big_endian_tiff(grey: np.ndarray) -> bytes:
    height, width = grey.shape
    fields = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 134), (277, 1)]
    fields += [(278, height), (279, grey.size * 2), (339, 1)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in fields)
    head = b"MM\0*" + struct.pack(">IH", 8, len(fields)) + entries + bytes(4)
    return head.ljust(134, b"\0") + grey.astype(">u2").tobytes()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "TIFF LZW", "TIFF MM", "PGM"])
def test_16_bit_grey_keeps_its_precision(format):
    grey = np.random.default_rng(3).integers(0, 65536, (20, 30), dtype=np.uint16)
    grey[0, :4] = 0, 1, 65534, 65535
    if format == "TIFF MM":
        data = big_endian_tiff(grey)
    elif format == "TIFF LZW":
        data = saved(grey, "TIFF", compression="tiff_lzw")
    else:
        data = saved(grey, "PPM" if format == "PGM" else format)
    image = decode(data)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    back = np.rint((image[..., 0].astype(np.float64) + 1) * 32767.5)
    np.testing.assert_array_equal(back, grey)


def tiff_with(tags: dict[int, int], grey: np.ndarray) -> bytes:
    """A little-endian 16-bit TIFF of Pillow's, some SHORT tags of which are changed."""
    data = bytearray(saved(grey, "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * entry
        tag = struct.unpack_from("<H", data, at)[0]
        if tag in tags:
            struct.pack_into("<HIHH", data, at + 2, 3, 1, tags[tag], 0)
    return bytes(data)


def test_16_bit_tiff_where_white_is_zero():
    grey = np.uint16([[0, 65535, 1000]])
    image = decode(tiff_with({262: 0}, grey))
    np.testing.assert_allclose(image[0, :, 0], [1, -1, 1 - 2000 / 65535], atol=1e-6)


def test_12_bit_tiff_is_not_dark():
    packed = np.frombuffer(bytes([0xFF, 0xF0, 0x00, 0x80, 0x00, 0x00]), "<u2")[None]  # FFF 000 800 000
    data = tiff_with({256: 4, 258: 12}, packed)
    np.testing.assert_allclose(decode(data)[0, :3, 0], [1, -1, 2 * 0x800 / 4095 - 1], atol=1e-6)


def test_16_bit_colour_is_its_upper_8_bits():
    rows = np.uint16([[0, 255, 256], [0x1234, 0xABCD, 65535]]).astype(">u2")
    data = png((2, 1), 16, 2, b"\0" + rows.tobytes())
    assert levels(data).tolist() == [[[0, 0, 1], [0x12, 0xAB, 255]]]


@pytest.mark.parametrize(("values", "shown"), [
    ([0, 0.25, 1], [0, 0.25, 1]),
    ([0, 51, 255], [0, 0.2, 1]),
    ([0, 51], [0, 0.2]),
    ([0, 6553.5, 60000], [0, 0.1, 60000 / 65535]),
    ([-1, 0, 1], [0, 0.5, 1]),
    ([0, 1e38, 2e38], [0, 0.5, 1]),
    ([0, np.nan, 1, np.inf, -np.inf], [0, 0, 1, 1, 0]),
    ([3, 3, 3], [3 / 255] * 3),
    ([-2, -2], [0, 0]),
])  # fmt: skip
def test_float_grey_by_its_range(values, shown):
    image = decode(saved(np.float32([values]), "TIFF"))
    np.testing.assert_allclose((image[0, :, 1] + 1) / 2, shown, atol=1e-6)


def test_float_grey_without_a_number_is_refused():
    with pytest.raises(UnreadableImage, match="none of its values is a number"):
        decode(saved(np.full((2, 2), np.nan, np.float32), "TIFF"))


@pytest.mark.parametrize(("values", "shown"), [
    ([0, 200], [0, 200 / 65535]),  # not 8 bits: dark, and stays so
    ([0, 65535], [0, 1]),
    ([-10, 0, 10], [0, 0.5, 1]),
    ([0, 1 << 30], [0, 1]),
])  # fmt: skip
def test_32_bit_integer_grey(values, shown):
    image = decode(saved(np.int32([values]), "TIFF"))
    np.testing.assert_allclose((image[0, :, 1] + 1) / 2, shown, atol=1e-6)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_come_back_as_rgb(mode):
    pixels = smooth()
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(Image.fromarray(pixels), srgb, lab, outputMode="LAB")
    else:
        image = Image.fromarray(pixels).convert(mode)
    change = np.abs(levels(saved(image, "TIFF")).astype(int) - pixels)
    assert change.mean() < 2  # 8 bits of Lab are coarse
    assert change.max() <= (30 if mode == "LAB" else 4)


def test_hsv_pixels_become_rgb():
    image = Image.fromarray(smooth()).convert("HSV")  # in no file, so past the file reader
    np.testing.assert_array_equal(to_uint8(codec._to_float(image)), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg_is_not_a_negative():
    pixels = smooth()
    data = saved(Image.fromarray(pixels).convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data  # the marker by which Pillow knows that the inks are inverted
    assert np.abs(levels(data).astype(int) - pixels).mean() < 4


# ---------------------------------------------------------------- decode: transparency


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colour * share + 255 * (1 - share))


def test_rgba_is_composited_over_white():
    colour, alpha = photo(), photo()[::-1, :, 0]
    pixels = np.dstack([colour, alpha])
    for format, options in [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]:
        shown = levels(saved(pixels, format, **options)).astype(int)
        assert np.abs(shown - over_white(colour, alpha)).max() <= 1
    transparent = levels(saved(np.zeros((2, 2, 4), np.uint8)))
    assert (transparent == 255).all()


def test_opaque_alpha_changes_nothing():
    pixels = photo()
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(levels(saved(opaque)), pixels)


def test_grey_with_alpha():
    grey, alpha = photo()[..., 0], photo()[..., 1]
    data = saved(Image.fromarray(np.dstack([grey, alpha]), "LA"))
    assert np.abs(levels(data).astype(int) - over_white(np.dstack([grey] * 3), alpha)).max() <= 1


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255])])
def test_palette_with_transparency(transparency):
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([0, 0, 0, 0, 0, 0, 10, 20, 30])
    shown = levels(saved(image, transparency=transparency))[0].tolist()
    assert shown == [[255] * 3, [0] * 3 if transparency == 0 else [127] * 3, [10, 20, 30]]


def test_palette_with_an_alpha_channel():
    indices, alpha = np.uint8([[0, 1]]), np.uint8([[255, 0]])
    image = Image.merge("PA", [Image.fromarray(indices), Image.fromarray(alpha)])
    image.putpalette([1, 2, 3, 4, 5, 6])
    assert levels(saved(image, "TIFF"))[0].tolist() == [[1, 2, 3], [255, 255, 255]]


def test_one_transparent_colour():
    colour = np.uint8([[[9, 8, 7], [1, 2, 3]]])
    assert levels(saved(colour, transparency=(9, 8, 7)))[0].tolist() == [[255] * 3, [1, 2, 3]]
    grey = np.uint8([[5, 6]])
    assert levels(saved(grey, transparency=5))[0, :, 0].tolist() == [255, 6]
    bits = np.array([[True, False]])
    assert levels(saved(bits, transparency=0))[0, :, 0].tolist() == [255, 255]


def test_one_transparent_colour_of_16_bits():
    deep = np.uint16([500, 65535]).astype(">u2")
    grey = decode(png((2, 1), 16, 0, b"\0" + deep.tobytes(), struct.pack(">H", 500)))
    assert grey[0, :, 0].tolist() == [1, 1]
    colour = np.uint16([[0x1234, 0, 0], [0, 0x5678, 0]]).astype(">u2")
    data = png((2, 1), 16, 2, b"\0" + colour.tobytes(), struct.pack(">3H", 0x1234, 0, 0))
    assert levels(data)[0].tolist() == [[255] * 3, [0, 0x56, 0]]


# ---------------------------------------------------------------- decode: orientation


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels a camera writes so that `orientation` turns them into `upright` (EXIF 2.3)."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: np.swapaxes(upright, 0, 1),
        6: np.rot90(upright, 1),
        7: np.swapaxes(upright[::-1, ::-1], 0, 1),
        8: np.rot90(upright, -1),
    }[orientation]


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "TIFF LZW", "WEBP", "JPEG", "AVIF"])
def test_orientation(format, orientation):
    upright = smooth()
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    if format == "TIFF LZW":
        format, options = "TIFF", {"compression": "tiff_lzw"}
    pixels = np.ascontiguousarray(stored(upright, orientation))
    shown = levels(saved(pixels, format, exif=oriented(orientation), **options))
    assert shown.shape == upright.shape
    lossy = format in ("JPEG", "AVIF")
    assert np.abs(shown.astype(int) - upright).mean() <= (5 if lossy else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_grey(orientation):
    upright = np.arange(6, dtype=np.uint16).reshape(2, 3) * 13107
    data = saved(np.ascontiguousarray(stored(upright, orientation)), exif=oriented(orientation))
    np.testing.assert_allclose(decode(data)[..., 0], upright / 32767.5 - 1, atol=1e-6)


def test_senseless_orientation_is_ignored():
    pixels = photo()
    np.testing.assert_array_equal(levels(saved(pixels, exif=oriented(99))), pixels)
    garbage = saved(pixels, exif=b"Exif\0\0garbage!")
    with pytest.raises(SyntaxError, match="not a TIFF file"):
        Image.open(io.BytesIO(garbage)).getexif()
    np.testing.assert_array_equal(levels(garbage), pixels)


# ---------------------------------------------------------------- decode: colour profiles


def test_rgb_profile_is_applied():
    red = np.full((2, 3, 3), [255, 0, 0], np.uint8)
    shown = levels(saved(red, icc_profile=swapped_rgb_profile()))
    assert np.abs(shown.astype(int) - [0, 0, 255]).max() <= 3


def test_rgb_profile_with_alpha_and_orientation():
    half_red = np.full((2, 3, 4), [255, 0, 0, 128], np.uint8)
    data = saved(half_red, icc_profile=swapped_rgb_profile(), exif=oriented(6))
    shown = levels(data)
    assert shown.shape == (3, 2, 3)
    assert np.abs(shown.astype(int) - [127, 127, 255]).max() <= 3


def test_grey_profile_is_applied_in_8_and_16_bits():
    linear = np.uint8([[0, 55, 128, 255]])  # sRGB's curve for these, by its formula
    wanted = [0, 128, 188, 255]
    shown = levels(saved(linear, icc_profile=linear_grey_profile()))
    assert np.abs(shown[0, :, 0].astype(int) - wanted).max() <= 1
    deep = decode(saved(linear.astype(np.uint16) * 257, icc_profile=linear_grey_profile()))
    np.testing.assert_allclose(deep[0, :, 0], from_uint8(np.uint8(wanted)), atol=0.01)
    with_alpha = Image.fromarray(np.dstack([linear, np.full_like(linear, 255)]), "LA")
    shown = levels(saved(with_alpha, icc_profile=linear_grey_profile()))
    assert np.abs(shown[0, :, 0].astype(int) - wanted).max() <= 1
    close = np.uint16([[30000, 30001, 30002]])
    assert np.unique(decode(saved(close, icc_profile=linear_grey_profile()))).size == 3


def test_rgb_profile_on_grey_pixels_is_applied():
    tags = {name: gamma(1.0) for name in (b"rTRC", b"gTRC", b"bTRC")}
    tags |= {b"rXYZ": xyz(0.4360, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971)}
    tags |= {b"bXYZ": xyz(0.1431, 0.0606, 0.7139), b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    linear = profile(b"RGB ", tags)
    assert abs(int(levels(saved(np.uint8([[128]]), icc_profile=linear))[0, 0, 1]) - 188) <= 1


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_profile_is_applied(format):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8, :, 3] = 255  # black ink: white by this profile
    inks[8:, :, 0] = 255  # cyan: black by this profile
    image = Image.fromarray(inks, "CMYK")
    shown = levels(saved(image, format, icc_profile=cyan_only_profile()))
    assert shown[:8].min() > 245
    assert shown[8:].max() < 10
    assert levels(saved(image, format))[:8].max() < 10  # black without it


@pytest.mark.parametrize("icc", [
    b"not a profile",
    srgb_profile()[:200],
    linear_grey_profile(),  # well made, but of another kind of colour
    cyan_only_profile(),
    profile(b"RGB ", {b"wtpt": xyz(0.9642, 1.0, 0.8249)}),
])  # fmt: skip
def test_broken_or_misplaced_profile_is_ignored(icc):
    pixels = photo()
    np.testing.assert_array_equal(levels(saved(pixels, icc_profile=icc)), pixels)
    grey_shown = levels(saved(pixels[..., 0], icc_profile=icc))
    if icc != linear_grey_profile():
        np.testing.assert_array_equal(grey_shown[..., 0], pixels[..., 0])


def test_rgb_profile_on_cmyk_is_ignored():
    image = Image.fromarray(photo()).convert("CMYK")
    plain = levels(saved(image, "TIFF"))
    with_profile = levels(saved(image, "TIFF", icc_profile=swapped_rgb_profile()))
    np.testing.assert_array_equal(with_profile, plain)


def another_srgb_profile() -> bytes:
    """sRGB as some devices have it: the curve is a table, in 12 bits."""
    x = np.linspace(0, 1, 1024)
    curve = np.rint(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) * 4095)
    entries = np.rint(curve * 65535 / 4095).astype(">u2").tobytes()
    table = b"curv" + struct.pack(">II", 0, 1024) + entries
    tags = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), table)
    tags |= {b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971)}
    tags |= {b"bXYZ": xyz(0.1431, 0.0606, 0.7141), b"wtpt": xyz(0.9505, 1.0, 1.0891)}
    return profile(b"RGB ", tags)


def test_any_srgb_profile_leaves_pixels_exact():
    pixels = photo(100, 100)
    icc = another_srgb_profile()
    source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(Image.fromarray(pixels), source, srgb)
    assert (np.asarray(converted) != pixels).any()  # so it takes more than a plain conversion
    np.testing.assert_array_equal(levels(saved(pixels, icc_profile=icc)), pixels)
    np.testing.assert_array_equal(levels(saved(pixels, icc_profile=srgb_profile())), pixels)
    grey = pixels[..., 0]
    np.testing.assert_array_equal(levels(saved(grey, icc_profile=srgb_profile()))[..., 0], grey)


# ---------------------------------------------------------------- decode: several pictures in one


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_first_of_several_pictures(format):
    first, second = np.full((16, 16, 3), 40, np.uint8), np.full((16, 16, 3), 200, np.uint8)
    frames = {"save_all": True, "append_images": [Image.fromarray(second)]}
    data = saved(first, format, **frames)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2
    assert np.abs(levels(data).astype(int) - 40).max() <= 2


def test_transparent_gif_shows_white():
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([1, 2, 3, 4, 5, 6])
    assert levels(saved(image, "GIF", transparency=0))[0].tolist() == [[255] * 3, [4, 5, 6]]


def test_one_pixel():
    pixel = np.uint8([[[12, 34, 56]]])
    np.testing.assert_array_equal(levels(saved(pixel)), pixel)


# ---------------------------------------------------------------- decode: refusals


def test_empty_file():
    with pytest.raises(UnreadableImage, match=r"^file is empty$"):
        decode(b"")


def test_not_an_image():
    with pytest.raises(UnreadableImage, match=r"^not an image that can be read: .*<!DOCTYPE html"):
        decode(b"<!DOCTYPE html>\n<title>404</title>")


def test_postscript_starts_no_program():
    with pytest.raises(UnreadableImage, match="not an image that can be read"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


def test_zero_size_picture():
    with pytest.raises(UnreadableImage):
        decode(png((0, 0), 8, 2, b""))


WHOLE = {
    "png": saved(smooth()),
    "png 16": saved(smooth()[..., 0].astype(np.uint16) * 257),
    "jpeg": saved(smooth(), "JPEG"),
    "jpeg progressive": saved(smooth(), "JPEG", progressive=True),
    "gif": saved(smooth(), "GIF"),
    "webp": saved(smooth(), "WEBP"),
    "webp lossless": saved(smooth(), "WEBP", lossless=True),
    "bmp": saved(smooth(), "BMP"),
    "tiff": saved(smooth(), "TIFF"),
    "tiff lzw": saved(smooth(), "TIFF", compression="tiff_lzw"),
    "avif": saved(smooth(), "AVIF"),
    "ppm": saved(smooth(), "PPM"),
    "qoi": saved(smooth(), "QOI"),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_truncated_is_an_error_and_never_filler(kind):
    data = WHOLE[kind]
    whole = decode(data)
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            image = decode(data[:length])
        except UnreadableImage:
            refused += 1
        else:  # only what comes after the last pixel may be missing
            np.testing.assert_array_equal(image, whole)
            assert len(data) - length <= 24
    assert refused > 50


def test_truncated_says_so():
    data = saved(photo(), "JPEG")
    with pytest.raises(UnreadableImage, match=r"^damaged image: image file is truncated"):
        decode(data[: len(data) // 2])


def test_damaged_pixels_of_a_png_are_an_error():
    data = bytearray(saved(photo()))
    data[len(data) // 2] ^= 1
    with pytest.raises(UnreadableImage, match=r"^damaged image: "):
        decode(bytes(data))


@pytest.mark.parametrize("format", ["jpeg", "png", "gif", "webp", "tiff"])
def test_random_damage_raises_nothing_else(format, capfd):
    rng = np.random.default_rng(2024)
    exif, icc = oriented(6).tobytes(), srgb_profile()
    plain = saved(smooth(), format)
    rich = saved(smooth(), format) if format == "gif" else saved(
        smooth(), format, exif=exif, icc_profile=icc
    )  # fmt: skip
    images, messages = 0, []
    for trial in range(150):
        data = bytearray(rich if trial % 2 else plain)
        reach = len(data) if trial % 3 else 100
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(reach)] = rng.integers(256)
        if trial % 5 == 0:
            del data[rng.integers(len(data)) :]
        try:
            image = decode(bytes(data), max_pixels=200_000)
        except UnreadableImage as error:
            messages.append(str(error))
        else:
            assert image.dtype == np.float32
            assert image.shape[2:] == (3,)
            assert np.abs(image).max() <= 1
            images += 1
        assert read_metadata(bytes(data)) is None
    capfd.readouterr()  # libtiff complains to the terminal
    assert images > 0
    assert messages
    assert all("\n" not in message and 0 < len(message) < 260 for message in messages)


def test_bomb_is_refused_by_its_header_alone():
    bomb = png((20_000, 20_000), 8, 0, b"")  # has no pixels, so trying to decode them ends otherwise
    with pytest.raises(UnreadableImage, match=r"^400.0 megapixels, more than the limit of 179.0$"):
        decode(bomb)
    with pytest.raises(UnreadableImage, match=r"^100.0 megapixels, more than the limit of 50.0$"):
        decode(png((10_000, 10_000), 8, 0, b""), max_pixels=50_000_000)  # Pillow only warns here


def test_max_pixels_is_the_largest_allowed():
    pixels = photo()
    assert decode(saved(pixels), max_pixels=HEIGHT * WIDTH).shape == pixels.shape
    with pytest.raises(UnreadableImage, match="more than the limit"):
        decode(saved(pixels), max_pixels=HEIGHT * WIDTH - 1)


def test_default_limit_is_where_pillow_refuses():
    assert Image.MAX_IMAGE_PIXELS is not None
    assert codec.MAX_PIXELS in (2 * Image.MAX_IMAGE_PIXELS, 2 * Image.MAX_IMAGE_PIXELS + 1)


def test_callers_may_go_beyond_pillows_own_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(saved(photo())).shape == (HEIGHT, WIDTH, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def broken_exif() -> bytes:
    """EXIF whose one entry points behind its end: Pillow warns of it."""
    entry = struct.pack("<HHII", 0x010E, 2, 1000, 5000)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0\0\0\0"


def test_pillows_warnings_stay_inside():
    pixels = photo()
    data = saved(pixels, exif=broken_exif())
    with pytest.warns(UserWarning, match="Tag data larger than file"):
        Image.open(io.BytesIO(data)).getexif()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(levels(data), pixels)
        assert read_metadata(data) is None
    assert caught == []


def test_settings_hold_until_the_last_reader_is_done():
    limit = Image.MAX_IMAGE_PIXELS
    with codec._pillow:  # as another thread would
        decode(saved(photo()))
        assert Image.MAX_IMAGE_PIXELS is None
    assert limit == Image.MAX_IMAGE_PIXELS


def test_threads_leave_the_process_as_it_was():
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    data, results = saved(photo(200, 300)), []

    def work() -> None:
        results.extend(decode(data).shape for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(200, 300, 3)] * 40
    assert list(warnings.filters) == filters
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "16 bit", "profile"])
def test_memory_stays_under_three_images(kind):
    pixels, icc = np.tile(smooth(), (25, 25, 1)), None
    if kind == "RGBA":
        pixels = np.dstack([pixels, pixels[..., 0]])
    elif kind == "L":
        pixels = pixels[..., 0]
    elif kind == "16 bit":
        pixels = pixels[..., 0].astype(np.uint16)
    elif kind == "profile":
        icc = swapped_rgb_profile()
    data = saved(pixels, compress_level=1, icc_profile=icc)
    tracemalloc.start()
    size = decode(data).nbytes
    peak = tracemalloc.get_traced_memory()[1]  # all but Pillow's own copies of 1/3 image each
    tracemalloc.stop()
    assert size == 25 * 25 * HEIGHT * WIDTH * 12
    assert peak < 2.2 * size


# ---------------------------------------------------------------- fit


def test_fit_none_and_same_size_change_nothing():
    image = from_uint8(photo())
    np.testing.assert_array_equal(fit(image, None), image)
    np.testing.assert_array_equal(fit(image, (WIDTH, HEIGHT)), image)
    np.testing.assert_array_equal(fit(image, HEIGHT), image)


@pytest.mark.parametrize(("shape", "size", "wanted"), [
    ((24, 40), 12, (12, 20)),
    ((40, 24), 12, (20, 12)),
    ((24, 40), 48, (48, 80)),
    ((10, 33), 3, (3, 10)),
    ((24, 40), (7, 9), (9, 7)),
    ((1, 50), 1, (1, 50)),
    ((300, 2), 1, (150, 1)),
])  # fmt: skip
def test_fit_sizes(shape, size, wanted):
    image = fit(from_uint8(photo(*shape)), size)
    assert image.shape == (*wanted, 3)
    assert image.dtype == np.float32


def test_fit_keeps_more_than_8_bits():
    ramp = np.linspace(0, 0.01, 64, dtype=np.float32)[None, :, None]  # all of it within two levels
    image = np.broadcast_to(ramp, (64, 64, 3))
    half = fit(image, (32, 32))
    assert np.unique(half[16, :, 0]).size == 32
    np.testing.assert_allclose(half[16, 4:-4, 0], ramp[0, 8:-8, 0].reshape(-1, 2).mean(1), atol=1e-5)


def test_fit_antialiases_and_clips():
    stripes = np.ones((64, 64, 3), np.float32)
    stripes[:, ::2] = -1
    assert np.abs(fit(stripes, 8)).max() < 0.1  # not stripes of the pixels that happened to be hit
    edge = np.ones((16, 16, 3), np.float32)
    edge[:, :8] = -1
    larger = fit(edge, 64)  # Lanczos overshoots at an edge
    assert larger.min() == -1
    assert larger.max() == 1
    assert fit(edge * np.float32(0.5), 64).max() > 0.53


def test_fit_keeps_channels_apart():
    image = np.zeros((8, 8, 3), np.float32) + np.float32([-0.5, 0.1, 0.7])
    wanted = np.broadcast_to([-0.5, 0.1, 0.7], (5, 5, 3))
    np.testing.assert_allclose(fit(image, 5), wanted, atol=1e-6)


@pytest.mark.parametrize("size", [0, -3, (0, 5), (5, -1), (100_000, 100_000)])
def test_fit_refuses_impossible_sizes(size):
    with pytest.raises(ValueError, match="cannot resize 40x24 to "):
        fit(from_uint8(photo()), size)


def test_fit_refuses_the_giant_that_a_hair_becomes():
    with pytest.raises(ValueError, match="cannot resize 1x5000 to 512x2560000"):
        fit(np.zeros((5000, 1, 3), np.float32), 512)


# ---------------------------------------------------------------- encode and metadata


def test_png_is_lossless_from_both_types():
    pixels = photo()
    np.testing.assert_array_equal(levels(encode(pixels)), pixels)
    assert encode(from_uint8(pixels)) == encode(pixels)
    assert encode(from_uint8(pixels).astype(np.float64)) == encode(pixels)


@pytest.mark.parametrize(("format", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_encoded_format_and_likeness(format, name):
    pixels = smooth()
    data = encode(from_uint8(pixels), format)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == name
        assert "icc_profile" not in image.info
        assert "exif" not in image.info
    assert np.abs(levels(data).astype(int) - pixels).mean() < 2
    assert encode(from_uint8(pixels), format) == data


def test_jpeg_keeps_colour_edges():
    with Image.open(io.BytesIO(encode(smooth(), "jpeg"))) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4
        standard = 10 * 16  # the sum's order of magnitude at quality 95
        assert sum(image.quantization[0]) < 64 * 12 + standard


METADATA = {
    "recipe": {"octaves": 4, "blend": 0.5, "layers": ["mixed3", "mixed5"]},
    "seed": 7,
    "note": 'Träume 夢 🌌 "quoted" \0 \n end ',
    "empty": None,
}


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_metadata_round_trip(format):
    data = encode(photo(), format, METADATA)
    assert read_metadata(data) == METADATA
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        assert exif[0x0131] == "raydream"
        assert exif[0x010E].isascii()
    assert read_metadata(encode(photo(), format, {})) == {}
    assert encode(photo(), format, METADATA) == data
    np.testing.assert_array_equal(decode(data), decode(encode(photo(), format)))


def test_metadata_that_is_not_ours():
    assert read_metadata(encode(photo())) is None
    assert read_metadata(b"") is None
    assert read_metadata(b"no image") is None
    for software, description in [
        ("Camera 1.0", '{"a": 1}'),
        ("raydream", "not JSON"),
        ("raydream", "[1]"),
        ("raydream", None),
        (None, '{"a": 1}'),
    ]:
        exif = Image.Exif()
        for tag, text in ((0x0131, software), (0x010E, description)):
            if text is not None:
                exif[tag] = text
        assert read_metadata(saved(photo(), exif=exif)) is None


def test_metadata_is_read_without_decoding():
    data = encode(photo(), "png", METADATA)
    assert read_metadata(data[: data.index(b"IDAT") + 4]) == METADATA


def test_long_metadata():
    long = {"text": "x" * 70_000}
    assert read_metadata(encode(photo(), "png", long)) == long
    assert read_metadata(encode(photo(), "webp", long)) == long
    with pytest.raises(ValueError, match=r"^cannot write 40x24 jpeg or metadata: .*too long"):
        encode(photo(), "jpeg", long)
    nearly = {"text": "x" * 65_000}
    assert read_metadata(encode(photo(), "jpeg", nearly)) == nearly


def test_metadata_must_be_json():
    with pytest.raises(TypeError, match="not JSON serializable"):
        encode(photo(), metadata={"a": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(photo(), metadata={"a": float("nan")})


@pytest.mark.parametrize("image", [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8),
    np.zeros((1, 4, 4, 3), np.float32),
])  # fmt: skip
def test_other_shapes_are_refused(image):
    for function in (encode, lambda image: fit(image, 3)):
        with pytest.raises(ValueError, match=r"an image has the shape \(height, width, 3\), not"):
            function(image)


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="float32 or uint8, not int64"):
        encode(np.zeros((4, 4, 3), np.int64))


def test_size_beyond_the_format_is_a_value_error():
    with pytest.raises(ValueError, match="cannot write 17000x1 webp"):
        encode(np.zeros((1, 17_000, 3), np.uint8), "webp")


# ---------------------------------------------------------------- file endings


def test_endings_are_those_that_decode_reads():
    Image.init()
    known = Image.registered_extensions() | {".mpo": "JPEG"}  # opened by the JPEG reader
    assert {known[ending] for ending in codec.IMAGE_ENDINGS} == set(codec._READABLE)
    assert all(ending == ending.lower() and ending[0] == "." for ending in codec.IMAGE_ENDINGS)
    assert set(codec.FORMATS) <= codec.IMAGE_ENDINGS


def test_formats_by_ending():
    assert dict(codec.FORMATS) == {
        ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp",
    }  # fmt: skip
