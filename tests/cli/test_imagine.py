"""imagine and walk: pictures from noise, by a recipe or by a GAN; what is there is kept."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from raydream import generators
from raydream.cli.imagine import complete_gan
from raydream.data import codec
from raydream.errors import UsageError
from raydream.models import gan
from raydream.training.gan import generate, generator_inputs
from tests.cli.conftest import Cli


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small generator whose pictures differ."""
    import keras

    keras.utils.set_random_seed(0)
    model: Any = gan.dcgan(32)
    path = tmp_path_factory.mktemp("trained") / "generator.keras"
    model.save(path)
    return str(path)


def test_imagine_makes_pictures_that_are_kept_and_made_again(cli: Cli, tiny_path: str, tmp_path: Path) -> None:
    tiny = [f"--set={change}" for change in (f"backbone={tiny_path}", "objective=high", "steps=2", "octaves=1")]
    command = ("imagine", "-n", "2", "--size", "60x40", "--seed", "3", "-o", str(tmp_path), *tiny)
    pictures = [tmp_path / f"imagined-{n:04d}.png" for n in range(2)]
    code, said, err = cli(*command)
    assert (code, said) == (0, "".join(f"{path}\n" for path in pictures)), err
    first, second = (codec.decode(path.read_bytes()) for path in pictures)
    assert first.shape == (40, 60, 3)
    assert np.abs(first - second).mean() > 0.02
    assert cli("replay", str(pictures[1]))[:2] == (0, "identical\n")
    times = [path.stat().st_mtime_ns for path in pictures]
    assert cli(*command)[0] == 0
    assert [path.stat().st_mtime_ns for path in pictures] == times
    code, _, err = cli(*command, "--set", "steps=1")
    assert (code, err.count("\n")) == (2, 1)
    assert "imagined-0000.png exists: use another name, or --force to overwrite it" in err
    for words, said in (
        (("--size", "60"), "--size must be WIDTHxHEIGHT in pixels, such as 768x512, not '60'"),
        (("--size", "99999x99999", "-o", str(tmp_path / "new")), "not enough memory: choose a smaller size"),
        (("-n", "2", "-o", "x.png"), "-o x.png is one picture, but there are 2"),
    ):
        code, out, err = cli("imagine", *words, *tiny)
        assert (code, out, err.count("\n")) == (1 if "memory" in said else 2, "", 1), err
        assert said in err


def test_a_gan_makes_pictures_that_are_kept_and_made_again(cli: Cli, trained: str, tmp_path: Path) -> None:
    command = ("imagine", "--gan", trained, "-n", "2", "--seed", "3", "-o", str(tmp_path))
    pictures = [tmp_path / f"imagined-{n:04d}.png" for n in range(2)]
    code, said, err = cli(*command)
    assert (code, said) == (0, "".join(f"{path}\n" for path in pictures)), err
    first, second = (codec.decode(path.read_bytes()) for path in pictures)
    assert first.shape == (32, 32, 3)
    assert np.abs(first - second).mean() > 0.05
    inside = codec.read_metadata(pictures[1].read_bytes())
    digest = hashlib.sha256(Path(trained).read_bytes()).hexdigest()
    assert inside is not None
    assert {key: inside[key] for key in inside if key != "raydream"} == {
        "gan": trained,
        "gan_sha256": digest,
        "seed": 3,
        "number": 1,
    }
    assert cli("replay", str(pictures[1]))[:2] == (0, "identical\n")
    times = [path.stat().st_mtime_ns for path in pictures]
    assert cli(*command)[0] == 0
    assert [path.stat().st_mtime_ns for path in pictures] == times
    code, _, err = cli(*command[:-4], "--seed", "4", "-o", str(tmp_path))
    assert (code, err.count("\n")) == (2, 1)
    assert "imagined-0000.png exists: use another name, or --force to overwrite it" in err
    assert cli("imagine", "--gan", trained, "--size", "32x32", "-o", str(tmp_path / "one.webp"))[0] == 0
    assert cli("replay", str(tmp_path / "one.webp"))[:2] == (0, "identical\n")


