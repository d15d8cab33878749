"""Recipe: everything that determines a dream, as frozen data that can be read, written, compared and hashed."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields, replace
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema, core_schema

from raydream.core.objectives import HALVES, IMAGE_KEYS, KINDS, L2, AnyTerm, Guide, Mean, Objective, Term
from raydream.errors import UsageError, nearest
from raydream.types import Balance, Canvas, Carry, Keep, Optimizer, Pooling, Precision, StepRule, Tiling

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Pixels = Annotated[int, Field(ge=1, le=100_000)]
Gain = Annotated[float, Field(ge=0, le=1000)]

# The weights of a named backbone if the recipe has no `weights`.
DEFAULT_WEIGHTS = {"inception_v3": "compact", "vgg16": "imagenet", "vgg19": "imagenet"}
# A change of either of these changes the file of the weights.
_WEIGHTS_FOLLOW = {"backbone", "weights"}
_LARGEST = 1e9  # weight: with a much larger one, the objective is no longer a number
# Attribute of a term -> its key in YAML, where they differ: `class` is a keyword of Python.
KEYS = {"class_name": "class"}


def _check_term(term: Term, number: int) -> None:
    """Raises a ValueError if a value of the term with this number is wrong."""
    if term.problem:
        raise ValueError(f"objective[{number}]: {term.problem}")
    if term.mask == "":
        raise ValueError(f"objective[{number}]: mask is empty: {_MASK}")
    name = getattr(term, "class_name", None) or term.layer or "pixels"
    if not abs(term.weight) <= _LARGEST:
        raise ValueError(f"objective: the weight of {name!r} must be from -1e9 to 1e9, not {term.weight}")
    channels = getattr(term, "channels", None)
    if channels is not None and min(channels, default=-1) < 0:
        raise ValueError(f"objective: the channels of {name!r} must be one or more numbers of at least 0")


class _Parsing:
    """Converts a layer's name, a term, or a list of these to an objective, for pydantic."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        terms = handler.generate_schema(tuple[Annotated[AnyTerm, Field(discriminator="kind")], ...])
        objective = core_schema.no_info_after_validator_function(Objective, terms)
        return core_schema.no_info_before_validator_function(_terms, objective)


def _terms(value: Any) -> Any:
    """An objective as a list of mappings, as far as its parts can be converted."""
    if isinstance(value, Objective):
        value = value.terms
    elif isinstance(value, str | Mapping | Term):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    return tuple(_term(term, number) for number, term in enumerate(value))


def _term(value: Any, number: int) -> Any:
    """Converts a layer's name or a term as in YAML to the attributes of a term."""
    if isinstance(value, str):
        return {"kind": "mean", "layer": value}
    if isinstance(value, Term):
        return asdict(value)
    if not isinstance(value, Mapping):
        return value
    if "class" in value:
        name = value["class"]
        if value.get("kind", "mean") != "mean":
            raise ValueError(
                f"objective[{number}]: class {name!r} decides the layer, channels and kind: leave them out"
            )
        is_number = isinstance(name, int) and not isinstance(name, bool)  # a class with the name 7
        value = {k: v for k, v in value.items() if k != "class"} | {"class_name": str(name) if is_number else name}
    return {"kind": "mean", **value}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", revalidate_instances="always"))
