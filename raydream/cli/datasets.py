"""Commands about data sets: inspect, gallery."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from raydream.cli import commands

if TYPE_CHECKING:
    from raydream.data.storage import Folder


def inspect(output: Annotated[str, typer.Argument(help="Folder or URL of a data set or sweep.")]) -> None:
    """Show the contents, the progress and the failures of a data set or sweep."""
    from raydream.data import trials
    from raydream.data.storage import Folder

    out = Folder(output)
    if trials.is_sweep(out):
        _inspect_sweep(out)
    else:
        _inspect_data_set(out)


def _inspect_data_set(out: Folder) -> None:
    from collections import Counter

    from raydream.data.marks import marked, read_marks
    from raydream.data.plan import stored_plan

    plan = stored_plan(out)
    marks = read_marks(out, marked(out))
    print(f"input      {plan.job.input}")
    print(f"shards     {len(marks):,} of {plan.shards:,} done")
    print(f"images     {sum(m.images for m in marks):,} dreamed of {plan.images:,}")
    print(f"settings   {json.dumps(plan.job.decisive())}")
    reasons = Counter((f.stage, f.error) for m in marks for f in m.failures)
    print(f"failures   {sum(reasons.values()):,}")
    for (stage, error), count in reasons.most_common(20):
        print(f"  {count:>6,} x {stage}: {commands.one_line(error)}")


def _inspect_sweep(out: Folder) -> None:
    from collections import Counter

    from raydream.data.trials import read_sweep, read_trials

    swept, found = read_sweep(out), read_trials(out)
    counts = ", ".join(f"{count:,} {status}" for status, count in Counter(trial.status for trial in found).items())
    print(f"input      {swept.input}: {', '.join(map(commands.one_line, swept.probes))}")
    print(f"trials     {len(found):,} of {swept.trials:,}{counts and ': '}{counts}")
    print(f"search     {swept.search}")
    print(f"space      {json.dumps(swept.space)}")
    for trial in swept.best(found)[:1]:
        print(f"best       trial {trial.number}: {swept.metric} = {swept.metric_of(trial):.3g}")
        print(f"           {json.dumps(trial.parameters)}")
    for trial in (trial for trial in found if trial.error):
        print(f"  trial {trial.number} {trial.status}: {commands.one_line(trial.error)}")


def gallery(
    output: Annotated[str, typer.Argument(help="Folder or URL of a data set or sweep.")],
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of dreams, evenly spread.")] = 500,
) -> None:
    """Write the page of a data set or sweep again, finished or not."""
    from raydream.data import trials
    from raydream.data.plan import stored_plan
    from raydream.data.storage import Folder
    from raydream.pages import exhibits, sweep

    out = Folder(output)
    if trials.is_sweep(out):
        sweep.write(out, trials.read_sweep(out), trials.read_trials(out))
        print(f"{output.rstrip('/')}/{sweep.NAME}")
        return
    exhibits.write_gallery(out, stored_plan(out), rows=rows)
    print(f"{output.rstrip('/')}/index.html")


COMMANDS = {inspect: "inspect dreams", gallery: "gallery dreams --rows 200"}