def test_a_picture_of_a_gan_that_is_not_here_is_not_made_again(cli: Cli, trained: str, tmp_path: Path) -> None:
    moved = tmp_path / "moved.keras"
    moved.write_bytes(Path(trained).read_bytes())
    assert cli("imagine", "--gan", str(moved), "-o", str(tmp_path / "x.png"))[0] == 0
    moved.write_bytes(b"another network")
    code, out, err = cli("replay", str(tmp_path / "x.png"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "moved.keras', which is not here: use --set gan=FILE" in err
    assert cli("replay", str(tmp_path / "x.png"), "--set", f"gan={trained}")[:2] == (0, "identical\n")
    for words, said in (
        (("--set", "seed=4"), "was made by a GAN, so only gan=FILE can be set, not seed"),
        (("--source", "x.jpg"), "was made from noise by a GAN: leave the option out"),
    ):
        code, out, err = cli("replay", str(tmp_path / "x.png"), *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_a_walk_leads_through_the_pictures_and_back(cli: Cli, trained: str, tmp_path: Path) -> None:
    place = tmp_path / "walk.webp"
    words = ("-n", "3", "--seconds", "0.2", "--fps", "20", "--seed", "3")
    code, out, err = cli("walk", trained, "-o", str(place), *words)
    assert (code, out) == (0, f"{place}\n"), err
    with Image.open(place) as animation:
        assert animation.n_frames == 12
    generator = generators.load(trained)
    frames = list(generator.walk(3, 3, 4))
    np.testing.assert_allclose(frames[::4], generator.images([0, 1, 2], 3), atol=1e-3)
    steps = [np.abs(one - other).mean() for one, other in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(steps) < 4 * min(steps), "no jumps"
    code, _, err = cli("walk", trained, "-o", str(place), *words)
    assert code == 2
    assert "exists: use another name, or --force" in err


def test_the_noise_of_a_walk_stays_that_of_the_first_picture() -> None:
    model = gan.fastgan(32)
    for layer in model.layers:
        if layer.name.endswith("_noise"):
            layer.set_weights([np.ones_like(layer.get_weights()[0])])
    generator = generators.Generator("new", "", model)
    frames = list(generator.walk(2, 3, 20))
    assert len(frames) == 40, "more than are made at once"
    latents, noise_map = generator_inputs(model, [0, 1], 3)
    still = generate(model, [latents, np.repeat(noise_map[:1], 2, axis=0)])
    np.testing.assert_allclose(frames[::20], still, atol=1e-3)
    assert np.abs(generator.images([1], 3)[0] - still[1]).max() > 1e-3


def test_latents_keep_their_length_on_the_way(trained: str) -> None:
    one, other = generator_inputs(generators.load(trained).model, [0, 1], 0)[0]
    way = [generators._slerp(one, other, share) for share in np.linspace(0, 1, 9)]
    lengths = np.linalg.norm(way, axis=1)
    np.testing.assert_allclose(lengths, np.linspace(np.linalg.norm(one), np.linalg.norm(other), 9), rtol=1e-5)
    np.testing.assert_allclose(way[-1], other, atol=1e-5)
    assert np.array_equal(generators._slerp(one, one, 0.5), one)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gan", "GAN", "--size", "64x32"), "makes pictures of 32x32 pixels only"),
        (("--gan", "GAN", "-r", "noise"), "--gan: a GAN has no recipe: leave out --recipe and --set"),
        (("--gan", "nothing"), "unknown GAN 'nothing': "),
        (("--gan", "nothing.keras"), "GAN file nothing.keras does not exist"),
        (("--gan", "TINY"), "is not a generator: give a generator.keras from `raydream gan`"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], said: str, cli: Cli, trained: str, tiny_path: str) -> None:
    named = {"GAN": trained, "TINY": tiny_path}
    code, out, err = cli("imagine", *(named.get(word, word) for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert said in err


def test_the_gan_in_the_package_makes_pictures_by_its_name(cli: Cli, tmp_path: Path) -> None:
    assert generators.shipped() == complete_gan("natural") == ["natural-dreams-64"]
    place = tmp_path / "x.png"
    code, _, err = cli("imagine", "--gan", "natural-dreams-64", "-o", str(place))
    assert code == 0, err
    image = codec.decode(place.read_bytes())
    assert image.shape == (64, 64, 3)
    assert 0.2 < image.std() < 0.9, "neither grey nor noise at the limits"
    assert cli("replay", str(place))[:2] == (0, "identical\n")


def test_nothing_is_made_if_a_name_is_taken(cli: Cli, trained: str, tmp_path: Path) -> None:
    (tmp_path / "imagined-0001.png").write_bytes(b"another picture")
    assert cli("imagine", "--gan", trained, "-n", "2", "-o", str(tmp_path))[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["imagined-0001.png"]


def test_a_damaged_generator_is_one_line(cli: Cli, trained: str, tmp_path: Path) -> None:
    data = bytearray(Path(trained).read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "damaged.keras").write_bytes(data)
    model = gan.fastgan(32)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    model.save(tmp_path / "nan.keras")
    for name, said in (("damaged", "cannot be loaded"), ("nan", "has weights that are not finite numbers")):
        code, out, err = cli("imagine", "--gan", str(tmp_path / f"{name}.keras"), "-o", str(tmp_path / "x.png"))
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert said in err


def test_a_walk_needs_an_ending(cli: Cli, trained: str) -> None:
    code, _, err = cli("walk", trained, "-o", "frames")
    assert (code, err.count("\n")) == (2, 1)
    assert "output frames must end in .mp4, .webm, .webp, .gif" in err


@pytest.mark.parametrize("change", [{"number": None}, {"seed": -1}, {"number": "x"}])
def test_incomplete_metadata_are_one_line(change: dict[str, Any]) -> None:
    inside = {"gan": "x.keras", "gan_sha256": "ab", "seed": 0, "number": 0, **change}
    with pytest.raises(UsageError, match=r"x\.png was made by a GAN, but its metadata do not say which"):
        generators.remake(inside, {}, "x.png")