class Recipe:
    """Everything that determines a dream. `load` raises a one-line `UsageError` for invalid values.

    Attributes:
        backbone: `inception_v3`, `vgg16`, `vgg19`, or the path or URL of a `.keras` or compact `.npz` file.
        weights: weights of a named backbone: `compact` (only inception_v3; part of the package), `imagenet`
            (downloaded by Keras), or the path or URL of a weights file. The default is `compact` for inception_v3 and
            `imagenet` for the others. A backbone file contains its own weights.
        weights_digest: SHA-256 of the file with the weights that must be used; filled in when a recipe is resolved.
        pooling: `max`, as the networks were trained, or `average` instead.
        precision: precision of the network: `float32` (the default) or `bfloat16`. The image and its updates are
            always float32.
        objective: what to amplify: the name of a layer, a term, or a list of these; see `objectives`.
        size: size of the dream: the short side in pixels, (width, height), or None for that of the photograph.
        octaves: number of octaves, the levels of the image pyramid.
        octave_scale: size of an octave divided by that of the next smaller one.
        carry: what an octave starts from: `detail` is the enlarged dream plus the detail that the photograph lost when
            it was shrunk; `blend` is a mixture of the enlarged dream and the photograph; see `pyramid.start`.
        blend: share of the photograph at the start of an octave, for carry `blend`.
        steps: number of steps per octave, or a list with one number for each octave, smallest octave first.
        step_size: factor of the normalised gradient in each step; pixel values are in [-1, 1].
        step_rule: how the gradient is normalised: by its standard deviation (`std`) or its mean absolute value
            (`mean_abs`); see `update.normalize`.
        smoothing: blur of the gradient in pixels, which increases within an octave; 0 for no blur.
        chroma: share of the gradient's colour that is kept, from 0 (the photograph keeps its colours) to 1.
        tile: maximum side, in pixels, of the part that goes through the network at once.
        tiling: `roll` cuts the image into tiles at a random place in each step; `exact` reads a halo around each tile,
            so that the gradient is that of the whole image; see `tiles`.
        seed: seed of the random numbers; each image gets its own seed from this one and the image's path.
        balance: `source` divides each term of the objective by its value on the photograph, so that layers with small
            activations count as much as those with large ones; `none` does not.
        canvas: what is changed: `pixels`, or `fourier` coefficients in decorrelated colours; see `canvas`.
        optimizer: `ascent` is plain gradient ascent; `adam` takes `step_size` as its learning rate.
        bands: how strong each frequency band of the gradient is, finest first; see `update.equalize`. Empty: the
            gradient stays as it is.
        rotate: largest random rotation before each step, in degrees.
        rescale: largest random change of the size before each step: 0.1 is from 0.9 to 1.1 times.
        keep: what stays as in the photograph: its `color`, its `brightness`, or `none`.
        mask: where the picture may change: `left`, `right`, `top`, `bottom`, or the path or URL of an image in which
            white may change and black stays; None for everywhere.
        mask_digest: SHA-256 of the mask's file; filled in when a recipe is resolved.
    """

    backbone: str = "inception_v3"
    weights: str | None = None
    weights_digest: str | None = None
    pooling: Pooling = "max"
    precision: Precision | None = None
    objective: Annotated[Objective, _Parsing()] = field(default=Objective((Mean(layer="mixed3"), Mean(layer="mixed5"))))
    size: Pixels | tuple[Pixels, Pixels] | None = None
    octaves: Annotated[int, Field(ge=1, le=32)] = 3
    octave_scale: Annotated[float, Field(gt=1, le=8)] = 1.4
    carry: Carry = "detail"
    blend: Share = 0.15
    steps: Count | tuple[Count, ...] = 20
    step_size: Positive = 0.02
    step_rule: StepRule = "std"
    smoothing: Annotated[float, Field(ge=0, le=64)] = 0.0
    chroma: Share = 1.0
    tile: Annotated[int, Field(ge=96, le=8192)] = 512
    tiling: Tiling = "roll"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    balance: Balance = "none"
    canvas: Canvas = "pixels"
    optimizer: Optimizer = "ascent"
    bands: Annotated[tuple[Gain, ...], Field(max_length=10)] = ()
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    rescale: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    keep: Keep = "none"
    mask: str | None = None
    mask_digest: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if not self.objective.terms:
            raise ValueError("objective: needs at least one term")
        if self.weights and self.backbone.endswith((".keras", ".npz")):
            raise ValueError(f"weights: {self.backbone} contains its own weights: leave this out")
        if self.weights is None and self.backbone in DEFAULT_WEIGHTS:
            object.__setattr__(self, "weights", DEFAULT_WEIGHTS[self.backbone])
        for number, term in enumerate(self.objective.terms):
            _check_term(term, number)
        if not self.objective.features:
            raise ValueError("objective: needs at least one term with a layer or class")
        if self.mask == "":
            raise ValueError(f"mask is empty: {_MASK}")
        if self.bands and not any(self.bands):
            raise ValueError("bands: at least one gain must be more than 0")
        on_pixels = self.canvas == "pixels" and self.optimizer == "ascent"
        if not on_pixels and (self.mask is not None or self.keep != "none"):
            raise ValueError("mask and keep need canvas: pixels and optimizer: ascent")
        if isinstance(self.steps, tuple) and len(self.steps) != self.octaves:
            raise ValueError(
                f"steps: a list of {len(self.steps)}, but octaves is {self.octaves}: use one number, "
                f"or a list of {self.octaves}"
            )
        return self

    @classmethod
    def load(cls, source: str, changes: Mapping[str, Any] | None = None) -> Recipe:
        """Loads a preset by name, or the YAML file at a path or URL, with some values changed.

        Raises:
            UsageError: there is no such recipe, it is not YAML, or a key or value is invalid.
        """
        if source in presets():
            text = (resources.files("raydream") / "recipes" / f"{source}.yaml").read_text()
        elif source.endswith((".yaml", ".yml")):
            from raydream.data import storage

            text = storage.read(source, what="recipe").decode(errors="replace")
        else:
            raise UsageError(f"unknown recipe {source!r}: {nearest(source, presets())}, or a .yaml file")
        try:
            values = yaml.safe_load(text) or {}
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UsageError(f"recipe {source} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(values, Mapping):
            raise UsageError(f"recipe {source} must be a mapping of keys to values")
        return cls.parse(values, changes, where=f"recipe {source}")

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], changes: Mapping[str, Any] | None = None, where: str = "recipe"
    ) -> Recipe:
        """A recipe from plain data, such as that of `as_dict`, with some values changed; errors are those of `load`."""
        changes = changes or {}
        if not _WEIGHTS_FOLLOW.isdisjoint(changes):
            values = {k: v for k, v in values.items() if k != "weights_digest"}
        if "backbone" in changes:  # another network has other weights
            values = {k: v for k, v in values.items() if k != "weights"}
        if "mask" in changes:
            values = {k: v for k, v in values.items() if k != "mask_digest"}
        values = {**values, **changes}
        known = [f.name for f in fields(cls)]
        for key, value in values.items():
            if key not in known:
                raise UsageError(f"{where}: unknown key {key!r}: {nearest(str(key), known)}")
            if isinstance(value, bool):  # YAML's yes and no, which would count as 1 and 0
                raise UsageError(f"{where}: {key}: must be a number, a name or a list, not {value}")
        try:
            return cls(**values)
        except ValidationError as error:
            raise UsageError(f"{where}: {_first_problem(error)}") from error

    def changed(self, **changes: Any) -> Recipe:
        """A copy with some values changed; a new backbone gets its default weights unless `weights` is given.

        A new mask has no digest unless `mask_digest` is given.
        """
        if "backbone" in changes:
            changes = {"weights": None, **changes}
        if "mask" in changes:
            changes = {"mask_digest": None, **changes}
        return replace(self, **changes)

    def resolved(self, weights_digest: str) -> Recipe:
        """The recipe with the values that resolving fills in: the digest of its weights, and its precision."""
        return self.changed(weights_digest=weights_digest, precision=self.precision or "float32")

    @property
    def pictures(self) -> dict[str, str | None]:
        """Path or URL of each guide, style and mask -> its digest, if it is known."""
        parts: list[Term | Recipe] = [*self.objective.terms, self]
        found = [_pictures(part) for part in parts]
        return {name: digest for part in found for name, digest in part.values()}

    def with_picture_files(self, files: Mapping[str, tuple[str, str | None]]) -> Recipe:
        """The recipe with other paths or URLs, and digests, of its guides, styles and masks, by their names before."""

        def changes(part: Term | Recipe) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for key, (name, _) in _pictures(part).items():
                found[key], found[f"{key}_digest"] = files[name]
            return found

        terms = tuple(replace(term, **changes(term)) for term in self.objective.terms)
        return self.changed(objective=Objective(terms), **changes(self))

    def with_images(self, kind: Literal["guide", "style"], images: Sequence[str]) -> Recipe:
        """The recipe with guides or styles, each as `IMAGE`, or with options as in `IMAGE:mask=left:weight=2`.

        Each term of this kind that has no image is repeated for each image. If the recipe has no such term, guides
        replace its `mean` and `l2` terms on the same layers. The options are `mask` (see `Term`), `weight`, and `match`
        (see `Guide`).

        Raises:
            UsageError: an option is wrong, or no term or layer can take the images.
        """
        if not images:
            return self
        takers = [term for term in self.objective.terms if isinstance(term, KINDS[kind]) and term.lacks_image]
        others = [term for term in self.objective.terms if term not in takers]
        if not takers and kind == "guide":
            layers = [term for term in others if isinstance(term, Mean | L2) and not getattr(term, "class_name", None)]
            takers = [Guide(layer=term.layer, weight=term.weight) for term in layers]
            others = [term for term in others if term not in layers]
        if not takers:
            raise UsageError(f"a {kind} needs a term in the objective, such as {{kind: {kind}, layer: mixed3}}")
        terms = [_given(term, kind, image) for image in images for term in takers]
        return Recipe.parse(self.as_dict(), {"objective": [*map(_written_term, others), *terms]}, where=kind)

    def steps_of(self, octave: int, octaves: int) -> int:
        """Number of steps of an octave; `octaves` is smaller than in the recipe if small octaves are left out."""
        return self.steps if isinstance(self.steps, int) else self.steps[octave - octaves]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as in YAML; default values of terms and of rare keys are left out."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        values["objective"] = [_written_term(term) for term in self.objective.terms]
        # Keys that were added later are left out at their default, so that the digests of older recipes stay the same.
        return {key: value for key, value in values.items() if key not in _ADDED or value != _ADDED[key]}

    def dump(self) -> str:
        """The recipe as YAML."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False, default_flow_style=None)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, in hexadecimal; names of files whose digests are known do not count."""
        values = self.as_dict() | {"precision": self.precision or "float32"}
        if self.weights_digest:
            values |= {"backbone": self.backbone.rsplit("/", 1)[-1], "weights": None}
        for part in (*values["objective"], values):
            for key in IMAGE_KEYS:
                if part.get(f"{key}_digest") and part.get(key) not in HALVES:
                    part[key] = None
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def seed_of(self, key: str) -> int:
        """The seed of the image with this key (its path below the input folder): below 2**63."""
        text = f"{self.seed}\n{key}".encode("utf-8", "backslashreplace")
        return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1


