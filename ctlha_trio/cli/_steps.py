"""The steps of a change, in order, each with what is durable once it is done: what every ``--dry-run`` shows."""

from collections.abc import Iterable, Iterator

import click

from ctlha_trio.pair import PlannedStep

DRY_RUN = "nothing was changed: --dry-run"


def describe_steps(steps: Iterable[PlannedStep]) -> Iterator[str]:
    """A line for each step, and one below for what it makes durable."""
    for number, step in enumerate(steps, 1):
        yield f"{number:2}. {step.what}"
        if step.durable:
            yield f"    durable {step.durable}"


def end_dry_run(steps: Iterable[PlannedStep]) -> int:
    """Show what would be done, and the exit code of a command that would do it."""
    for line in describe_steps(steps):
        click.echo(line)
    click.echo(DRY_RUN)
    return 0
