"""Prepares a sweep: checks its settings, its recipes and its probe images before anything starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raydream import assets, runtime
from raydream.core import metrics
from raydream.core.trade_off import TradeOff
from raydream.data import codec, spaces, storage
from raydream.data.inputs import list_input
from raydream.data.spaces import Range
from raydream.data.storage import Folder
from raydream.data.trials import Swept
from raydream.errors import UsageError
from raydream.extras import imported
from raydream.jobs.dreaming.prepare import check_places, with_absolute_paths
from raydream.jobs.sweeping.job import Sweep
from raydream.recipe import Recipe

TRIALS = 24


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the driver and the workers know of a sweep.

    Attributes:
        sweep: the settings, with absolute paths.
        trials: number of trials.
        probes: ids of the probe images.
        digest: SHA-256 of the probe images.
        network: digest of a recipe of the space, resolved, so that the same network is used when a sweep continues.
        judge: the recipe whose network measures the transfer; None if there is none.
        metric: the trade-off.
    """

    sweep: Sweep
    trials: int
    probes: tuple[str, ...]
    digest: str
    network: str
    judge: Recipe | None
    metric: TradeOff

    @property
    def swept(self) -> Swept:
        """What is stored of the sweep."""
        sweep = self.sweep
        return Swept(
            input=sweep.input,
            probes=self.probes,
            trials=self.trials,
            search=sweep.search,
            metric=sweep.metric,
            base=sweep.base.as_dict(),
            space=sweep.space.plain(),
            transfer=sweep.transfer,
        )

    def decisive(self) -> dict[str, Any]:
        """The settings that change the trials. A sweep cannot be continued with other values."""
        sweep = self.sweep
        known = {key: getattr(sweep, key) for key in ("input", "probes", "search", "asha", "seed", "transfer")}
        adaptive = {key: getattr(sweep, key) for key in ("metric", "reduction") if sweep.adaptive}
        digests = {"recipe of digest": self.network[:12], "probe images of digest": self.digest[:12]}
        space = sweep.space.plain()  # the order of its keys counts: the random numbers and combinations follow it
        return {**known, **digests, "space": space, "keys of the space": list(space), **adaptive}

    def recipe_of(self, parameters: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial; raises a `UsageError` if its parameters are invalid."""
        return _recipe(self.sweep, parameters)


def _recipe(sweep: Sweep, parameters: Mapping[str, Any]) -> Recipe:
    return with_absolute_paths(spaces.recipe_with(sweep.base, parameters))


def _first(sweep: Sweep) -> Recipe:
    """The first recipe of the space, resolved. The base alone may lack what the space has, such as a guide."""
    return assets.resolve(_recipe(sweep, next(sweep.space.examples())))


def prepare(sweep: Sweep) -> Plan:
    """Checks everything that can be wrong with a sweep.

    Raises:
        UsageError: an option, a key or value of the space, a recipe or a probe image cannot be used.
    """
    if sweep.search == "optuna":
        imported("optuna", "--search optuna", extra="sweep")
    judge = _judge(sweep.transfer)
    names = [name for name in metrics.NAMES if judge or name != "transfer"]
    metric = TradeOff.parse(sweep.metric, names)
    trials = _trials(sweep)
    base = with_absolute_paths(sweep.base)
    sweep = replace(sweep, input=storage.absolute(sweep.input), output=storage.absolute(sweep.output), base=base)
    check_places(sweep.input, sweep.output)
    probes, digest = _probes(sweep)
    runtime.driver()
    judge, network = judge and assets.resolve(judge), _first(sweep).digest
    plan = Plan(sweep=sweep, trials=trials, probes=probes, digest=digest, network=network, judge=judge, metric=metric)
    _check_recipes(plan)
    return plan


def _judge(transfer: str | None) -> Recipe | None:
    """The recipe of the network that measures, from `NETWORK:LAYER+LAYER`."""
    if transfer is None:
        return None
    network, colon, layers = transfer.rpartition(":")
    if not colon or not layers or "/" in layers:
        raise UsageError(f"--transfer {transfer}: must be NETWORK:LAYERS, such as vgg16:block4_conv3+block5_conv3")
    return with_absolute_paths(Recipe.parse({"backbone": network, "objective": layers.split("+")}, where="--transfer"))


def _trials(sweep: Sweep) -> int:
    """The number of trials."""
    if sweep.search != "grid":
        return sweep.trials or TRIALS
    ranges = [key for key, values in sweep.space.keys if isinstance(values, Range)]
    if ranges:
        raise UsageError(f"space: {ranges[0]} is a range, which a grid cannot have: list its values as grid: [...]")
    return min(sweep.trials or sweep.space.combinations, sweep.space.combinations)


def _probes(sweep: Sweep) -> tuple[tuple[str, ...], str]:
    """The ids of the probe images, evenly spread over the folder, and the digest of their bytes."""
    found, folder = list_input(sweep.input), Folder(sweep.input)
    if len(found.ids) < sweep.probes:
        raise UsageError(f"input {sweep.input} has {len(found.ids)} images, fewer than --probes {sweep.probes}")
    ids = [found.ids[n * len(found.ids) // sweep.probes] for n in range(sweep.probes)]
    digest = hashlib.sha256()
    for id in ids:
        data = folder.read(id)
        try:
            codec.fit(codec.decode(data), sweep.base.size)
        except (ValueError, MemoryError) as error:
            raise UsageError(f"input {sweep.input}: the probe image {id} cannot be used: {error}") from error
        digest.update(hashlib.sha256(data).digest())
    return tuple(ids), digest.hexdigest()


def _check_recipes(plan: Plan) -> None:
    """Parses and resolves the recipes of a sweep: those at the ends of the space, and all that are known already."""
    checked: set[tuple[object, ...]] = set()
    for parameters in _known(plan):
        try:
            recipe = plan.recipe_of(parameters)
            terms = (replace(term, weight=1.0) for term in recipe.objective.terms)
            needed = (recipe.backbone, recipe.weights, *terms, *recipe.pictures.items())
            if needed not in checked:
                assets.resolve(recipe)
            checked.add(needed)
        except UsageError as error:
            shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
            raise UsageError(f"{error} (in the space, with {shown})") from error


def _known(plan: Plan) -> Iterator[dict[str, Any]]:
    sweep = plan.sweep
    yield from sweep.space.examples()
    if sweep.search == "grid":
        yield from map(sweep.space.combination, range(plan.trials))
    if sweep.search == "random":
        yield from (sweep.space.draw(sweep.seed, number) for number in range(plan.trials))
