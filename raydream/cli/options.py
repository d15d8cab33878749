"""Options of a command line from the fields of a frozen dataclass: names, types, defaults, ranges and help.

@dataclass(frozen=True, kw_only=True)
class Job:
    input: Annotated[str, typer.Option(help="Folder of photographs.")]
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first N images.")] = None

app.command()(options.command(Job, main))   # `main` is called with a function that makes the `Job`
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
        help="YAML file of these options; the command line comes before it.",
    ),
]


def command(kind: type, work: Callable[..., int], positional: Sequence[str] = ()) -> Callable[..., int]:
    """A function for Typer whose options are the fields of a dataclass, and the further parameters of `work`.

    Args:
        kind: a dataclass. Fields annotated with a `typer.Option` are options; its module must not postpone the
            evaluation of annotations. A tuple is given as values with commas between them.
        work: called with a function that makes a `kind` (its own parameters are the fields that are no options), then
            with the values of its other parameters, which are declared as Typer wants them. Its docstring is the help.
        positional: fields that are arguments, in this order, and not options.

    Returns:
        The function; it has a `--config FILE` option, too.
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
    """The parameter that Typer makes an option or an argument of."""
    kind, option = get_args(field.type)
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    if get_origin(kind) is tuple:
        # Typer's own tuples take their values as several words, and of one length only.
        option = copy(option)
        option.parser = partial(_values, kind)
        kind, default = str, inspect.Parameter.empty if default is inspect.Parameter.empty else None
    if positional:
        option = typer.Argument(help=option.help, metavar=field.name.upper())
    annotation = Annotated[kind, option]  # type: ignore[valid-type]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _values(kind: GenericAlias, given: str | int | float) -> tuple[Any, ...]:
    """`1,8` as a tuple of the kind's values; where it wants several, a single value stands for all of them.

    Raises:
        typer.BadParameter: another number of values, or one of another type.
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
        names = ",".join(to.__name__ for to in wanted)
        raise typer.BadParameter(f"{text!r} is not {names}") from None
