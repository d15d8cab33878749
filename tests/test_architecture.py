"""architecture: who may import what, and how soon the command line answers."""

import ast
import graphlib
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "raydream"
MODULES = sorted(PACKAGE.rglob("*.py"))
# The rooms from the bottom up: a module imports from its own line and those above it in this list.
# The longest prefix counts.
ORDER = (
    ("errors", "types", "extras"),
    ("data.codec", "data.retries", "data.whole_files", "data.storage"),
    ("core.objectives",),
    ("recipe",),
    ("core", "runtime"),
    ("assets",),
    ("data",),
    ("models", "training"),
    ("pages",),
    ("cli.commands", "cli.options", "cli.progress", "cli.watch"),  # what all command lines share
    ("jobs", "api", "motion", "generators", "imagining", "visualizing"),
    ("movies",),
    ("cli",),
    ("", "__main__"),
)
RANKS = {prefix: rank for rank, prefixes in enumerate(ORDER) for prefix in prefixes}
HEAVY = {"keras", "ray", "tensorflow"}


def name_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def is_core(path):
    return name_of(path).startswith("core.")


def rank(name):
    """The place of a module in `ORDER`."""
    parts = name.split(".")
    return next(RANKS[p] for n in range(len(parts), -1, -1) if (p := ".".join(parts[:n])) in RANKS)


def own_imports(path, deep=True):
    """Modules of raydream that a module imports, by their names below raydream."""
    known = {name_of(p) for p in MODULES}
    for name in imports(ast.parse(path.read_text()), deep):
        if name.split(".")[0] != "raydream" or name == "raydream.__version__":
            continue
        below = name.removeprefix("raydream").removeprefix(".")
        candidates = (below, below.rpartition(".")[0])
        yield next((c for c in candidates if c in known or f"{c}.__init__".lstrip(".") in known), "")


def type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports(tree, deep=True):
    """Dotted names that a module imports: anywhere, or (not `deep`) when it is itself imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif deep or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or type_checking(node)):
            yield from imports(node, deep)


def roots(path, deep=True):
    return {name.split(".")[0] for name in imports(ast.parse(path.read_text()), deep)}


def test_the_walk_sees_what_it_should():
    tree = ast.parse(
        "import a\n"
        "if TYPE_CHECKING:\n import b\n"
        "if x:\n from c.d import e\n"
        "def f():\n import g\n"
        "class C:\n import h\n"
        "try:\n import i\nexcept ImportError:\n import j\n"
    )
    assert set(imports(tree, deep=False)) == {"a", "c.d.e", "h", "i", "j"}
    assert set(imports(tree)) == {"a", "b", "c.d.e", "g", "h", "i", "j"}


@pytest.mark.parametrize("path", [path for path in MODULES if is_core(path)], ids=name_of)
def test_core_knows_no_ray_and_no_urls(path):
    assert not roots(path) & {"ray", "fsspec", "gcsfs", "pyarrow", "typer", "rich", "PIL"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_runs_upwards(path):
    """Imports inside functions and for types count, too."""
    mine = rank(name_of(path).removesuffix("__init__").removesuffix("."))
    assert [name for name in own_imports(path) if rank(name) > mine] == []


def test_there_is_no_import_cycle():
    graph = {name_of(path): {*own_imports(path)} - {name_of(path)} for path in MODULES}
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_jobs_import_ray(path):
    assert name_of(path).startswith("jobs.") or "ray" not in roots(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_libraries_load_inside_functions(path):
    """Jobs' helpers may import Ray as they load: what can be run itself (and asked for --help) may not."""
    allowed = {"ray"} if name_of(path).startswith("jobs.") and "__main__" not in path.read_text() else set()
    assert not roots(path, deep=False) & HEAVY - allowed


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_recipe_knows_pydantic(path):
    assert name_of(path) == "recipe" or "pydantic" not in roots(path)


def loaded_by(code):
    """Top names of the modules that are loaded after some code has run in a fresh Python."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_importing_raydream_imports_nothing_heavy():
    loaded = loaded_by("import raydream; dir(raydream)")
    assert "raydream" in loaded
    assert not loaded & (HEAVY | {"numpy", "pydantic", "yaml"})


def test_public_names_load_when_they_are_asked_for():
    import raydream

    for name in raydream.__all__:
        assert getattr(raydream, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        raydream.nothing  # noqa: B018


def test_loading_a_recipe_imports_no_tensorflow():
    assert not loaded_by("import raydream; raydream.Recipe.load('natural-dreams')") & HEAVY


HELP = (
    "import sys; sys.argv = ['raydream', '--help']\n"
    "from raydream.cli.app import main\n"
    "try: main()\nexcept SystemExit: pass"
)


def test_help_imports_nothing_heavy():
    loaded = loaded_by(HELP)
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"pydantic", "pyarrow", "fsspec", "numpy"})


def test_help_answers_in_under_half_a_second():
    """In seconds of work, median of three: a machine that is busy otherwise takes longer by the clock."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "raydream", "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert "Usage: raydream" in done.stdout
    assert statistics.median(seconds) < 0.5
