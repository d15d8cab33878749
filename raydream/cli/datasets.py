"""Commands about data sets: inspect, gallery."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from raydream.cli import commands


def inspect(output: Annotated[str, typer.Argument(help="Folder or URL of a data set.")]) -> None:
    """Show the contents, the progress and the failures of a data set."""
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
        print(f"  {count:>6,} x {stage}: {commands.one_line(error)}")


def gallery(
    output: Annotated[str, typer.Argument(help="Folder or URL of a data set.")],
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of dreams, evenly spread.")] = 500,
) -> None:
    """Write the gallery page of a data set again, finished or not."""
    from raydream.data.plan import stored_plan
    from raydream.data.storage import Folder
    from raydream.pages import exhibits

    out = Folder(output)
    exhibits.write_gallery(out, stored_plan(out), rows=rows)
    print(f"{output.rstrip('/')}/index.html")


COMMANDS = {inspect: "inspect dreams", gallery: "gallery dreams --rows 200"}
