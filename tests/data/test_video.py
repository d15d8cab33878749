"""video and animation: frames come out of a file as they went in, with their rate, their times and their sound."""

import json
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raydream import extras
from raydream.data import animation, codec
from raydream.data.animation import Animation
from raydream.data.video import Clip, Sound, open_clip
from raydream.errors import UsageError
from tests.clips import NTSC, content, make_video, panned

av = pytest.importorskip("av")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(path: str, **options: Any) -> str:
    with pytest.raises(UsageError) as error:
        list(open_clip(path, **options).frames())
    assert "\n" not in str(error.value)
    return str(error.value)


def levels(clip: Clip, first: int = 0) -> list[np.ndarray]:
    return [codec.to_uint8(frame) for frame in clip.frames(first)]


# ---- reading


def test_a_file_gives_its_frames_rate_and_sound(folder: Path) -> None:
    frames = panned(8)
    make_video("pan.mp4", frames)
    clip = open_clip("pan.mp4")
    assert (clip.rate, len(clip.times), clip.has_sound, clip.uneven_times()) == (NTSC, 8, True, None)
    found = levels(clip)
    assert all(np.abs(a.astype(int) - b).mean() < 6 for a, b in zip(found, frames, strict=True))
    for first in (1, 5, 7):
        np.testing.assert_array_equal(levels(clip, first), found[first:])
    make_video("silent.webm", frames, codecs=("libvpx-vp9", None))
    assert (open_clip("silent.webm").sound, len(levels(open_clip("silent.webm")))) == (None, 8)


@pytest.mark.parametrize(("ending", "codec_name"), [("mp4", "libx264"), ("avi", "mpeg4"), ("h264", "libx264")])
def test_a_part_is_made_of_the_frames_of_the_whole(ending: str, codec_name: str, folder: Path) -> None:
    """Some files do not say when their frames are shown."""
    make_video(f"pan.{ending}", panned(60), Fraction(20), (codec_name, None))
    whole = open_clip(f"pan.{ending}")
    frames = levels(whole)
    assert len(frames) == 60
    part = whole.part(float(40 / whole.rate), 3)
    np.testing.assert_array_equal(levels(part), frames[40:43])
    np.testing.assert_array_equal(levels(part, 2), frames[42:43])


def test_a_part_starts_and_ends_where_it_is_asked(folder: Path) -> None:
    make_video("pan.mp4", panned(60), Fraction(20))
    whole = open_clip("pan.mp4")
    part = whole.part(2.0, 3)
    assert part.times == (2, Fraction(41, 20), Fraction(42, 20))
    np.testing.assert_array_equal(levels(part), levels(whole)[40:43])
    np.testing.assert_array_equal(levels(part, 2), levels(whole)[42:43])
    assert part.sound == Sound("pan.mp4", Fraction(2), Fraction(43, 20))
    with pytest.raises(UsageError, match=r"--start 3 is after the last frame of pan\.mp4, which lasts 3\.00 s"):
        whole.part(3, None)


def test_a_folder_gives_its_frames_in_the_order_of_their_numbers(folder: Path) -> None:
    frames = panned(11)
    for number, frame in enumerate(frames):
        Path("in").mkdir(exist_ok=True)
        Path(f"in/frame{number}.png").write_bytes(codec.encode(frame))
    clip = open_clip("in", Fraction(12))
    np.testing.assert_array_equal(levels(clip), frames)
    np.testing.assert_array_equal(levels(clip, 9), frames[9:])
    assert clip.part(0.5, 2).names == ("frame6.png", "frame7.png")
    assert clip.digest() != clip.part(0, 10).digest()
    Path("in/frame5.png").write_bytes(codec.encode(frames[0][:40]))
    assert refusal("in") == "in/frame5.png has 64x40 pixels, other frames 64x48: resize them first"
    Path("in/frame5.png").write_bytes(b"?")
    assert refusal("in").startswith("in/frame5.png: not an image")


