"""`raydream ...`: dream pictures now, look at what there is, look at data sets."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydream import __version__, commands
from raydream.errors import UsageError

if TYPE_CHECKING:
    from raydream.backbones import Backbone
    from raydream.recipe import Recipe

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    help="Turn photographs into Deep Dreams. Whole folders: python -m raydream.jobs.dream_dataset --help",
)

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe."),
]


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
        str,
        typer.Option("--output", "-o", help="A picture's name (.png, .jpg, .webp), or a folder."),
    ] = ".",
    recipe: Annotated[
        str,
        typer.Option("--recipe", "-r", help="A preset or a .yaml file.", autocompletion=_complete_recipe),
    ] = "classic",
    set: Set = None,
) -> int:
    """Dream photographs. A broken one is reported and costs the others nothing (exit status 1)."""
    from raydream.recipe import Recipe

    targets = _targets(images, output)
    chosen = Recipe.load(recipe, commands.changes(set or []))
    chosen, backbone = _loaded(chosen)
    failed = 0
    for source, target in targets.items():
        try:
            _dream_one(source, target, chosen, backbone)
        except UsageError as error:
            print(f"raydream: {source}: {error}", file=sys.stderr)
            failed += 1
    return commands.FAILED if failed else commands.OK


def _targets(images: list[str], output: str) -> dict[str, Path]:
    """image -> the picture to write."""
    from raydream import codec

    if PurePosixPath(output).suffix.lower() in codec.FORMATS:
        if len(images) > 1:
            raise UsageError(f"-o {output} is one picture for {len(images)} images: name a folder")
        return {images[0]: Path(output)}
    if PurePosixPath(output).suffix and not Path(output).is_dir():
        raise UsageError(f"-o {output}: pictures end in {', '.join(codec.FORMATS)}")
    targets: dict[str, Path] = {}
    for image in images:
        stem = f"{PurePosixPath(image).stem}-dream"
        target = Path(output) / f"{stem}.png"
        number = 2
        while target in targets.values():
            target = Path(output) / f"{stem}-{number}.png"
            number += 1
        targets[image] = target
    return targets


def _loaded(recipe: Recipe) -> tuple[Recipe, Backbone]:
    """The recipe with its weights' digest, and its backbone."""
    from raydream import storage
    from raydream.backbones import load_for

    commands.import_tensorflow_quietly()
    backbone = load_for(storage.with_local_files(recipe))
    return recipe.changed(weights_digest=backbone.digest), backbone


def _dream_one(source: str, target: Path, recipe: Recipe, backbone: Backbone) -> None:
    from raydream import cards, codec, storage

    data = storage.read(source, what="image")
    id = PurePosixPath(source).name
    image = _decoded(data, recipe)
    seed = recipe.seed_of(id)
    result = _with_progress(image, recipe, backbone, seed, id)
    inside = cards.inside(recipe, id, seed, hashlib.sha256(data).hexdigest())
    picture = codec.encode(result, codec.FORMATS[target.suffix.lower()], inside)
    try:
        storage.Folder(str(target.parent)).write(target.name, picture)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}") from error
    print(target)


def _decoded(data: bytes, recipe: Recipe) -> Any:
    from raydream import codec

    try:
        return codec.fit(codec.decode(data), recipe.size)
    except codec.UnreadableImage as error:
        raise UsageError(str(error)) from error


