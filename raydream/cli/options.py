"""Makes the options of a command line (names, types, defaults, ranges, help) from the fields of a frozen dataclass.

@dataclass(frozen=True, kw_only=True)
class Job:
    input: Annotated[str, typer.Option(help="Folder of photographs.")]
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N images.")] = None

app.command()(options.command(Job, main))   # `main` gets a function that makes the `Job`
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import MISSING, Field, fields
from functools import partial
from types import GenericAlias
from typing import Annotated, Any, get_args, get_origin

import typer

from raydream.cli import commands

Config = Annotated[
    str | None,
    typer.Option(
        is_eager=True,
        callback=commands.options_from,
        metavar="FILE",
        help="YAML file with these options. The command line overrides it.",
    ),
]


def command(kind: type, work: Callable[..., int], positional: Sequence[str] = ()) -> Callable[..., int]:
    """A function for Typer whose options are the fields of a dataclass and the other parameters of `work`.

    Args:
        kind: a dataclass. Fields annotated with a `typer.Option` become options. Its module must not postpone the
            evaluation of annotations. On the command line, a tuple is values separated by commas.
        work: the command. Its first argument is a function that makes a `kind` (its parameters are the fields that are
            not options). Its other parameters are options, declared for Typer. Its docstring is the help.
        positional: fields that become arguments, in this order, instead of options.

    Returns:
        The function; it also has the option `--config FILE`.
    """
    options = {field.name: field for field in fields(kind) if get_origin(field.type) is Annotated}
    _, *further = inspect.signature(work, eval_str=True).parameters.values()
    names = [*positional, *(name for name in options if name not in positional)]
    parameters = [_parameter(options[name], name in positional) for name in names]
    config = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config)

    def run(**values: Any) -> int:
        values.pop("config")
        given = {name: value for name in options if (value := values.pop(name)) is not None}
        return work(lambda **rest: kind(**given, **rest), **values)

    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*parameters, *further)]
    run.__signature__ = inspect.Signature([*keyword_only, config])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*keyword_only, config)}
    run.__doc__ = inspect.getdoc(work)
    return run


def _parameter(field: Field[Any], positional: bool) -> inspect.Parameter:
    """The parameter from which Typer makes an option or an argument."""
    kind, option = get_args(field.type)
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    if get_origin(kind) is tuple:
        # Typer's own tuples have a fixed length, and are given as several words.
        option = copy(option)
        option.parser = partial(_values, kind)
        kind, default = str, inspect.Parameter.empty if default is inspect.Parameter.empty else None
    if positional:
        option = typer.Argument(help=option.help, metavar=field.name.upper())
    annotation = Annotated[kind, option]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _values(kind: GenericAlias, given: str | int | float) -> tuple[Any, ...]:
    """Parses `1,8` as a tuple of type `kind`. If `kind` has several values, one given value is used for all of them.

    Raises:
        typer.BadParameter: wrong number or type of values.
    """
    wanted = get_args(kind)
    text = str(given)  # a file of options may hold a number
    parts = [part for part in text.replace(" ", "").split(",") if part]
    if Ellipsis in wanted:
        wanted = wanted[:1] * len(parts)
    elif len(parts) == 1:
        parts *= len(wanted)
    try:
        return tuple(to(part) for to, part in zip(wanted, parts, strict=True))
    except ValueError:
        names = {int: "whole numbers", float: "numbers"}.get(wanted[0], "words")
        raise typer.BadParameter(f"{text!r} must be {len(wanted)} {names} with commas between them") from None
