"""`raydream ...`: dream pictures now, look at what there is, look at data sets."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydream import __version__, runtime
from raydream.cli import commands
from raydream.errors import UsageError

if TYPE_CHECKING:
    from raydream.core.networks.backbones import Backbone
    from raydream.recipe import Recipe

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turn photographs into Deep Dreams. Whole folders: python -m raydream.jobs.dream_dataset --help",
)

_PAINTED = (683, 512)  # pixels: the short side that the presets dream at

Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe.")]


def main() -> None:
    """The `raydream` command."""
    commands.run(app, "raydream")


def _complete_recipe(start: str) -> list[str]:
    from raydream.recipe import presets

    return [name for name in presets() if name.startswith(start)]


@app.command(epilog="Example: raydream dream cat.jpg -o cat-dream.png --recipe classic")
def dream(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Photographs: paths or URLs.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="A picture's name (.png, .jpg, .webp), or a folder.")
    ] = ".",
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="A preset or a .yaml file.", autocompletion=_complete_recipe)
    ] = "classic",
    set: Set = None,
) -> int:
    """Dream photographs. A broken one is reported and costs the others nothing (exit status 1)."""
    from raydream.data import storage
    from raydream.recipe import Recipe

    targets = _targets(images, output)
    for target in targets.values():
        storage.check_writable(target)
    if len(images) == 1:
        storage.read(images[0], what="image")  # before the network is loaded
    asked = Recipe.load(recipe, commands.changes(set or []))
    chosen, backbone = _loaded(asked)
    if asked.precision is None:
        runtime.suggest_bfloat16(gpu=_gpu())
    failed = 0
    for source, target in targets.items():
        try:
            _dream_one(source, target, chosen, backbone)
        except UsageError as error:
            print(" ".join(f"raydream: {source}: {error}".split()), file=sys.stderr)
            failed += 1
    return commands.FAILED if failed else commands.OK


def _targets(images: list[str], output: str) -> dict[str, str]:
    """image -> the picture to write; never one of the images."""
    sources = {Path(image).resolve() for image in images}
    if PurePosixPath(output).suffix and not output.endswith("/") and not Path(output).is_dir():
        _picture_format(output)
        if len(images) > 1:
            raise UsageError(f"-o {output} is one picture for {len(images)} images: name a folder")
        if Path(output).resolve() in sources:
            raise UsageError(f"-o {output} is the photograph itself")
        return {images[0]: output}
    folder = os.path.join(output, "").removeprefix("./")
    targets: dict[str, str] = {}
    for image in dict.fromkeys(images):
        stem = f"{folder}{PurePosixPath(image).stem}-dream"
        names = (f"{stem}{number}.png" for number in ("", *(f"-{n}" for n in range(2, 2 * len(images) + 2))))
        free = (name for name in names if name not in targets.values() and Path(name).resolve() not in sources)
        targets[image] = next(free)
    return targets


def _picture_format(target: str) -> Any:
    from raydream.data import codec

    if (ending := PurePosixPath(target).suffix.lower()) not in codec.FORMATS:
        raise UsageError(f"-o {target}: pictures end in {', '.join(codec.FORMATS)}")
    return codec.FORMATS[ending]


def _loaded(recipe: Recipe) -> tuple[Recipe, Backbone]:
    """The recipe with its weights' digest, and its backbone."""
    from raydream import assets
    from raydream.core.networks.backbones import load_for

    commands.import_tensorflow_quietly()
    backbone = load_for(assets.with_local_files(recipe))
    return recipe.resolved(backbone.digest), backbone


def _gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _dream_one(source: str, target: str, recipe: Recipe, backbone: Backbone) -> None:
    from raydream.data import provenance, storage

    data = storage.read(source, what="image")
    id = PurePosixPath(source).name
    seed = recipe.seed_of(id)
    result = _with_progress(_decoded(data, recipe.size), recipe, backbone, seed, id)
    _write(target, result, provenance.inside(recipe, id, seed, hashlib.sha256(data).hexdigest()))
    print(target)


def _write(target: str, image: Any, inside: dict[str, Any]) -> None:
    from raydream.data import codec, storage

    try:
        picture = codec.encode(image, _picture_format(target), inside)
    except ValueError as error:
        raise UsageError(f"{target}: {error}") from error
    storage.write(target, picture)


def _decoded(data: bytes, size: Any = None) -> Any:
    from raydream.data import codec

    try:
        return codec.fit(codec.decode(data), size)
    except (ValueError, MemoryError) as error:
        raise UsageError(str(error) or "not enough memory") from error