# Options of an image on the command line; a URL may contain colons, too.
_OPTIONS = ("mask", "weight", "match")
_OPTION = re.compile(rf":({'|'.join(_OPTIONS)})=")


def _given(term: Term, kind: str, image: str) -> dict[str, Any]:
    """A term as in YAML that takes an image with options."""
    name, *options = _OPTION.split(image)
    keys, given = options[::2], dict(zip(options[::2], options[1::2], strict=True))
    known = f"the options are :{'=, :'.join(_OPTIONS)}=, each once"
    if len(given) < len(keys) or ("://" not in name and re.search(r":\w+=", name)):
        raise UsageError(f"{kind} {image}: {known}")
    try:
        weight = float(given.pop("weight", "1"))
    except ValueError as error:
        raise UsageError(f"{kind} {image}: weight must be a number") from error
    return _written_term(term) | given | {kind: name, "weight": weight * term.weight}


def _pictures(part: Term | Recipe) -> dict[str, tuple[str, str | None]]:
    """Attribute -> the name and the digest of its image, for a term or a recipe."""
    named = {key: getattr(part, key, None) for key in IMAGE_KEYS}
    return {key: (name, getattr(part, f"{key}_digest")) for key, name in named.items() if name and name not in HALVES}


# Keys that were added after the first digests were written, and their defaults.
_ADDED = {
    "balance": "none",
    "canvas": "pixels",
    "optimizer": "ascent",
    "bands": [],
    "rotate": 0.0,
    "rescale": 0.0,
    "keep": "none",
    "mask": None,
    "mask_digest": None,
}


