"""The files that a recipe names: found or fetched, with their digests, and loaded as a backbone.

recipe = resolve(recipe)          # on the driver, before any work starts
backbone = load_for(recipe)       # where the work is done, on this machine or another
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import fsspec

from raydream import runtime
from raydream.data import storage
from raydream.data.storage import Folder
from raydream.errors import UsageError
from raydream.recipe import DEFAULT_WEIGHTS, Recipe
from raydream.types import Pooling

if TYPE_CHECKING:
    from raydream.core.networks.backbones import Backbone

# What tells one state of a remote file from another, as fsspec's file systems name it.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "Content-MD5", "Last-Modified", "LastModified", "mtime", "created", "size")


class Files(NamedTuple):
    """The files of a network on this machine.

    Attributes:
        backbone: as `load_backbone` takes it: a name, or the path of a `.keras` or `.npz` file.
        weights: as `load_backbone` takes them; None where the backbone is a file.
        trained: the file that holds the trained weights; the backbone itself if that is a file.
    """

    backbone: str
    weights: str | None
    trained: str


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with nothing left open: with its precision, and the digest of the file of its weights.

    Its files are found or fetched, and its objective is checked against the backbone. RAYDREAM_WEIGHTS, if set, takes
    the place of `weights: imagenet` of inception_v3, unless the recipe has been resolved before: workers use what the
    driver found, and never their own environment.

    Raises:
        UsageError: a file is missing or not the recipe's; the backbone has no such layer or channel.
    """
    recipe, files = _located(recipe)
    runtime.import_tensorflow()
    from raydream.core.networks import backbones

    channels = _channels(files, str(recipe.weights_digest))
    backbones.check_objective(recipe.objective, channels, files.backbone, files.weights)
    return recipe


def load_for(recipe: Recipe, dtype: str | None = None) -> Backbone:
    """The backbone of a recipe, resolved or not, cut at the layers of its objective.

    The last few stay in memory, so that a second call is fast.

    Args:
        recipe: if it has been resolved, the digest of its weights is checked again.
        dtype: in place of the recipe's precision; see `load_backbone`.

    Raises:
        UsageError: as `resolve`, or a file cannot be loaded.
    """
    return load(recipe, dtype)[1]


def load(recipe: Recipe, dtype: str | None = None) -> tuple[Recipe, Backbone]:
    """As `resolve` and `load_for` in one: the resolved recipe and its backbone; the network is built only once."""
    recipe, files = _located(recipe)
    runtime.import_tensorflow()
    from raydream.core.networks import backbones

    numbers = dtype or recipe.precision or "float32"
    backbone = _loaded(files, str(recipe.weights_digest), recipe.objective.layers, recipe.pooling, numbers)
    channels = {layer: backbone.channels(layer) for layer in backbone.layers}
    backbones.check_objective(recipe.objective, channels, files.backbone, files.weights)
    return recipe, backbone


def locate(backbone: str, weights: str | None = None) -> Files:
    """Finds or fetches the files of a network; a download goes to the folder RAYDREAM_CACHE.

    Args:
        backbone: a name, or the path or URL of a `.keras` or `.npz` file.
        weights: of a name: `compact`, `imagenet`, or a path or URL; None for its default.

    Raises:
        UsageError: there is no such network, or its file cannot be fetched.
    """
    from raydream.core.networks import loading

    if "://" in backbone or loading.is_file(backbone):
        path = fetch(backbone, "backbone")
        return Files(path, None, path)
    weights = weights or DEFAULT_WEIGHTS[backbone]
    if weights == "imagenet":  # which Keras downloads
        runtime.import_tensorflow()
    file = loading.weights_file(backbone, fetch(weights, "weights"))
    return Files(backbone, weights if weights == "compact" else file, file)


def named_weights(backbone: str, weights: str | None) -> str | None:
    """The weights to use where `imagenet` is asked for: RAYDREAM_WEIGHTS if it is set, of inception_v3."""
    given = os.environ.get("RAYDREAM_WEIGHTS")
    return storage.absolute(given) if given and (backbone, weights) == ("inception_v3", "imagenet") else weights


def digest(path: str, what: str = "file") -> str:
    """SHA-256 of a file on this machine, as hexadecimal; read again only when its size or time has changed.

    Raises:
        UsageError: it cannot be read; `what` is what it was to be.
    """
    try:
        state = os.stat(path)
        return _sha256(os.path.abspath(path), state.st_size, state.st_mtime_ns)
    except FileNotFoundError as error:
        raise UsageError(f"{what} file {path} does not exist") from error
    except OSError as error:
        raise UsageError(f"{what} file {path} cannot be read: {error.strerror}") from error


def fetch(url: str, what: str = "file") -> str:
    """A local path with the contents of a URL, kept in $RAYDREAM_CACHE; a path is given back as it is.

    A kept copy is used as long as the file behind the URL is the same by its ETag, time or size, or cannot be asked.

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
        raise UsageError(f"{what} {url} cannot be kept: {reason} (see $RAYDREAM_CACHE)") from error
    return str(_cache() / name)


def kept_copies(url: str) -> list[Path]:
    """The local copies of a URL that `fetch` has kept, oldest first."""
    found = [path for path in _cache().glob(f"{_short(url)}-*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _located(recipe: Recipe) -> tuple[Recipe, Files]:
    """The resolved recipe, its objective unchecked, and its files."""
    if recipe.weights_digest is None:
        recipe = recipe.changed(weights=named_weights(recipe.backbone, recipe.weights))
    files = locate(recipe.backbone, recipe.weights)
    found = digest(files.trained, "weights" if files.weights else "backbone")
    if recipe.weights_digest not in (None, found):
        raise UsageError(
            f"the weights of {recipe.backbone} ({found[:12]}) are not "
            f"those of the recipe ({str(recipe.weights_digest)[:12]})"
        )
    return recipe.resolved(found), files


@lru_cache(maxsize=4)
def _loaded(files: Files, digest: str, layers: tuple[str, ...], pooling: Pooling, dtype: str) -> Backbone:
    """`digest` is of the trained weights: a file that has changed is loaded anew."""
    from raydream.core.networks.backbones import load_backbone

    return load_backbone(files.backbone, layers, weights=files.weights, pooling=pooling, dtype=dtype)


@lru_cache(maxsize=8)
def _channels(files: Files, digest: str) -> dict[str, int]:
    """Layer -> channels; `digest` as for `_loaded`."""
    from raydream.core.networks.backbones import channels_of

    return channels_of(files.backbone, files.weights)


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, mtime: int) -> str:
    """`size` and `mtime` tell one state of the file from another."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _version(url: str) -> str | None:
    """What tells the present file behind a URL from others, asked once per process; None if it cannot be asked."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
        info = fs.info(path)
    except Exception:  # each file system has its own errors; reading the file will say what is wrong
        return None
    return _short(repr([info.get(key) for key in _VERSION_KEYS]))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("RAYDREAM_CACHE") or Path.home() / ".cache" / "raydream").expanduser()
