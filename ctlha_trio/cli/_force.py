"""``ctlha force-primary``: shows what it would change, has a person say what no node can know, and asks the node."""

from pathlib import Path
from typing import Any

import click

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._statement import check_statement, require_statement
from ctlha_trio.door import DECISIONS_FILE, STATUS_SOCKET, force_plan_of, force_primary_of


async def force_primary(file: Path, abandon: str, statement: str | None, dry_run: bool) -> int:
    """Make the node of a configuration the only one that counts. The exit code: 0 done or shown, 1 not done."""
    loaded = load_config(file)
    check_statement(abandon, statement)
    socket = loaded.folder / STATUS_SOCKET
    plan: Any = await force_plan_of(socket, abandon)
    click.echo(describe_plan(plan))
    if dry_run:
        click.echo("nothing was changed: --dry-run")
        return 0
    require_statement(abandon, statement)
    try:
        await force_primary_of(socket, abandon, revision=plan["revision"])
    except DisconnectError as error:
        raise FailedError(f"nobody knows whether it was done, ask with ctlha status: {error}") from error
    click.echo(f"done; the decision is in {loaded.folder / DECISIONS_FILE}")
    return 0


def describe_plan(plan: dict[str, Any]) -> str:
    """The record before and after, and what becomes of each copy."""
    before, after = plan["before"], plan["after"]
    forced = after["primary"]
    lines = [
        f"epoch    {before['epoch']} -> {after['epoch']}",
        f"primary  {before['primary']} -> {forced}",
        f"members  {' '.join(before['members'])} -> {' '.join(after['members'])}",
        f"lineage  {before['lineage']} -> a new one",
        f"node {forced}: its copy becomes the volume, as it was in epoch {plan['copy_epoch']}",
    ]
    abandoned = [node for node in before["members"] if node != forced]
    lines += [f"node {node}: its copy is abandoned, and overwritten when it returns" for node in abandoned]
    if forced not in before["members"]:
        lines.append(f"lost: everything that was acknowledged without node {forced}")
    return "\n".join(lines)
