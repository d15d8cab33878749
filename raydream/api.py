"""The Python interface: one call makes a dream from a photograph.

    dream = raydream.dream("cat.jpg", "classic", steps=20)
    dream.image                     # a Pillow image; a notebook shows the dream itself
    dream.save("cat-dream.png")     # the file contains the recipe

The command line uses the same functions.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image as PillowImage

from raydream import assets, runtime
from raydream.cli import watch
from raydream.data import codec, provenance, storage
from raydream.errors import UsageError
from raydream.recipe import Recipe
from raydream.types import Image

if TYPE_CHECKING:
    from raydream.core.networks.backbones import Backbone

Source = str | os.PathLike[str] | PillowImage.Image | np.ndarray[Any, Any]
_NAMELESS = "image"  # the id of an array
_loaded_before: set[tuple[object, ...]] = set()  # networks of this process


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph to dream.

    Attributes:
        id: name of its file; the seed of the dream is computed from the id and the recipe's seed.
        image: float32 (height, width, 3) in [-1, 1].
        digest: SHA-256 of the file's bytes, or of the pixels if there is no file.
    """

    id: str
    image: Image
    digest: str


@dataclass(frozen=True, eq=False, repr=False)
class Dream:
    """A dream and how it was made.

    Attributes:
        array: float32 (height, width, 3) in [-1, 1].
        recipe: the resolved recipe; the same recipe, photograph and seed give the same dream.
        seed: seed of its random numbers.
        id: id of its photograph.
        source_digest: digest of its photograph; see `Photograph`.
    """

    array: Image
    recipe: Recipe
    seed: int
    id: str
    source_digest: str

    @property
    def image(self) -> PillowImage.Image:
        """The dream as a Pillow image, RGB."""
        return PillowImage.fromarray(codec.to_uint8(self.array))

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata in its file, from which `raydream replay` can make it again."""
        return provenance.inside(self.recipe, self.id, self.seed, self.source_digest)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the dream with its recipe to a path or URL that ends in .png, .jpg, .jpeg or .webp.

        An existing file is overwritten.

        Raises:
            UsageError: the path has another ending, or cannot be written.
        """
        target = os.fsdecode(path)
        try:
            data = self.encoded(picture_format(target))
        except ValueError as error:
            raise UsageError(f"{target}: {error}") from error
        storage.write(target, data)

    def encoded(self, format: codec.Format = "png") -> bytes:
        """The bytes of the dream's file, with its recipe; raises a ValueError if the format cannot hold its size."""
        return codec.encode(self.array, format, self.metadata)

    def __repr__(self) -> str:
        height, width = self.array.shape[:2]
        return f"<Dream of {self.id!r}: {width}x{height}, recipe {self.recipe.digest[:12]}, seed {self.seed}>"

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows."""
        return codec.encode(self.array)


@overload
def dream(
    images: Source, recipe: str | os.PathLike[str] | Recipe = ..., *, progress: bool = ..., **changes: Any
) -> Dream: ...
@overload
def dream(
    images: Iterable[Source], recipe: str | os.PathLike[str] | Recipe = ..., *, progress: bool = ..., **changes: Any
) -> list[Dream]: ...


def dream(
    images: Source | Iterable[Source],
    recipe: str | os.PathLike[str] | Recipe = "classic",
    *,
    progress: bool = True,
    **changes: Any,
) -> Dream | list[Dream]:
    """Dreams a photograph, or a list of photographs one after the other.

    The first call loads the network, which then stays in memory. If TensorFlow has not been imported yet, it is
    configured so that GPUs give the same bytes each time. To keep your own settings, import TensorFlow first.

    Args:
        images: a path or URL; a Pillow image; an array (height, width, 3) of uint8, or of floats in [-1, 1]; or a list
            of these.
        recipe: name of a preset (see `raydream recipes`), path or URL of a YAML file, or a `Recipe`.
        progress: whether to show a progress bar.
        changes: values of the recipe to change, such as `steps=20`.

    Returns:
        A `Dream`; for a list of photographs, a list of dreams.

    Raises:
        UsageError: an image, the recipe or the network cannot be used; the message says what would be valid.
    """
    one = _is_one(images)
    sources = [images] if one else images
    asked = chosen_recipe(recipe, changes)
    photographs = map(photograph, sources)  # type: ignore[arg-type]
    first = next(photographs, None)  # read before the network is loaded, so that an error is shown at once
    if first is None:
        return []
    resolved, backbone = loaded(asked, progress)
    dreams = [dreamed(each, resolved, backbone, progress=progress) for each in chain([first], photographs)]
    return dreams[0] if one else dreams


def _is_one(images: Any) -> bool:
    """Whether these are not several images. Other values count as one image, which `photograph` refuses."""
    several = isinstance(images, Iterable) and not isinstance(images, str | bytes | Mapping | PillowImage.Image)
    return not several or hasattr(images, "__array__") or isinstance(images, os.PathLike)


def chosen_recipe(recipe: str | os.PathLike[str] | Recipe, changes: dict[str, Any]) -> Recipe:
    """A preset, a recipe file or a `Recipe`, with some values changed."""
    if isinstance(recipe, Recipe):
        return Recipe.parse(recipe.as_dict(), changes)
    if not isinstance(recipe, str | os.PathLike):
        raise UsageError(
            f"recipe must be the name of a preset, the path or URL of a file, or a Recipe, not {type(recipe).__name__}"
        )
    return Recipe.load(os.fspath(recipe), changes)


def photograph(source: Source) -> Photograph:
    """The photograph at a path or URL, or in a Pillow image or array; raises a `UsageError` if it cannot be used."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        data = storage.read(name, what="image")
        try:
            return from_bytes(data, storage.split(name)[1])
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error
    if isinstance(source, PillowImage.Image):
        id = PurePath(os.fsdecode(getattr(source, "filename", "") or _NAMELESS)).name
        image = _or_refuse(codec.from_pil, source)
    elif hasattr(source, "__array__"):
        id, image = _NAMELESS, _from_array(np.asarray(source))
    else:
        raise UsageError(f"an image is a path, URL, Pillow image or array, not {type(source).__name__}")
    return Photograph(id, image, provenance.digest_of_pixels(image))


