"""assets: what a recipe names becomes files with digests, once, and nothing but those files is used."""

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydream import assets
from raydream.core.networks import backbones, loading
from raydream.data import storage
from raydream.errors import UsageError
from raydream.recipe import Recipe
from tests.conftest import tiny_network


class Server(http.server.ThreadingHTTPServer):
    """Serves `data` with its `etag` at every path but those with `none` in them, and counts whole downloads."""

    data, etag, gets = b"network", "1", 0


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.send_response(404 if "none" in self.path else 200)
        self.send_header("Content-Length", str(len(self.server.data)))
        self.send_header("ETag", self.server.etag)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.gets += 1
        self.do_HEAD()
        self.wfile.write(self.server.data)

    def log_message(self, *_: object) -> None:
        """Not to stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on this machine."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$RAYDREAM_CACHE: a folder that does not exist yet."""
    monkeypatch.setenv("RAYDREAM_CACHE", str(tmp_path / "ca::che"))
    return tmp_path / "ca::che"


def refusal(error: pytest.ExceptionInfo[UsageError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- fetch


def test_a_path_is_given_back_as_it_is(cache: Path) -> None:
    assert assets.fetch("some/where::x.keras") == "some/where::x.keras"
    assert not cache.exists()


def test_a_url_is_fetched_once_as_long_as_its_file_is_the_same(server: Server, cache: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/nets/tiny.keras?version=1&download=true"
    path = assets.fetch(url)
    assert Path(path).parent == cache
    assert path.endswith(".keras")  # which tells the kind of file
    assert Path(path).read_bytes() == b"network"
    assert assets.fetch(url) == path
    assets._version.cache_clear()  # as in another process
    assert assets.fetch(url) == path
    assert server.gets == 1
    server.data, server.etag = b"changed", "2"
    assets._version.cache_clear()
    assert Path(assets.fetch(url)).read_bytes() == b"changed"
    assert len(assets.kept_copies(url)) == 2
    assert Path(assets.fetch(url.replace("version=1", "version=2"))).parent == cache
    assert server.gets == 3


def test_without_a_network_the_last_copy_is_used(server: Server, cache: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/tiny.keras"
    path = assets.fetch(url)
    assets._version.cache_clear()
    server.shutdown()
    server.server_close()
    assert assets.fetch(url) == path


def test_nothing_is_kept_of_what_failed(server: Server, cache: Path) -> None:
    with pytest.raises(UsageError) as error:
        assets.fetch(f"http://127.0.0.1:{server.server_port}/none.keras", what="backbone")
    assert refusal(error).startswith("backbone http://127.0.0.1")
    with pytest.raises(UsageError, match=r"keras does not exist"):
        assets.fetch("memory://none.keras")
    assert not cache.exists()


def test_a_cache_that_is_no_folder_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAYDREAM_CACHE", str(tmp_path / "file"))
    storage.write("memory://assets/x.keras", b"1")
    with pytest.raises(UsageError) as error:
        assets.fetch("memory://assets/x.keras")
    assert "$RAYDREAM_CACHE" in refusal(error)


def test_very_long_names_are_shortened(cache: Path) -> None:
    url = f"memory://assets/{'x' * 300}.keras"
    storage.write(url, b"long")
    assert Path(assets.fetch(url)).read_bytes() == b"long"
    assert assets.fetch(url).endswith("x.keras")


# ---- digests


def test_the_digest_is_of_the_file_and_read_again_only_when_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    first = assets.digest(str(path))
    assert first == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    reads = assets._sha256.cache_info().misses
    monkeypatch.chdir(tmp_path)
    assert assets.digest("x") == first
    assert assets._sha256.cache_info().misses == reads
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert assets.digest("x") != first


def test_a_file_without_a_digest_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^weights file none does not exist$"):
        assets.digest("none", "weights")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        assets.digest(str(tmp_path))


# ---- resolve


def test_a_resolved_recipe_has_the_digest_of_its_backbones_file(tiny_path: str) -> None:
    recipe = Recipe(backbone=tiny_path, objective="high")
    resolved = assets.resolve(recipe)
    assert resolved == recipe.resolved(assets.digest(tiny_path))
    assert assets.resolve(resolved) == resolved


def test_the_shipped_weights_have_the_digest_of_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(assets.__file__).with_name("weights") / "inception_v3.npz"
    _, files = assets._located(Recipe())
    assert (files.backbone, files.weights) == ("inception_v3", "compact")
    assert assets.digest(files.trained) == assets.digest(str(path))


def test_resolving_folds_no_network(tiny_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copy(tiny_path, tmp_path / "copy.keras")
    monkeypatch.setattr(backbones, "folded", None)
    assert assets.resolve(Recipe(backbone=str(copy), objective="high")).weights_digest


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("hihg", "has no layer 'hihg': did you mean 'high'?"),
        ({"layer": "high", "channels": [8]}, "layer 'high' has channels 0 to 7, not (8,)"),
    ],
)
@pytest.mark.parametrize("work", [assets.resolve, assets.load])
def test_an_objective_that_the_backbone_has_not_is_refused(
    work: object, objective: object, said: str, tiny_path: str
) -> None:
    recipe = Recipe(backbone=tiny_path, objective=objective)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as error:
        work(recipe)  # type: ignore[operator]
    assert said in refusal(error)


@pytest.mark.parametrize("work", [assets.resolve, assets.load_for])
def test_weights_that_are_not_the_recipes_are_refused(work: object, tiny_path: str) -> None:
    recipe = Recipe(backbone=tiny_path, objective="high", weights_digest="0" * 64)
    with pytest.raises(UsageError) as error:
        work(recipe)  # type: ignore[operator]
    assert refusal(error) == (
        f"the weights of {tiny_path} ({assets.digest(tiny_path)[:12]}) are not those of the recipe ({'0' * 12})"
    )


def test_a_file_that_changes_after_its_recipe_was_resolved_is_refused(tiny_path: str, tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    shutil.copy(tiny_path, path)
    resolved = assets.resolve(Recipe(backbone=str(path), objective="high"))
    assets.load_for(resolved)
    tiny_network(positive=True).save(path)
    with pytest.raises(UsageError, match="are not those of the recipe"):
        assets.load_for(resolved)


def test_the_drivers_environment_goes_into_the_recipe_and_the_workers_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, keras = tmp_path / "mine.h5", tmp_path / "keras.h5"
    mine.write_bytes(b"mine")
    keras.write_bytes(b"keras")
    monkeypatch.setattr(loading, "_downloaded", lambda name: str(keras))
    recipe = Recipe(weights="imagenet")
    monkeypatch.delenv("RAYDREAM_WEIGHTS", raising=False)
    plain, files = assets._located(recipe)
    assert (plain.weights, files.weights, plain.weights_digest) == ("imagenet", str(keras), assets.digest(str(keras)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYDREAM_WEIGHTS", "mine.h5")
    resolved, files = assets._located(recipe)
    assert (resolved.weights, files.weights) == (str(mine), str(mine))
    assert resolved.weights_digest == assets.digest(str(mine))
    monkeypatch.delenv("RAYDREAM_WEIGHTS")
    assert assets._located(resolved) == (resolved, files)
    monkeypatch.setenv("RAYDREAM_WEIGHTS", "other.h5")
    assert assets._located(plain)[0] == plain
    assert assets._located(Recipe())[0].weights == "compact"
    assert assets.named_weights("vgg16", "imagenet") == "imagenet"


# ---- loading


def test_a_backbone_is_cut_at_the_objectives_layers_and_kept(tiny_path: str) -> None:
    recipe = Recipe(backbone=tiny_path, objective=["mix", {"layer": "low", "kind": "l2"}, "mix"])  # type: ignore[arg-type]
    resolved, backbone = assets.load(recipe)
    assert backbone.layers == ("mix", "low")
    assert assets.load_for(recipe) is backbone
    assert assets.load_for(resolved.changed(steps=3)) is backbone
    assert assets.load_for(recipe.changed(pooling="average")) is not backbone


def test_a_recipes_precision_is_the_networks(tiny_path: str) -> None:
    recipe = Recipe(backbone=tiny_path, objective="high", precision="bfloat16")  # type: ignore[arg-type]
    half = assets.load_for(recipe)
    assert str(half.values[0].dtype) == "bfloat16"
    assert assets.load_for(recipe, "float64").dtype == "float64"


def test_a_backbone_may_be_behind_a_url(tiny_path: str, cache: Path) -> None:
    url = "memory://assets-load/net.keras"
    storage.write(url, Path(tiny_path).read_bytes())
    resolved, backbone = assets.load(Recipe(backbone=url, objective="high"))  # type: ignore[arg-type]
    assert resolved.backbone == url
    assert resolved.weights_digest == assets.digest(tiny_path)
    assert Path(backbone.name).parent == cache