def test_a_video_of_a_phone_is_read_upright(folder: Path) -> None:
    make_video("pan.mp4", panned(2))
    data = bytearray(Path("pan.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # to be turned clockwise
    Path("turned.mp4").write_bytes(data[:matrix] + quarter + data[matrix + 36 :])
    straight, turned = levels(open_clip("pan.mp4"))[0], levels(open_clip("turned.mp4"))[0]
    np.testing.assert_array_equal(turned, np.rot90(straight, -1))


def test_pixels_that_are_not_square_are_stretched(folder: Path) -> None:
    make_video("wide.mp4", panned(2), aspect=Fraction(3, 2))
    assert levels(open_clip("wide.mp4"))[0].shape == (48, 96, 3)


def test_what_is_not_a_video_is_one_line(folder: Path) -> None:
    Path("text.txt").write_text("hello\n" * 99)
    Path("list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\npan.mp4\n")
    Path("empty.mp4").write_bytes(b"")
    make_video("pan.mp4", panned(4))
    Path("cut.mp4").write_bytes(Path("pan.mp4").read_bytes()[:900])
    for name in ("text.txt", "list.m3u8", "empty.mp4", "cut.mp4"):
        assert refusal(name) == f"{name} is not a video that can be read, or is empty or cut off"
    assert refusal("none.mp4") == "none.mp4 does not exist"
    assert refusal("https://example.org/x.mp4") == "https://example.org/x.mp4 is a URL: download the video first"
    assert refusal("cat.jpg") == "cat.jpg is an image: use `raydream dream cat.jpg`"
    assert refusal("pan.mp4", fps=Fraction(25)) == "--fps is only for a folder of frames: pan.mp4 has its own"
    Path("nothing").mkdir()
    assert refusal("nothing") == "input nothing is empty, or not a folder"


def test_a_frame_that_cannot_be_decoded_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video("pan.mp4", panned(9), codecs=("mpeg4", None))
    data = bytearray(Path("pan.mp4").read_bytes())
    with av.open("pan.mp4") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    start, size = packets[4].pos, packets[4].size
    data[start : start + size] = bytes(size)
    Path("broken.mp4").write_bytes(data)
    said = refusal("broken.mp4")
    assert said.startswith("broken.mp4: frame 5 cannot be decoded (")
    assert said.endswith("): use --limit 4 for the frames before it")
    assert len(levels(open_clip("broken.mp4").part(0, 4))) == 4


def test_the_extra_is_named_if_it_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video("pan.mp4", panned(2))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert refusal("pan.mp4") == "the video pan.mp4 needs the extra `video`: pip install 'raydream[video]'"
    with pytest.raises(UsageError, match=r"\.mp4 needs the extra `video`"):
        animation.check_output("x.mp4", Fraction(25), False)
    for output in ("x.gif", "x.webp", "frames"):
        animation.check_output(output, Fraction(25), False)
    with pytest.raises(UsageError, match=r"optical flow needs the extra"):
        extras.imported("nothing_of_this_name", "optical flow")


# ---- writing


@pytest.fixture
def files(folder: Path) -> list[Path]:
    """Six frames as PNG, of an odd size."""
    paths = [folder / f"{number}.png" for number in range(6)]
    for path, frame in zip(paths, panned(6, 49, 65), strict=True):
        path.write_bytes(codec.encode(frame))
    return paths


def written(name: str, files: list[Path], **options: Any) -> Path:
    options = {"rate": NTSC, "about": {"recipe": "R夢"}} | options
    animation.write(Path(name), Animation(frames=files, **options), Path(f"partial{Path(name).suffix}"))
    assert not list(Path().glob("partial*"))
    return Path(name)


@pytest.mark.parametrize(("ending", "codec_name"), [("mp4", "h264"), ("webm", "vp9")])
def test_a_video_has_the_frames_at_their_rate(ending: str, codec_name: str, files: list[Path]) -> None:
    found = content(written(f"new/x.{ending}", files))
    assert (found["codec"], found["rate"], found["format"]) == (codec_name, NTSC, "yuv420p")
    assert (found["size"], len(found["pixels"]), found["sound"]) == ((48, 64), 6, None)
    assert found["colours"] == 1  # BT.709: otherwise players guess
    assert json.loads(found["metadata"]["comment"]) == {"recipe": "R夢"}
    for pixels, frame in zip(found["pixels"], panned(6, 49, 65), strict=True):
        assert np.abs(pixels.astype(int) - frame[:48, :64]).mean() < 8
        assert np.abs(pixels.mean(axis=(0, 1)) - frame.mean(axis=(0, 1))).max() < 3  # the colours stay


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_pillow_writes_the_frames_and_the_length_is_right(ending: str, files: list[Path]) -> None:
    with Image.open(written(f"x.{ending}", files * 5)) as movie:
        durations = []
        for number in range(movie.n_frames):
            movie.seek(number)
            movie.load()
            durations.append(movie.info["duration"])
            with Image.open(files[number % 6]) as frame:
                apart = np.asarray(movie.convert("RGB"), int) - np.asarray(frame, int)
            assert np.abs(apart).mean() < 9
        assert (movie.n_frames, movie.info["loop"]) == (30, 0)
    assert sum(durations) == pytest.approx(1001, abs=10)
    assert max(durations) - min(durations) <= 10


@pytest.mark.parametrize("ending", ["mp4", "webm"])
@pytest.mark.parametrize("source", ["mp4", "webm"])
def test_the_sound_is_kept_and_cut_with_the_frames(source: str, ending: str, files: list[Path]) -> None:
    codecs = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}[source]
    make_video(f"in.{source}", panned(60), Fraction(30), codecs)
    clip = open_clip(f"in.{source}")
    for part, seconds in ((clip, 2.0), (clip.part(0.5, 30), 1.0)):
        found = content(written(f"x.{ending}", files * 10, rate=clip.rate, sound=part.sound))
        assert found["sound"] == {"mp4": "aac", "webm": "opus"}[ending]
        assert found["seconds"] == pytest.approx(seconds, abs=0.06)
        loud = found["wave"][4800:-4800]
        spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud))))
        assert np.argmax(spectrum) * 48_000 / len(loud) == pytest.approx(440, abs=4)


