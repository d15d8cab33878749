"""Commands about collections of photographs: images fetch, split, stats."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from raydream.cli import commands, options
from raydream.cli.progress import Progress
from raydream.data.fetch_options import SIZE, FetchOptions
from raydream.errors import UsageError, WorkError

if TYPE_CHECKING:
    from raydream.data.class_stats import ClassStats, Stats
    from raydream.data.collecting import Collection
    from raydream.data.splitting import Plan

app = typer.Typer(no_args_is_help=True, help="Collect photographs into class folders: fetch, split, stats.")


def _fetch(
    make: Callable[..., FetchOptions],
    *,
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="[LIST] OUT", help="LIST: a file of URLs (text, CSV), or `seed`. OUT: the folder for the images."
        ),
    ],
    categories: Annotated[
        str | None, typer.Option(help="ImageNet categories instead of LIST: banjo,tiger or seed. Needs --urls.")
    ] = None,
    urls: Annotated[
        str | None,
        typer.Option(help="ImageNet's list of URLs, for categories: path or URL; with {wnid}, one per category."),
    ] = None,
) -> int:
    """Download the images of a list of URLs into class folders. The same command continues where it stopped."""
    from raydream.data import storage, url_lists, wordnet
    from raydream.data.collecting import Collection

    source, out, categories = _places(places, categories, urls)
    storage.check_writable(storage.join(out, "x"))
    wanted = wordnet.categories(categories) if categories else {}
    collection = Collection(out, make())
    progress = Progress(0)
    progress.phase(f"reading {source}")
    found = url_lists.read_categories(source, wanted) if wanted else url_lists.read_list(source)
    with url_lists.no_entries() as entries, contextlib.closing(progress):
        collection.select(found, entries)
        progress.total = len(entries)
        collection.collect(entries, progress.advance)
    return _report(collection, out, list(dict.fromkeys([*wanted.values(), *entries.labels])))


def _places(places: list[str], categories: str | None, urls: str | None) -> tuple[str, str, str | None]:
    """The list, the output folder, and the categories."""
    from raydream.data.wordnet import LISTS

    if categories is None and len(places) == 2:
        if places[0] not in LISTS:
            if urls:
                raise UsageError(f"--urls belongs to --categories: {places[0]} is itself a list of URLs")
            return places[0], places[1], None
        categories, places = places[0], places[1:]
    if categories is None:
        raise UsageError(f"fetch takes a list and a folder, LIST OUT, not {len(places)} words; or --categories and OUT")
    if len(places) != 1:
        raise UsageError(f"fetch --categories takes one folder, OUT, not {len(places)} words")
    if not urls:
        raise UsageError("--categories needs --urls: ImageNet's list of URLs (docs/images.md says where it comes from)")
    return urls, places[0], categories


def _report(collection: Collection, out: str, classes: list[str]) -> int:
    """Prints the counts; returns the exit status. It raises a `WorkError` if a class has no image."""
    images = sum(collection.images[label] for label in classes)
    later = sum(again for _, again in collection.failures.values())
    print(f"images     {images:,}, of which {collection.new:,} are new")
    if any(classes):
        print(f"classes    {len(classes):,}")
    print(f"failures   {len(collection.failures):,}", end="")
    print(f", of which {later:,} may succeed later: run the same command again" if later else "")
    if empty := [label for label in classes if not collection.images[label]]:
        names = ", ".join(empty[:10]) + (", ..." if len(empty) > 10 else "")
        which = f"of {len(empty):,} of {len(classes):,} classes: {names}" if any(classes) else "of the list"
        raise WorkError(f"no image {which}; {out.rstrip('/')}/failures.csv has the reasons")
    return commands.OK


def split(
    input: Annotated[str, typer.Argument(help="Folder of class folders, or a table (CSV, TSV, Parquet).")],
    output: Annotated[str, typer.Argument(help="Folder for train, validation and test.")],
    shares: Annotated[str, typer.Option(help="Shares of training, validation and test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="Another seed gives another split.")] = 0,
    size: Annotated[int | None, SIZE] = None,
) -> None:
    """Copy labelled images into train, validation and test. The same command continues where it stopped."""
    from raydream.data import splitting, storage

    job = splitting.Job(input=input, output=output, shares=splitting.parse_shares(shares), seed=seed, size=size)
    storage.check_writable(output)
    found = splitting.check(job)
    progress = Progress(2 * len(found.names))  # each image is read to find its place, then copied
    with contextlib.closing(progress):
        plan = splitting.plan(job, found, progress.advance)
        progress.total -= len(plan.unreadable)
        new = splitting.copy(job, plan, progress.advance)
    _print_split(plan, new)


def _print_split(plan: Plan, new: int) -> None:
    from raydream.data.labelled import SPLITS

    for part in SPLITS:
        print(f"{part:<11}{sum(plan.counts[part, name] for name in plan.classes):,}")
    print(f"copied     {new:,}")
    print(f"unreadable {len(plan.unreadable):,}")
    for name, error in plan.unreadable.items():
        print(f"  {commands.one_line(f'{name}: {error}')}")


def stats(
    input: Annotated[str, typer.Argument(help="Folder of class folders, split or not, or a table.")],
) -> None:
    """Show the classes of labelled images: how many, how large, unreadable, duplicates."""
    from raydream.data import class_stats, labelled

    found = labelled.find_labelled(input)
    progress = Progress(len(found.names))
    with contextlib.closing(progress):
        result = class_stats.measure(input, found, progress.advance)
    _print_stats(result)


def _print_stats(result: Stats) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from raydream.data.labelled import SPLITS

    parts = SPLITS if any(result.total.parts) else ("",)
    table = Table(Column("class", overflow="fold"))
    for column in (*(part or "images" for part in parts), "median", "smallest", "MB", "unreadable", "duplicates"):
        table.add_column(column, justify="right")
    for name, one in result.classes.items():
        table.add_row(Text(commands.one_line(name)), *_cells(one, parts))
    table.add_section()
    table.add_row("total", *_cells(result.total, parts))
    # In a file or a pipe, each class is one line, however long its name is.
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
    for warning in result.warnings:
        print(commands.one_line(f"warning: {warning}"))


def _cells(one: ClassStats, parts: tuple[str, ...]) -> list[str]:
    counts = [f"{one.parts[part]:,}" for part in parts]
    sizes = ["" if size is None else f"{size[0]}x{size[1]}" for size in (one.median, one.smallest)]
    return [*counts, *sizes, f"{one.bytes / 1e6:,.1f}", f"{one.unreadable:,}", f"{one.duplicates:,}"]


for command, name, example in (
    (
        options.command(FetchOptions, _fetch),
        "fetch",
        "--categories banjo,tiger photographs --urls fall11_urls.txt --per-class 600",
    ),
    (split, "split", "photographs split --size 299"),
    (stats, "stats", "split"),
):
    app.command(name, epilog=f"Example: raydream images {name} {example}")(command)