def _written_term(term: Term) -> dict[str, Any]:
    """A term as in YAML; default values are left out."""
    values, plain = json.loads(json.dumps(asdict(term))), json.loads(json.dumps(asdict(type(term)())))
    found = {KEYS.get(k, k): v for k, v in values.items() if v != plain[k]}
    return found if isinstance(term, Mean) else {"kind": values["kind"], **found}


def presets() -> list[str]:
    """Names of the recipes that come with raydream."""
    folder = resources.files("raydream") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


_MASK = f"name one of {', '.join(HALVES)}, or the path or URL of an image"
_TERM = "a layer's name or a term such as {layer: mixed4, weight: 2}"
# Valid values, for keys with several types; pydantic's messages for each type do not help.
_EITHER = {
    "steps": "a whole number of at least 1, or a list with one for each octave",
    "size": "a short side in pixels, or [width, height]",
    "objective": f"{_TERM}, or a list of these",
}
# Valid values, by the beginning of pydantic's error type.
_RIGHT = {
    "int_": "a whole number",
    "float_": "a number",
    "finite": "a finite number",
    "string_": "text",
    "tuple_": "a list",
    "dataclass_": _TERM,
    "model_attributes_type": _TERM,
    "literal_": "%(expected)s",
    "greater_than_equal": "at least %(ge)s",
    "greater_than": "more than %(gt)s",
    "less_than_equal": "at most %(le)s",
    "less_than": "less than %(lt)s",
    "too_long": "a list of at most %(max_length)s",
}