def from_bytes(data: bytes, name: str) -> Photograph:
    """The photograph in the bytes of a file; raises a `UsageError` if they are not an image."""
    return Photograph(name, _or_refuse(codec.decode, data), hashlib.sha256(data).hexdigest())


def loaded(recipe: Recipe, progress: bool = True) -> tuple[Recipe, Backbone]:
    """The resolved recipe and its backbone. The first time that a network is loaded, this is shown on stderr."""
    network = (recipe.backbone, recipe.weights, recipe.objective.layers, recipe.pooling, recipe.precision)
    with watch.loading(recipe.backbone) if progress and network not in _loaded_before else nullcontext():
        if "tensorflow" not in sys.modules:
            runtime.worker()
        found = assets.load(recipe)
    _loaded_before.add(network)
    return found


def dreamed(
    photograph: Photograph, recipe: Recipe, backbone: Backbone, *, seed: int | None = None, progress: bool = True
) -> Dream:
    """Dreams one photograph with a resolved recipe and its backbone; without `seed`, the recipe gives the seed."""
    from raydream.core import engine

    seed = recipe.seed_of(photograph.id) if seed is None else seed
    image = _or_refuse(codec.fit, photograph.image, recipe.size)
    steps = engine.dream_steps(image[None], recipe, backbone, [seed], assets.pictures(recipe))
    if progress:
        sizes = engine.usable_sizes(image.shape[0], image.shape[1], recipe, backbone)
        work = sum(h * w * recipe.steps_of(octave, len(sizes)) for octave, (h, w) in enumerate(sizes))
        last = watch.watch(steps, work, photograph.id)
    else:
        (last,) = deque(steps, maxlen=1)
    array = last.images[0].astype(np.float32, copy=False)
    return Dream(array, recipe, seed, photograph.id, photograph.digest)


def picture_format(path: str) -> codec.Format:
    """The format of a picture by its file ending; raises a `UsageError` if it cannot be written."""
    if (ending := PurePath(path).suffix.lower()) not in codec.FORMATS:
        raise UsageError(f"{path}: pictures end in {', '.join(codec.FORMATS)}")
    return codec.FORMATS[ending]


def _or_refuse(work: Callable[..., Image], *arguments: Any) -> Image:
    """Calls `work` and returns its result; turns its errors into a `UsageError`."""
    try:
        return work(*arguments)
    except (ValueError, MemoryError) as error:
        raise UsageError(str(error) or "not enough memory") from error


def _from_array(array: np.ndarray[Any, Any]) -> Image:
    """Converts an array to an image; raises a `UsageError` if it is not uint8 and may not be in [-1, 1].

    An array of floats without negative values is refused. In [-1, 1] it would have no pixel darker than mid-grey, so
    its range is most probably 0..1 or 0..255.
    """
    if array.ndim == 4:
        raise UsageError(f"an array must be one image, not {array.shape}: use a list of images, such as list(array)")
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise UsageError(f"an array must be (height, width, 3), not {array.shape}")
    if array.dtype == np.uint8:
        return codec.from_uint8(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"an array must be of uint8, or floating point in [-1, 1], not of {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high <= 1:
        raise UsageError(
            "an array without negative values looks like 0..1: convert it with 2 * array - 1 "
            "(or, if it is a very bright image in [-1, 1], with raydream.data.codec.to_uint8)"
        )
    if low >= 0 and high <= 255:
        raise UsageError("an array with values above 1 looks like 0..255: convert it with array / 127.5 - 1")
    if not (low >= -1.000001 and high <= 1.000001):
        raise UsageError(f"an array must be in [-1, 1], not {low:g} to {high:g}")
    image: Image = np.clip(array.astype(np.float32), -1, 1)
    return image
