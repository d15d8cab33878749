"""Pictures from noise by a GAN that `raydream gan` has trained.

    generator = generators.load("natural-dreams-64")     # or the path or URL of a generator.keras
    generator.picture(3, seed=0).save("three.png")

A picture depends on the generator, the seed and its number alone, and its file says which they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydream import __version__, assets, runtime
from raydream.data import codec, provenance, storage
from raydream.errors import UsageError, nearest
from raydream.types import Image, Images, KerasModel

_BATCH = 32  # frames of a walk that are made at once
_ENDING = ".gan.keras"  # of the generators in the package


def shipped() -> list[str]:
    """Names of the generators that come with raydream."""
    folder = resources.files("raydream") / "weights"
    return sorted(path.name.removesuffix(_ENDING) for path in folder.iterdir() if path.name.endswith(_ENDING))


@dataclass(frozen=True, eq=False)
class Generator:
    """A generator ready to make pictures.

    Attributes:
        name: its name, path or URL.
        digest: SHA-256 of its file, in hexadecimal.
        model: the network; see `models.gan`.
    """

    name: str
    digest: str
    model: KerasModel

    @property
    def side(self) -> int:
        """The side of its pictures in pixels."""
        return int(self.model.outputs[0].shape[1])

    def images(self, numbers: Sequence[int], seed: int) -> Images:
        """The pictures with these numbers: (n, side, side, 3) in [-1, 1]."""
        from raydream.training.gan import generate, generator_inputs

        return generate(self.model, generator_inputs(self.model, numbers, seed))

    def picture(self, number: int, seed: int) -> Picture:
        """The picture with a number."""
        return Picture(self.images([number], seed)[0], self, number, seed)

    def walk(self, count: int, seed: int, frames: int) -> Iterator[Image]:
        """The frames of a closed walk through `count` pictures, `frames` from each to the next.

        Latents are interpolated spherically (White, "Sampling Generative Networks", 2016), since those on a straight
        line have smaller norms. The noise map stays that of the first picture, so that fine details do not flicker.
        Therefore, only the first frame is one of `images`.
        """
        from raydream.training.gan import generate, generator_inputs

        _, *rest = generator_inputs(self.model, [0], seed)
        latents = np.concatenate([generator_inputs(self.model, [number], seed)[0] for number in range(count)])
        steps = ((start, n / frames) for start in range(count) for n in range(frames))
        while some := list(islice(steps, _BATCH)):
            between = [_slerp(latents[start], latents[(start + 1) % count], share) for start, share in some]
            still = [np.repeat(part, len(some), axis=0) for part in rest]
            yield from generate(self.model, [np.stack(between), *still])


def _slerp(one: NDArray[np.float32], other: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Spherical interpolation between two latents (length,); the norm is interpolated linearly."""
    ends = [each.astype(np.float64) for each in (one, other)]
    norms = [np.linalg.norm(end) for end in ends]
    angle = np.arccos(np.clip(ends[0] @ ends[1] / (norms[0] * norms[1]), -1.0, 1.0))
    if angle < 1e-6:
        return one
    weights = np.sin((1.0 - share) * angle) / norms[0], np.sin(share * angle) / norms[1]
    norm = (1.0 - share) * norms[0] + share * norms[1]
    return np.asarray(norm * (weights[0] * ends[0] + weights[1] * ends[1]) / np.sin(angle), np.float32)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture by a generator.

    Attributes:
        array: float32 (side, side, 3) in [-1, 1].
        generator, number, seed: what made it.
    """

    array: Image
    generator: Generator
    number: int
    seed: int

    @property
    def id(self) -> str:
        """An identifier, where a dream has the name of its photograph."""
        return f"noise {self.number}"

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata in its file, from which `raydream replay` can make it again."""
        return metadata(self.generator, self.seed, number=self.number)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the picture with its metadata to a path or URL that ends in .png, .jpg, .jpeg or .webp.

        Raises:
            UsageError: the path has another ending, or cannot be written.
        """
        from raydream.api import picture_format

        target = os.fsdecode(path)
        storage.write(target, codec.encode(self.array, picture_format(target), self.metadata))


def metadata(generator: Generator, seed: int, **what: Any) -> dict[str, Any]:
    """The metadata in a file that a generator has made; `what` says what the file shows."""
    made_by = {"gan": generator.name, "gan_sha256": generator.digest, "seed": seed}
    return {"raydream": __version__, **made_by, **what}


def remake(metadata: Mapping[str, Any], changes: Mapping[str, Any], image: str) -> Picture:
    """Makes a picture again from the metadata in its file `image`. Nothing is downloaded because of a picture.

    Args:
        metadata: see `metadata`.
        changes: `gan` is another path or URL of the generator, which must have the same digest.
        image: name of the file, for messages.

    Raises:
        UsageError: the metadata are incomplete, its generator is not on this machine, or there are other changes.
    """
    if others := changes.keys() - {"gan"}:
        raise UsageError(f"{image} was made by a GAN, so only gan=FILE can be set, not {min(others)}")
    kinds = {"gan": str, "gan_sha256": str, "seed": int, "number": int}
    complete = all(isinstance(metadata.get(key), kind) for key, kind in kinds.items())
    if not complete or min(metadata["seed"], metadata["number"]) < 0:
        raise UsageError(f"{image} was made by a GAN, but its metadata do not say which picture it is")
    name, digest = metadata["gan"], metadata["gan_sha256"]
    if "gan" in changes:
        places = [_path(str(changes["gan"]))]
    elif "://" in name:
        places = list(map(str, assets.kept_copies(name)))
    else:
        places = [] if provenance.is_remote(name) else [_path(name) if name in shipped() else name]
    here = next((place for place in places if os.path.isfile(place) and assets.digest(place) == digest), None)
    if here is None and "gan" in changes:
        raise UsageError(f"{image} was made by another GAN than {changes['gan']}: the digests differ")
    if here is None:
        raise UsageError(f"{image} was made by the GAN {name[:200]!r}, which is not here: use --set gan=FILE")
    return Generator(name, digest, _loaded(here, digest)).picture(metadata["number"], metadata["seed"])


def load(name: str) -> Generator:
    """Loads a generator; the last four stay in memory.

    Args:
        name: a name in `shipped()`, or the path or URL of a `.keras` file.

    Raises:
        UsageError: there is no such file, or it is not a generator.
    """
    path = _path(name)
    found = assets.digest(path, "GAN")
    return Generator(name, found, _loaded(path, found))


def _path(name: str) -> str:
    if name in shipped():
        return str(resources.files("raydream") / "weights" / f"{name}{_ENDING}")
    if not name.endswith(".keras"):
        raise UsageError(
            f"unknown GAN {name!r}: {nearest(name, shipped())}, or give a generator.keras of `raydream gan`"
        )
    return assets.fetch(name, "GAN")


@lru_cache(maxsize=4)
def _loaded(path: str, digest: str) -> KerasModel:
    """`digest` is part of the key, so that a changed file is loaded again."""
    import sys

    if "tensorflow" not in sys.modules:
        runtime.worker()
    from raydream.core.networks import loading

    model = loading.load_keras(path, what="GAN")
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UsageError(f"GAN file {Path(path).name} has weights that are not finite numbers: use another one")
    if not _is_generator(model):
        raise UsageError(f"GAN file {Path(path).name} is not a generator: give a generator.keras from `raydream gan`")
    return model


def _is_generator(model: KerasModel) -> bool:
    """Whether a model makes square images of latents (and noise maps)."""
    inputs, outputs = [tuple(part.shape) for part in model.inputs], [tuple(part.shape) for part in model.outputs]
    known = all(None not in shape[1:] for shape in (*inputs, *outputs))
    lengths = [len(shape) for shape in inputs]
    square = len(outputs) == 1 and len(outputs[0]) == 4 and outputs[0][1:] == (outputs[0][1], outputs[0][1], 3)
    return known and square and lengths in ([2], [2, 4])
