"""zoom, morph and video: what comes out, that a killed run continues with the same bytes, and one line for errors."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import raydream
from raydream import motion, movies
from raydream.cli import commands
from raydream.core import engine
from raydream.core import motion as moves
from raydream.core.networks import backbones
from raydream.data import codec, frames
from raydream.recipe import Recipe
from tests.cli.conftest import Cli, listed, wrong
from tests.clips import NTSC, content, make_video, panned
from tests.conftest import random_images

TINY = ("-r", "tiny.yaml")


def pictures(folder: str) -> list[np.ndarray]:
    return [codec.decode(path.read_bytes()) for path in sorted(Path(folder).glob("*.png"))]


def bytes_in(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def quiet(result: tuple[int, str, str]) -> str:
    """What a command has printed that went well."""
    code, out, err = result
    assert code == 0, err
    assert re.fullmatch(r"(\d+ of \d+ frames.*\n)+(writing .*\n)?", err)
    return out


# ---- what comes out


def test_a_zoom_enlarges_the_last_frame_and_dreams_it_a_little(cli: Cli, here: Path, recipe: Recipe) -> None:
    words = ("--frames", "4", "--zoom", "1.1", "--rotate", "5", "--set", "steps=20")
    assert quiet(cli("zoom", "cat.jpg", "-o", "out", *TINY, *words)) == "out\n"
    assert listed(here / "out") == {f"{n:06}.png" for n in range(4)}
    found = pictures("out")
    photograph = codec.decode(Path("cat.jpg").read_bytes())
    np.testing.assert_array_equal(found[0], photograph)
    part = recipe.changed(steps=2)  # a tenth
    backbone = raydream.load_for(part)
    expected = photograph
    for picture in found[1:]:  # in float all the way: no frame starts from 8 bits
        start = moves.zoomed(expected, 1.1, 5)
        expected = engine.dream(start[None], part, backbone, [part.seed_of("cat.jpg")])[0]
        expected = moves.with_colours_of(photograph, expected)
        np.testing.assert_array_equal(codec.to_uint8(picture), codec.to_uint8(expected))


def test_a_frame_knows_its_recipe_and_that_it_is_a_frame(cli: Cli, here: Path) -> None:
    cli("zoom", "cat.jpg", "-o", "out", *TINY, "--frames", "2", "--size", "30")
    inside: Any = codec.read_metadata(Path("out/000001.png").read_bytes())
    assert (inside["id"], inside["recipe"]["size"]) == ("cat.jpg", 30)
    assert inside["motion"] == {"kind": "zoom", "frame": 1, "frames": 2, "zoom": 1.03, "rotate": 0.0, "share": 0.1}
    assert "000001.png is a frame of a moving picture" in wrong(cli("replay", "out/000001.png", "--source", "cat.jpg"))


def test_a_morph_shows_each_step_at_full_size(cli: Cli, here: Path, recipe: Recipe) -> None:
    assert quiet(cli("morph", "cat.jpg", "-o", "out", *TINY, "--set", "octaves=2", "--every", "2", "--set", "steps=3"))
    found = pictures("out")
    assert [picture.shape for picture in found] == [(40, 60, 3)] * 4  # the photograph, steps 2 and 4, the dream
    photograph = codec.decode(Path("cat.jpg").read_bytes())
    np.testing.assert_array_equal(found[0], photograph)
    recipe = recipe.changed(octaves=2, steps=3)
    backbone = raydream.load_for(recipe)
    steps = list(engine.dream_steps(photograph[None], recipe, backbone, [recipe.seed_of("cat.jpg")]))
    for number, step in ((2, steps[3]), (3, steps[5])):
        np.testing.assert_array_equal(codec.to_uint8(found[number]), codec.to_uint8(step.images[0]))
    # In the small octave: the photograph stays sharp, and the dream's change is enlarged.
    assert 0 < np.abs(found[1] - photograph).mean() < np.abs(found[3] - photograph).mean()
    assert np.diff(found[1], axis=1).std() > 0.95 * np.diff(photograph, axis=1).std()


def test_a_morph_takes_the_seconds_that_are_asked_and_comes_back(cli: Cli, here: Path) -> None:
    words = ("--seconds", "0.5", "--fps", "20", "--back")
    assert quiet(cli("morph", "cat.jpg", "-o", "x.gif", *TINY, *words)) == "x.gif\n"
    assert not Path("x.gif.frames").exists()
    with Image.open("x.gif") as movie:
        assert movie.n_frames == 19  # ten there, nine back
        assert movie.info["duration"] == 50
    quiet(cli("morph", "cat.jpg", "-o", "out", *TINY, *words))
    found = list(bytes_in("out").values())
    assert found == found[::-1]
    assert len({*found}) == 10  # between the two steps, frames are mixed


def test_a_video_keeps_its_rate_and_its_sound(cli: Cli, here: Path) -> None:
    make_video("in.mp4", panned(6))
    assert quiet(cli("video", "in.mp4", "out.mp4", *TINY)) == "out.mp4\n"
    found = content("out.mp4")
    assert (found["rate"], len(found["pixels"]), found["sound"]) == (NTSC, 6, "aac")
    assert found["seconds"] == pytest.approx(6 / NTSC, abs=0.05)
    assert not Path("out.mp4.frames").exists()
    quiet(cli("video", "in.mp4", "out.webm", *TINY, "--start", "0.05", "--limit", "3", "--blend", "0.5"))
    found = content("out.webm")
    assert (found["rate"], len(found["pixels"]), found["sound"]) == (NTSC, 3, "opus")
    quiet(cli("video", "in.mp4", "silent.mp4", *TINY, "--limit", "2", "--silent"))
    assert content("silent.mp4")["sound"] is None


def test_a_folder_of_frames_gives_a_folder_of_dreams(cli: Cli, here: Path, recipe: Recipe) -> None:
    for number, frame in enumerate(panned(3)):
        Path("in").mkdir(exist_ok=True)
        Path(f"in/{number}.png").write_bytes(codec.encode(frame))
    quiet(cli("video", "in", "out", *TINY, "--blend", "0"))
    backbone = raydream.load_for(recipe)
    for dream, frame in zip(pictures("out"), panned(3), strict=True):  # without blend, each is dreamed alone
        image = codec.from_uint8(frame)
        alone = engine.dream(image[None], recipe, backbone, [recipe.seed_of("in")])
        np.testing.assert_array_equal(codec.to_uint8(dream), codec.to_uint8(alone[0]))


def test_a_zoom_does_not_depend_on_the_frame_rate(cli: Cli, here: Path) -> None:
    for fps in ("10", "60"):
        quiet(cli("zoom", "cat.jpg", "-o", f"at-{fps}", *TINY, "--frames", "3", "--zoom", "1.2", "--fps", fps))
    assert bytes_in("at-10") == bytes_in("at-60")


def test_the_network_of_a_video_is_loaded_once(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    load = backbones.load_backbone
    monkeypatch.setattr(backbones, "load_backbone", lambda *given, **more: loaded.append(given) or load(*given, **more))
    raydream.assets._loaded.cache_clear()
    make_video("in.mp4", panned(4))
    quiet(cli("video", "in.mp4", "out", *TINY))
    assert len(pictures("out")) == 4
    assert len(loaded) == 1


# ---- coherence


def test_a_dreamed_video_does_not_flicker_or_drift(tiny_recipe: Recipe) -> None:
    pytest.importorskip("cv2")
    recipe = tiny_recipe.changed(steps=20, octaves=1, objective="high", tile=512)
    dreaming = motion.Dreaming(recipe, raydream.load_for(recipe), 7)
    scene = moves.zoomed(random_images(96, 200)[0], 2.0)
    shots = [np.ascontiguousarray(scene[:, 3 * n : 3 * n + 120]) for n in range(12)]
    together = list(motion.video(shots, dreaming))
    alone = list(motion.video(shots, dreaming, blend=0))

    def flicker(dreams: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(a[:, 3:] - b[:, :-3]).mean() for a, b in pairwise(dreams)]))

    assert flicker(together) < 0.5 * flicker(alone)
    changes = [np.abs(dream - shot).mean() for dream, shot in zip(together, shots, strict=True)]
    assert changes[-1] == pytest.approx(changes[0], rel=0.4)  # it is still a dream, and no more than that
    light = [(dream - shot).mean() for dream, shot in zip(together, shots, strict=True)]
    assert abs(light[-1] - light[0]) < 0.02


def test_a_new_scene_starts_anew(tiny_recipe: Recipe) -> None:
    pytest.importorskip("cv2")
    dreaming = motion.Dreaming(tiny_recipe, raydream.load_for(tiny_recipe), 7)
    one, other = (moves.zoomed(image, 2.0) for image in random_images(96, 128, 2))
    dreams = list(motion.video([one, one, other], dreaming))
    np.testing.assert_array_equal(dreams[2], dreaming.dream(other))
    assert np.abs(dreams[1] - dreaming.dream(one)).mean() > 0


# ---- interrupted runs


def killed_after(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the next run die just before it stores this frame: its state is stored already."""
    write = frames._write

    def dying(path: Path, data: bytes) -> None:
        if path.name == f"{number:06}.png":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(frames, "_write", dying)


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("kind", ["zoom", "morph", "video"])
def test_an_interrupted_run_continues_with_the_same_bytes(
    kind: str, at: int, cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video("in.mp4", panned(4))
    words = {"zoom": ("cat.jpg", "--frames", "4", "-o"), "morph": ("cat.jpg", "-o"), "video": ("in.mp4",)}[kind]
    steps = ("--set", "steps=3")
    quiet(cli(kind, *words, "whole", *TINY, *steps))
    with monkeypatch.context() as context:
        killed_after(at, context)
        code, out, err = cli(kind, *words, "out", *TINY, *steps)
        assert (code, out) == (commands.INTERRUPTED, "")
        assert err.endswith("interrupted: finished frames are kept, the same command continues\n")
    assert len(list(Path("out").glob("*.png"))) == at
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    quiet(cli(kind, *words, "out", *TINY, *steps))
    assert bytes_in("out") == bytes_in("whole")
    assert before == {path: path.stat().st_mtime_ns for path in before}  # they were not made again


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_process_continues_with_the_same_bytes(cli: Cli, here: Path) -> None:
    words = ["zoom", "cat.jpg", *TINY, "--frames", "24", "--set", "steps=100"]
    command = [sys.executable, "-m", "raydream", *words, "-o", "x.webp"]
    for signal_number in (signal.SIGKILL, signal.SIGTERM):
        done = len(list(Path().glob("x.webp.frames/*.png")))
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ})
        wait_for(lambda done=done: len(list(Path().glob("x.webp.frames/*.png"))) > done + 2)
        process.send_signal(signal_number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == commands.INTERRUPTED
    assert err.endswith(b"interrupted: finished frames are kept, the same command continues\n")
    quiet(cli(*words, "-o", "x.webp"))
    quiet(cli(*words, "-o", "y.webp"))
    assert Path("x.webp").read_bytes() == Path("y.webp").read_bytes()
    assert not Path("x.webp.frames").exists()


def test_a_run_that_died_while_writing_writes_again(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("zoom", "cat.jpg", *TINY, "--frames", "3", "-o", "x.webp")
    with monkeypatch.context() as context:
        context.setattr(movies.animation, "write", lambda *given: (_ for _ in ()).throw(OSError(28, "No space left")))
        code, _, err = cli(*words)
        assert (code, err.splitlines()[-1]) == (1, "raydream: No space left")
    assert len(list(Path("x.webp.frames").glob("*.png"))) == 3
    Path("x.webp.frames/_raydream/000002.npy").unlink()  # not needed: all frames are there
    with monkeypatch.context() as context:
        context.setattr(motion.Dreaming, "dream", lambda *given: pytest.fail("dreamed again"))
        quiet(cli(*words))
    assert Path("x.webp").exists()


def test_two_runs_at_once_do_not_disturb_each_other(cli: Cli, here: Path) -> None:
    words = ["zoom", "cat.jpg", *TINY, "--frames", "12", "--set", "steps=400", "-o", "x.webp"]
    process = subprocess.Popen([sys.executable, "-m", "raydream", *words], stderr=subprocess.PIPE, env={**os.environ})
    wait_for(lambda: Path("x.webp.frames/000000.png").exists())
    line = wrong(cli(*words), commands.FAILED)
    assert "another run works in x.webp.frames: wait for its end, or use another output" in line
    process.kill()
    process.communicate(timeout=60)
    quiet(cli(*words))  # a killed run leaves no lock
    assert Path("x.webp").exists()


def test_other_settings_are_refused_in_one_line(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("zoom", "cat.jpg", *TINY, "--frames", "4", "-o", "x.gif")
    with monkeypatch.context() as context:
        killed_after(2, context)
        assert cli(*words)[0] == commands.INTERRUPTED
    for other, said in {
        ("--zoom", "1.05"): "zoom 1.03, not 1.05",
        ("--frames", "5"): "frames 4, not 5",
        ("--set", "steps=3"): "steps 2, not 3",
    }.items():
        line = wrong(cli(*words, *other))
        assert f"x.gif.frames has frames of an unfinished run with {said}: repeat its command, use another" in line
    assert "input " in wrong(cli("zoom", "dog.png", *words[2:]))
    assert "kind zoom, not morph" in wrong(cli("morph", "cat.jpg", *TINY, "-o", "x.gif"))
    quiet(cli(*words, "--fps", "10"))  # the frames are the same


def test_missing_frames_are_made_again(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("zoom", "cat.jpg", *TINY, "--frames", "4", "-o")
    quiet(cli(*words, "whole"))
    with monkeypatch.context() as context:
        killed_after(3, context)
        cli(*words, "out")
    Path("out/000001.png").unlink()
    quiet(cli(*words, "out"))
    assert bytes_in("out") == bytes_in("whole")


# ---- errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("zoom none.jpg -o x.gif", "image none.jpg does not exist"),
        ("zoom broken.jpg -o x.gif", "broken.jpg: not an image that can be read"),
        ("zoom cat.jpg -o x.avi", "output x.avi must end in .mp4, .webm, .webp, .gif, or be a folder"),
        ("zoom cat.jpg -o folder.mp4", "output folder.mp4 is a folder: use another name"),
        ("zoom cat.jpg -o .", "folder . is not empty: use another output"),
        ("zoom cat.jpg -o old.gif", "output old.gif exists: use another name, or --force"),
        ("zoom cat.jpg -o x.gif --fps fast", "--fps must be a number from 0.01 to 1000, such as 25 or 30000/1001"),
        ("zoom cat.jpg -o x.gif --fps 1/0", "not '1/0'"),
        ("zoom cat.jpg -o x.gif --fps 60", "GIF shows at most 50 frames per second, not 60"),
        ("zoom cat.jpg -o x.gif --frames 0", "--frames"),
        ("zoom cat.jpg -o x.gif --zoom 9", "--zoom"),
        ("zoom cat.jpg -o x.gif --set size=2", "too small"),
        ("zoom cat.jpg -o x.gif -r clasic", "did you mean 'classic'?"),
        ("morph cat.jpg -o x.gif --every 2 --seconds 2", "--every and --seconds exclude each other"),
        ("morph cat.jpg", "Missing option '--output'"),
        ("video none.mp4 x.gif", "none.mp4 does not exist"),
        ("video tiny.yaml x.gif", "tiny.yaml is not a video that can be read, or is empty or cut off"),
        ("video empty.mp4 x.gif", "empty.mp4 is not a video that can be read, or is empty or cut off"),
        ("video cat.jpg x.gif", "cat.jpg is an image: use `raydream dream cat.jpg`"),
        ("video in.mp4 in.mp4 --force", "output in.mp4 is the input itself"),
        ("morph cat.jpg -o cat.jpg --force", "output cat.jpg is the input itself"),
        ("video folder.mp4 folder.mp4/x.gif", "output folder.mp4/x.gif lies in the input"),
        ("video in.mp4 x.mov", "output x.mov must end in"),
        ("video in.mp4 x.gif --fps 10", "--fps is only for a folder of frames"),
        ("video in.mp4 x.gif --start 9", "--start 9 is after the last frame"),
        ("video in.mp4 x.gif --start inf", "--start"),
    ],
)
def test_an_error_is_one_line(words: str, said: str, cli: Cli, here: Path) -> None:
    Path("folder.mp4").mkdir()
    Path("folder.mp4/1.png").write_bytes(Path("dog.png").read_bytes())
    Path("old.gif").write_bytes(b"?")
    Path("empty.mp4").write_bytes(b"")
    if words.startswith("video"):
        make_video("in.mp4", panned(2))  # skips the test without the extra
    given = words.split()
    assert said in wrong(cli(*given, *(() if "-r" in given else TINY)))
    assert not Path("x.gif").exists()


def test_an_old_file_is_overwritten_only_with_force(cli: Cli, here: Path) -> None:
    Path("x.gif").write_bytes(b"old")
    words = ("zoom", "cat.jpg", *TINY, "--frames", "2", "-o", "x.gif")
    wrong(cli(*words))
    assert Path("x.gif").read_bytes() == b"old"
    quiet(cli(*words, "--force"))
    assert Path("x.gif").read_bytes()[:3] == b"GIF"


def test_without_the_extra_zoom_and_morph_still_work(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in").mkdir()
    Path("in/1.png").write_bytes(codec.encode(panned(1)[0]))
    for library in ("av", "cv2"):
        monkeypatch.setitem(sys.modules, library, None)
    quiet(cli("zoom", "cat.jpg", *TINY, "--frames", "2", "-o", "x.webp"))
    quiet(cli("morph", "cat.jpg", *TINY, "-o", "frames"))
    install = "pip install 'raydream[video]'"
    assert f"raydream: .mp4 needs the extra `video`: {install}\n" == wrong(cli("zoom", "cat.jpg", *TINY, "-o", "x.mp4"))
    assert f"optical flow needs the extra `video`: {install}" in wrong(cli("video", "in", "x.gif", *TINY))
