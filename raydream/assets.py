"""Finds or downloads the files of a recipe, computes their digests, and loads them as a backbone.

recipe = resolve(recipe)          # in the process that starts the work
backbone = load_for(recipe)       # in the process that does the work
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import fsspec

from raydream import runtime
from raydream.core import masks
from raydream.core.networks import classes
from raydream.core.objectives import Guide
from raydream.data import codec, storage
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import DEFAULT_WEIGHTS, Recipe
from raydream.types import Pooling

if TYPE_CHECKING:
    from raydream.core.context import Pictures
    from raydream.core.networks.backbones import Backbone

# Facts that change when a remote file changes, as fsspec's file systems name them.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "Content-MD5", "Last-Modified", "LastModified", "mtime", "created", "size")


class Files(NamedTuple):
    """The files of a network on this machine.

    Attributes:
        backbone: the backbone for `load_backbone`: a name, or the path of a `.keras` or `.npz` file.
        weights: the weights for `load_backbone`; None if the backbone is a file.
        trained: the file with the trained weights; the backbone itself if it is a file.
    """

    backbone: str
    weights: str | None
    trained: str


def resolve(recipe: Recipe) -> Recipe:
    """Resolves a recipe: fills in its precision, the digest of its weights, and the channels of its classes.

    Its files are found or downloaded, and its objective is checked against the backbone. If RAYDREAM_WEIGHTS is set, it
    replaces `weights: imagenet` of inception_v3, unless the recipe is already resolved: workers use the weights that
    the driver has found, and ignore their own environment.

    Raises:
        UsageError: a file is missing or has another digest, or the backbone has no such layer, channel or class.
    """
    recipe, files = _located(recipe)
    runtime.import_tensorflow()
    from raydream.core.networks import backbones

    channels = _channels(files, str(recipe.weights_digest))
    backbones.check_objective(recipe.objective, channels, files.backbone, files.weights)
    _check_pictures(recipe)
    return recipe


def load_for(recipe: Recipe, dtype: str | None = None) -> Backbone:
    """Loads the backbone of a recipe, resolved or not, cut at the layers of its objective.

    The last few backbones stay in memory, so that a second call is fast.

    Args:
        recipe: if it is resolved, the digest of its weights is checked again.
        dtype: type that replaces the recipe's precision; see `load_backbone`.

    Raises:
        UsageError: as in `resolve`, or if a file cannot be loaded.
    """
    return load(recipe, dtype)[1]


def load(recipe: Recipe, dtype: str | None = None) -> tuple[Recipe, Backbone]:
    """`resolve` and `load_for` together: the resolved recipe and its backbone. The network is built only once."""
    recipe, files = _located(recipe)
    _check_pictures(recipe)
    runtime.import_tensorflow()
    from raydream.core.networks import backbones

    numbers = dtype or recipe.precision or "float32"
    backbone = _loaded(files, str(recipe.weights_digest), recipe.objective.layers, recipe.pooling, numbers)
    channels = {layer: backbone.channels(layer) for layer in backbone.layers}
    backbones.check_objective(recipe.objective, channels, files.backbone, files.weights)
    return recipe, backbone


def locate(backbone: str, weights: str | None = None) -> Files:
    """Finds or downloads the files of a network; downloads are stored in the folder RAYDREAM_CACHE.

    Args:
        backbone: a name, or the path or URL of a `.keras` or `.npz` file.
        weights: weights of a named backbone: `compact`, `imagenet`, or a path or URL; None for its default.

    Raises:
        UsageError: there is no such network, or its file cannot be downloaded.
    """
    from raydream.core.networks import loading

    if "://" in backbone or loading.is_file(backbone):
        path = fetch(backbone, "backbone")
        return Files(path, None, path)
    weights = weights or DEFAULT_WEIGHTS[backbone]
    if weights == "imagenet":  # Keras downloads them
        runtime.import_tensorflow()
    file = loading.weights_file(backbone, fetch(weights, "weights"))
    return Files(backbone, weights if weights == "compact" else file, file)


def named_weights(backbone: str, weights: str | None) -> str | None:
    """`weights`, or RAYDREAM_WEIGHTS if that is set and the weights are `imagenet` of inception_v3."""
    given = os.environ.get("RAYDREAM_WEIGHTS")
    return storage.absolute(given) if given and (backbone, weights) == ("inception_v3", "imagenet") else weights


def digest(path: str, what: str = "file") -> str:
    """SHA-256 of a local file, in hexadecimal; the file is read again only if its size or time has changed.

    Raises:
        UsageError: it cannot be read; `what` is its role, for the message.
    """
    try:
        state = os.stat(path)
        return _sha256(os.path.abspath(path), state.st_size, state.st_mtime_ns)
    except FileNotFoundError as error:
        raise UsageError(f"{what} file {path} does not exist") from error
    except OSError as error:
        raise UsageError(f"{what} file {path} cannot be read: {error.strerror}") from error


def fetch(url: str, what: str = "file") -> str:
    """Downloads a URL to $RAYDREAM_CACHE and returns the local path; a path is returned unchanged.

    An existing copy is used if the ETag, time and size of the remote file are still the same, or cannot be read.

    Raises:
        UsageError: the URL cannot be read, or the copy cannot be written.
    """
    if "://" not in url:
        return url
    version = _version(url)
    kept = kept_copies(url)
    same = [path for path in kept if version is None or f"-{version}-" in path.name]
    if same:
        return str(same[-1])
    last = (url.partition("?")[0] if url.startswith("http") else url).rstrip("/").rsplit("/", 1)[-1]
    name = f"{_short(url)}-{version or _short('')}-{last[-80:]}"
    data = storage.read(url, what)
    try:
        Folder(str(_cache())).write(name, data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{what} {url} cannot be stored: {reason} (see $RAYDREAM_CACHE)") from error
    return str(_cache() / name)


def kept_copies(url: str) -> list[Path]:
    """The local copies of a URL that `fetch` has stored, oldest first."""
    found = [path for path in _cache().glob(f"{_short(url)}-*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _located(recipe: Recipe) -> tuple[Recipe, Files]:
    """The resolved recipe and its files; the layers of the objective are not checked."""
    if recipe.weights_digest is None:
        recipe = recipe.changed(weights=named_weights(recipe.backbone, recipe.weights))
    files = locate(recipe.backbone, recipe.weights)
    found = digest(files.trained, "weights" if files.weights else "backbone")
    if recipe.weights_digest not in (None, found):
        raise UsageError(
            f"the weights of {recipe.backbone} ({found[:12]}) are not "
            f"those of the recipe ({str(recipe.weights_digest)[:12]})"
        )
    _check_named(recipe)
    objective = classes.resolved(recipe.objective, files.backbone)
    recipe = recipe.changed(objective=objective)
    named = {name: (name, _picture_digest(name, known)) for name, known in recipe.pictures.items()}
    return recipe.with_picture_files(named).resolved(found), files


def _check_named(recipe: Recipe) -> None:
    """Raises a `UsageError` if a term has no image."""
    for number, term in enumerate(recipe.objective.terms):
        if term.lacks_image:
            kind, way = ("guide", "--guide IMAGE") if isinstance(term, Guide) else ("style", "`raydream style`")
            raise UsageError(f"objective[{number}]: {kind} is missing: use {way}, or name an image in the recipe")


def _check_pictures(recipe: Recipe) -> None:
    """Raises a `UsageError` if an image of a resolved recipe cannot be read, or a mask is black."""
    images = pictures(recipe).images
    for mask in [recipe.mask, *(term.mask for term in recipe.objective.terms)]:
        if mask is not None:
            masks.check_white(mask, images)


def pictures(recipe: Recipe) -> Pictures:
    """The guides, styles and masks of a resolved recipe, for `engine.dream_steps`.

    The last few stay in memory, so that a second call is fast.

    Raises:
        UsageError: an image is missing, cannot be read, or has another digest.
    """
    for name, known in recipe.pictures.items():
        _picture_digest(name, known)
    return _pictures(tuple(recipe.pictures.items()))


@lru_cache(maxsize=4)
def _pictures(named: tuple[tuple[str, str | None], ...]) -> Pictures:
    """The images by name; the digests are part of the key, so that a changed file is read again."""
    from raydream.core.context import Pictures

    images = {}
    for name, _ in named:
        try:
            images[name] = codec.decode(Path(fetch(name, "picture")).read_bytes())
        except ValueError as error:
            raise UsageError(f"picture {name}: {error}") from error
    return Pictures(images)


def _picture_digest(name: str, known: str | None) -> str:
    """The digest of an image that a recipe names; raises a `UsageError` unless it is the `known` one, if any."""
    found = digest(fetch(name, "picture"), "picture")
    if known not in (None, found):
        raise UsageError(f"picture {name} ({found[:12]}) is not that of the recipe ({str(known)[:12]})")
    return found


@lru_cache(maxsize=8)  # a sweep changes between a few sets of layers
def _loaded(files: Files, digest: str, layers: tuple[str, ...], pooling: Pooling, dtype: str) -> Backbone:
    """`digest` is that of the trained weights, so that a changed file is loaded again."""
    from raydream.core.networks.backbones import load_backbone

    return load_backbone(files.backbone, layers, weights=files.weights, pooling=pooling, dtype=dtype)


@lru_cache(maxsize=8)
def _channels(files: Files, digest: str) -> dict[str, int]:
    """Layer -> channels; `digest` as for `_loaded`."""
    from raydream.core.networks.backbones import channels_of

    return channels_of(files.backbone, files.weights)


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, mtime: int) -> str:
    """`size` and `mtime` are part of the cache key: a changed file is read again."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _version(url: str) -> str | None:
    """A text that changes when the remote file changes, read once per process; None if it cannot be read."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
        info = fs.info(path)
    except Exception:  # each file system has its own error classes; reading the file will report the problem
        return None
    return _short(repr([info.get(key) for key in _VERSION_KEYS]))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("RAYDREAM_CACHE") or Path.home() / ".cache" / "raydream").expanduser()