def _with_progress(image: Any, recipe: Recipe, backbone: Backbone, seed: int, title: str) -> Any:
    """Dreams one image, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from raydream import engine

    sizes = engine.usable_sizes(image.shape[0], image.shape[1], recipe, backbone)
    pixels = sum(h * w * recipe.steps_of(i, len(sizes)) for i, (h, w) in enumerate(sizes))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
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
    backbone: Annotated[str, typer.Argument(help="inception_v3, vgg16, vgg19 or a .keras file.")],
) -> None:
    """List the layers of a backbone that can be dreamed of."""
    from rich.console import Console
    from rich.table import Table

    from raydream import backbones, storage

    commands.import_tensorflow_quietly()
    table = Table("layer", "channels", "stride", "sees", title=backbone)
    for name, channels, field in backbones.describe(storage.fetch(backbone, "backbone")):
        table.add_row(name, str(channels), f"{field.stride} px", f"{field.width} px")
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
        console.print(f"  {' '.join(head)}\n", highlight=False)


@app.command(epilog="Example: raydream inspect dreams")
def inspect(output: Annotated[str, typer.Argument(help="Folder or URL of a data set.")]) -> None:
    """Say what a data set holds, how far it is, and what failed."""
    from collections import Counter

    from raydream import dataset
    from raydream.storage import Folder

    out = Folder(output)
    plan = dataset.stored_plan(out)
    marks = dataset.marks(out)
    print(f"input      {plan.input}")
    print(f"shards     {len(marks):,} of {len(plan.shards):,} done")
    print(f"images     {sum(len(m.rows) for m in marks):,} dreamed of {len(plan.ids):,}")
    print(f"settings   {json.dumps(plan.settings)}")
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
    from raydream import dataset
    from raydream.storage import Folder

    out = Folder(output)
    dataset.write_gallery(out, dataset.stored_plan(out), rows)
    print(f"{output.rstrip('/')}/index.html")


@app.command(epilog="Example: raydream replay cat-dream.png --source cat.jpg")
def replay(
    image: Annotated[str, typer.Argument(help="A dream made by raydream.")],
    source: Annotated[
        str | None,
        typer.Option(help="Its photograph, or the input folder. Default: beside the dream."),
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Write the picture here.")] = None,
    set: Set = None,
) -> int:
    """Make a dream again from what is inside it and its photograph, and compare (exit status 1 if it differs)."""
    import numpy as np

    from raydream import codec, storage
    from raydream.recipe import Recipe

    data = storage.read(image, what="dream")
    inside: Any = codec.read_metadata(data)
    if inside is None or "recipe" not in inside:
        raise UsageError(f"{image} has no recipe inside: it was not made by raydream, or lost it")
    if inside.get("dreamer"):
        raise UsageError(f"{image} was made by the dreamer {inside['dreamer']}, not by its recipe")
    recipe = Recipe.parse({**inside["recipe"], **commands.changes(set or [])}, where="recipe inside")
    photograph = _source(image, source, inside)
    recipe, backbone = _loaded(recipe)
    result = _with_progress(_decoded(photograph, recipe), recipe, backbone, inside["seed"], inside["id"])
    again = codec.to_uint8(result)
    if output:
        target = Path(output)
        picture = codec.encode(again, codec.FORMATS.get(target.suffix.lower(), "png"), inside)
        storage.Folder(str(target.parent)).write(target.name, picture)
    before = codec.to_uint8(codec.decode(data))
    if before.shape != again.shape:
        print(f"differs: {before.shape[1]}x{before.shape[0]} then, {again.shape[1]}x{again.shape[0]} now")
        return commands.FAILED
    apart = np.abs(before.astype(int) - again)
    print("identical" if not apart.any() else f"differs by {apart.mean():.2f} of 255, at most {apart.max()}")
    return commands.FAILED if apart.any() else commands.OK


def _source(image: str, source: str | None, inside: dict[str, Any]) -> bytes:
    """The bytes of a dream's photograph, checked against the digest inside the dream."""
    from raydream import storage

    place = source or str(PurePosixPath(image).parent)
    if "://" not in place and Path(place).is_file():
        data = storage.read(place, what="photograph")
    else:
        data = storage.read(f"{place.rstrip('/')}/{inside['id']}", what="photograph")
    if hashlib.sha256(data).hexdigest() != inside["source_sha256"]:
        raise UsageError(f"{place} is not the photograph {inside['id']} that was dreamed: its digest differs")
    return data


@app.command(epilog="Example: raydream scenery landscapes --count 24")
def scenery(
    output: Annotated[str, typer.Argument(help="Folder for the pictures.")],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 12,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Paint skies and landscapes to dream on, in class folders; no photographs needed."""
    from raydream import codec, scenery, storage

    folder = storage.Folder(output)
    for name, image in scenery.collection(count, seed):
        folder.write(name, codec.encode(image))
    print(output)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