def _first_problem(error: ValidationError) -> str:
    """One line: the key, what would be valid, and the given value."""
    problems = error.errors()
    # A misspelt key is more useful to report than the missing key that it causes.
    problem = next((p for p in problems if p["type"] == "unexpected_keyword_argument"), problems[0])
    kind, place, given = problem["type"], problem["loc"], _short(problem["input"])
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if place[:1] in (("steps",), ("size",)) or place == ("objective",):
        return f"{place[0]}: must be {_EITHER[str(place[0])]}, not {given}"
    if kind == "union_tag_invalid":
        return f"{_written(place)}.kind: must be one of {', '.join(KINDS)}, not {_short(problem['ctx']['tag'])}"
    if kind == "unexpected_keyword_argument":
        names = [f.name for f in fields(KINDS[str(place[-2])]) if not f.name.endswith("_digest")]
        known = [KEYS.get(name, name) for name in names]
        return f"{_written(place[:-1])}: unknown key {place[-1]!r}: {nearest(str(place[-1]), known)}"
    if kind == "missing":
        return f"{_written(place[:-1])}: {place[-1]} is missing"
    right = next((text for start, text in _RIGHT.items() if kind.startswith(start)), None)
    if right is None:
        return f"{_written(place)}: {problem['msg']}, not {given}"
    limits = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in problem.get("ctx", {}).items()}
    return f"{_written(place)}: must be {right % limits}, not {given}"


def _written(place: tuple[int | str, ...]) -> str:
    """A place in a recipe as text: `objective[1].weight`."""
    tag = 2 if place[:1] == ("objective",) else -1  # pydantic adds the kind of a term
    keys = (p if isinstance(p, int) else KEYS.get(p, p) for n, p in enumerate(place) if n != tag)
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in keys).removeprefix(".")


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else reprlib.repr(value)  # stops early: YAML can be huge
    return text if len(text) <= 60 else f"{text[:57]}..."
