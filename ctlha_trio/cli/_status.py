"""``ctlha status`` and ``ctlha switchover``: asking a node through its status socket."""

import json
from pathlib import Path
from typing import Final

import click

from ctlha_trio._errors import DisconnectError
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._run import EXIT_FAILED, EXIT_MISUSED
from ctlha_trio.door import STATUS_SOCKET, status_of, switchover_of

_HELP: Final = {
    "peer-lost": "start the other node: ctlha node <its node.toml>",
    "waiting-for-peer": "start the other node: ctlha node <its node.toml>",
}
"""The one command that helps, by reason."""


async def show_status(file: Path, as_json: bool) -> int:
    """Print what the node says. The exit code: 0 protected, 1 otherwise, 2 no answer."""
    socket = load_config(file).folder / STATUS_SOCKET
    try:
        status = await status_of(socket)
    except DisconnectError as error:
        click.echo(f"{file}: no answer from its node: {error}", err=True)
        return EXIT_MISUSED
    click.echo(json.dumps(status) if as_json else describe_status(status))
    return 0 if status.get("verdict") == "protected" else EXIT_FAILED


def describe_status(status: dict[str, object]) -> str:
    """The verdict, then the reasons, then the one command that helps."""
    reasons = _names(status, "reasons")
    lines = [f"{status.get('verdict')}" + (f": {', '.join(reasons)}" if reasons else "")]
    lines.append(
        f"  node {status.get('node')}   role {status.get('role')}   state {status.get('state')}   "
        f"epoch {status.get('epoch')}   link {status.get('link')}   arbiter {status.get('arbiter')}"
    )
    if left := status.get("resync_bytes_left"):
        lines.append(f"  {left} bytes left to resync")
    lines += [f"  note: {note}" for note in _names(status, "notes")]
    lines += [f"  help: {_HELP[reason]}" for reason in reasons if reason in _HELP][:1]
    return "\n".join(lines)


def _names(status: dict[str, object], key: str) -> list[str]:
    names = status.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


async def switch_over(file: Path) -> int:
    """Ask the node, which must be primary, to hand its role over."""
    loaded = load_config(file)
    await switchover_of(loaded.folder / STATUS_SOCKET)
    click.echo(f"node {loaded.content.node} handed its role over to node {loaded.content.peer.node}")
    return 0