def test_uneven_times_are_kept(files: list[Path]) -> None:
    ticks = [0, 3000, 9000, 12000, 30000, 33000]
    make_video("uneven.mp4", panned(6), Fraction(30), ("libx264", None), ticks)
    clip = open_clip("uneven.mp4")
    times = clip.uneven_times()
    assert times == [Fraction(tick, 90_000) for tick in ticks]
    for ending in ("mp4", "webm"):
        found = content(written(f"x.{ending}", files, rate=clip.rate, times=times))
        assert found["times"] == pytest.approx([float(time) for time in times], abs=0.001)


def test_outputs_that_cannot_be_written_are_one_line(folder: Path) -> None:
    Path("folder.mp4").mkdir()
    Path("old.webp").write_bytes(b"?")
    for output, said in {
        "x.avi": r"output x\.avi must end in \.mp4, \.webm, \.webp, \.gif, or be a folder \(without an ending\)",
        "folder.mp4": r"output folder\.mp4 is a folder: use another name",
        "old.webp": r"output old\.webp exists: use another name, or --force to overwrite it",
        "old.webp/x.gif": r"cannot be written",
        "gs://bucket/x.mp4": r"is a URL: moving pictures are written to this machine",
    }.items():
        with pytest.raises(UsageError, match=said):
            animation.check_output(output, Fraction(25), False)
    with pytest.raises(UsageError, match=r"x\.gif: GIF shows at most 50 frames per second, not 60"):
        animation.check_output("x.gif", Fraction(60), False)
    animation.check_output("old.webp", Fraction(60), True)