def _with_progress(image: Any, recipe: Recipe, backbone: Backbone, seed: int, title: str) -> Any:
    """Dreams one image, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from raydream.core import engine

    sizes = engine.usable_sizes(image.shape[0], image.shape[1], recipe, backbone)
    pixels = sum(h * w * recipe.steps_of(i, len(sizes)) for i, (h, w) in enumerate(sizes))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    step = None
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=pixels)
        for step in engine.dream_steps(image[None], recipe, backbone, [seed]):
            height, width = step.size
            objective = step.objective[0]
            text = f"{title}  octave {step.octave + 1}/{step.octaves} {width}x{height}  {objective:.3g}"
            bar.update(task, advance=height * width, description=text)
    assert step is not None
    return step.images[0]


@app.command(epilog="Example: raydream layers inception_v3")
def layers(
    backbone: Annotated[str, typer.Argument(help="inception_v3, vgg16, vgg19, or a .keras or .npz file.")],
    weights: Annotated[
        str | None, typer.Option(help="compact, imagenet or a weights file. Default: as in a recipe.")
    ] = None,
) -> None:
    """List the layers of a backbone that can be dreamed of."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from raydream.core.networks import backbones
    from raydream.data import storage

    commands.import_tensorflow_quietly()
    table = Table("layer", "channels", "stride", "sees", title=Text(backbone))
    weights = weights and storage.fetch(weights, "weights")
    for name, channels, field in backbones.describe(storage.fetch(backbone, "backbone"), weights):
        table.add_row(Text(name), str(channels), f"{field.stride} px", f"{field.width} px")
    Console().print(table)


@app.command(epilog="Example: raydream recipes")
def recipes() -> None:
    """List the recipes that come with raydream."""
    from importlib import resources

    from rich.console import Console

    from raydream.recipe import presets

    console = Console()
    for name in presets():
        text = (resources.files("raydream") / "recipes" / f"{name}.yaml").read_text()
        head = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
        console.print(f"[bold]{name}[/]")
        console.print(f"  {' '.join(head)}\n", highlight=False, markup=False)


@app.command(epilog="Example: raydream inspect dreams")
def inspect(output: Annotated[str, typer.Argument(help="Folder or URL of a data set.")]) -> None:
    """Say what a data set holds, how far it is, and what failed."""
    from collections import Counter

    from raydream.data.marks import marked, read_marks
    from raydream.data.plan import stored_plan
    from raydream.data.storage import Folder

    out = Folder(output)
    plan = stored_plan(out)
    marks = read_marks(out, marked(out))
    print(f"input      {plan.job.input}")
    print(f"shards     {len(marks):,} of {plan.shards:,} done")
    print(f"images     {sum(m.images for m in marks):,} dreamed of {plan.images:,}")
    print(f"settings   {json.dumps(plan.job.decisive())}")
    reasons = Counter((f.stage, f.error) for m in marks for f in m.failures)
    print(f"failures   {sum(reasons.values()):,}")
    for (stage, error), count in reasons.most_common(20):
        print(f"  {count:>6,} x {stage}: {error}")


@app.command(epilog="Example: raydream gallery dreams --rows 200")
def gallery(
    output: Annotated[str, typer.Argument(help="Folder or URL of a data set.")],
    rows: Annotated[int, typer.Option(min=1, help="Most dreams to show, evenly spread.")] = 500,
) -> None:
    """Write the gallery page of a data set, finished or not, again."""
    from raydream.data.plan import stored_plan
    from raydream.data.storage import Folder
    from raydream.pages import exhibits

    out = Folder(output)
    exhibits.write_gallery(out, stored_plan(out), rows=rows)
    print(f"{output.rstrip('/')}/index.html")


@app.command(epilog="Example: raydream replay cat-dream.png --source cat.jpg")
def replay(
    image: Annotated[str, typer.Argument(help="A dream made by raydream.")],
    source: Annotated[
        str | None, typer.Option(help="Its photograph, or the input folder. Default: beside the dream.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write the picture here.")] = None,
    set: Set = None,
) -> int:
    """Make a dream again from what is inside it and its photograph, and compare (exit status 1 if it differs)."""
    import numpy as np

    from raydream.data import codec, provenance, storage
    from raydream.recipe import Recipe

    if output:
        _picture_format(output)
    data = storage.read(image, what="dream")
    inside = provenance.found_inside(data, image)
    recipe = Recipe.parse(inside["recipe"], commands.changes(set or []), where="recipe inside")
    before = codec.to_uint8(_decoded(data))
    photograph = provenance.photograph(image, source, inside)
    recipe, backbone = _loaded(recipe)
    seed = recipe.seed_of(inside["id"]) if set else inside["seed"]
    result = _with_progress(_decoded(photograph, recipe.size), recipe, backbone, seed, inside["id"])
    known = provenance.inside(recipe, inside["id"], seed, inside["source_sha256"])
    if output:
        _write(output, result, known)
    # What a JPEG or WebP loses, the other must have lost too.
    format: Any = "png" if data.startswith(b"\x89PNG") else "webp" if data[8:12] == b"WEBP" else "jpeg"
    again = codec.to_uint8(_decoded(codec.encode(result, format, known)))
    if before.shape != again.shape:
        print(f"differs: {before.shape[1]}x{before.shape[0]} then, {again.shape[1]}x{again.shape[0]} now")
        return commands.FAILED
    apart = np.abs(before.astype(int) - again)
    print("identical" if not apart.any() else f"differs by {apart.mean():.2f} of 255, at most {apart.max()}")
    return commands.FAILED if apart.any() else commands.OK


@app.command(epilog="Example: raydream scenery landscapes --count 24")
def scenery(
    output: Annotated[str, typer.Argument(help="Folder for the pictures.")],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Paint skies and landscapes to dream on, in class folders; no photographs needed."""
    from raydream.data import codec, scenery, storage

    folder = storage.Folder(output)
    for name, image in scenery.collection(count, seed, *_PAINTED):
        folder.write(name, codec.encode(image))
    print(output)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
