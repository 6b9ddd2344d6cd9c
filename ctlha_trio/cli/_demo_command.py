"""``ctlha demo`` on a terminal: progress while it runs, then the timeline and the verdict."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from ctlha_trio.cli._demo import Progress, run_demo
from ctlha_trio.cli._demo_content import largest_module_file
from ctlha_trio.cli._queued_stderr import wait_stderr
from ctlha_trio.cli._run import EXIT_FAILED


async def show_demo(file: Path | None, as_json: bool) -> int:
    """Run the demo and print what it found. The exit code: 0 if everything held, 1 otherwise."""
    chosen = largest_module_file() if file is None else file
    with ExitStack() as stack:
        progress = _bar(stack) if sys.stderr.isatty() else _lines()
        report = await run_demo(chosen, progress=progress)
    wait_stderr()
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        click.echo("\n".join(report.lines()))
    return 0 if report.passed else EXIT_FAILED


def _bar(stack: ExitStack) -> Progress:
    """A bar that shows the acknowledged writes and the step, on stderr."""
    bar = stack.enter_context(click.progressbar(length=1, file=sys.stderr, item_show_func=lambda step: step))

    def show(acknowledged: int, writes: int, step: str) -> None:
        bar.length = writes
        bar.update(acknowledged - bar.pos, step)
        bar.render_progress()  # it does not draw itself anew for a step without a write

    return show


def _lines() -> Progress:
    """A line for each step, on stderr."""
    shown = [""]

    def show(acknowledged: int, writes: int, step: str) -> None:
        if step != shown[0]:
            shown[0] = step
            click.echo(f"{acknowledged:>6} of {writes} writes  {step}", err=True)

    return show
