"""``ctlha verify``: has the primary compare both copies while they are in use, and shows how it goes."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._remedies import SEE_STATUS, VERIFY_IN_SYNC, VERIFY_THERE, obstacle_remedy_for
from ctlha_trio.cli._run import EXIT_FAILED, EXIT_MISUSED
from ctlha_trio.cli._unanswered import against_silence
from ctlha_trio.door import STATUS_SOCKET, status_of, verify_of
from ctlha_trio.pair import Finding, Obstacle
from ctlha_trio.seams import TrioClock

LOOK_S: Final = 0.1
"""Between two looks at how far it is."""
_OBSTACLES: Final = frozenset(
    each.value for each in (Obstacle.PEER_LOST, Obstacle.PEER_OUTDATED, Obstacle.RESYNCING, Obstacle.PEER_COMPONENTS)
)
"""In the way of a switchover, and of this."""


async def verify_copies(file: Path, dry_run: bool) -> int:
    """Have both copies compared. The exit code: 0 all was compared and is equal, 1 it is not, 2 the node is gone.

    What was repaired is equal by then, and told. What the node cannot do is told with what helps. ``FailedError`` if
    it started anew meanwhile.
    """
    loaded = load_config(file)
    socket = loaded.folder / STATUS_SOCKET
    try:
        if dry_run:
            return _show_plan(await status_of(socket), loaded)
        try:
            number = await verify_of(socket)
        except FailedError as error:
            return _refuse(error, await status_of(socket), loaded)
        return await _watch(socket, number, loaded)
    except DisconnectError as error:
        click.echo(f"{file}: {error}\n  {against_silence(error, loaded)}", err=True)
        return EXIT_MISUSED


def _show_plan(status: dict[str, Any], loaded: LoadedConfig) -> int:
    try:
        click.echo(describe_plan(status, loaded))
    except FailedError as error:
        return _refuse(error, status, loaded)
    return 0


def _refuse(error: FailedError, status: dict[str, Any], loaded: LoadedConfig) -> int:
    for line in describe_refusal(error, status, loaded):
        click.echo(line, err=True)
    return EXIT_FAILED


def describe_refusal(error: FailedError, status: dict[str, Any], loaded: LoadedConfig) -> list[str]:
    """What the node said, and behind it where the command is to be given, or what has to come first."""
    names = loaded.names
    helps: list[str] = []
    if status["role"] == "primary":
        helps = [obstacle_remedy_for(reason, **names) for reason in status["reasons"] if reason in _OBSTACLES]
    elif status["role"] == "secondary" and status["verdict"] in {"protected", "degraded"}:
        helps = [VERIFY_THERE.format(**names)]
    elif "resyncing" in status["reasons"]:
        helps = [VERIFY_IN_SYNC.format(**names)]
    return [str(error), *(f"  {text}" for text in helps or [SEE_STATUS.format(**names)])]


def describe_plan(status: dict[str, Any], loaded: LoadedConfig) -> str:
    """What would be read, and from where. ``FailedError`` if the node cannot do it."""
    if status["role"] != "primary" or status["state"] != "CTL_HA_STATE_HA":
        raise FailedError("this node is not the primary of two members in sync")
    size_bytes = loaded.content.volume.size_bytes
    last = status["verification"] or {"goes_on": False}
    begins = last["bytes_compared"] if last["goes_on"] else 0
    lines = [f"the last one was interrupted after {begins} bytes: it goes on there"] if begins else []
    lines += [
        f"node {loaded.content.node}: reads {size_bytes - begins} bytes of its copy, and sends digests of them",
        f"node {loaded.content.peer.node}: reads as much of its own, and compares",
        "blocks that are damaged on one copy are repaired from the other; what differs otherwise is left alone",
        "nothing was read: --dry-run",
    ]
    return "\n".join(lines)


async def _watch(socket: Path, number: int, loaded: LoadedConfig) -> int:
    clock = TrioClock()
    with ExitStack() as stack:
        shown = _Shown(loaded)
        if sys.stderr.isatty():
            shown.bar = stack.enter_context(
                click.progressbar(length=loaded.content.volume.size_bytes, file=sys.stderr, label="comparing")
            )
        while True:
            verification: Any = (await status_of(socket)).get("verification")
            if verification is None or verification["number"] != number:
                raise FailedError("the node started anew: nothing is known of what was compared")
            shown.show(verification)
            if verification["state"] != "running":
                break
            await clock.sleep_until(clock.now() + LOOK_S)
    click.echo(describe_end(verification))
    clean = not verification["differing_bytes"] and not verification["unreadable_bytes"]
    return 0 if verification["state"] == "complete" and clean else EXIT_FAILED


@attrs.define(eq=False)
class _Shown:
    """What was printed of one verification."""

    loaded: LoadedConfig
    bar: Any = None
    findings: int = 0
    bytes_compared: int = 0

    def show(self, verification: dict[str, Any]) -> None:
        """Print what came since the last look."""
        for found in verification["found"][self.findings :]:
            click.echo(describe_finding(found, self.loaded))
        self.findings = len(verification["found"])
        if self.bar is not None:
            self.bar.update(max(0, verification["bytes_compared"] - self.bytes_compared))
        self.bytes_compared = max(self.bytes_compared, verification["bytes_compared"])


def describe_finding(found: dict[str, Any], loaded: LoadedConfig) -> str:
    """One finding in a line."""
    where = f"{found['size']} bytes at {found['offset']}"
    match Finding(found["what"]):
        case Finding.DIFFERS:
            return f"differs: {where}: each copy is whole by its checksums, and they are not the same"
        case Finding.REPAIRED_HERE:
            return f"repaired: {where} of node {loaded.content.node}, from the other copy"
        case Finding.REPAIRED_THERE:
            return f"repaired: {where} of node {loaded.content.peer.node}, from the other copy"
        case Finding.UNREADABLE:
            return f"unreadable: {where}: damaged on both copies"


def describe_end(verification: dict[str, Any]) -> str:
    """What came of it, or has come so far."""
    repaired, differing = verification["repaired_bytes"], verification["differing_bytes"]
    unreadable = verification["unreadable_bytes"]
    told = [f"{repaired} bytes were repaired"] if repaired else []
    told += [f"{differing} bytes differ"] if differing else []
    told += [f"{unreadable} bytes are damaged on both copies"] if unreadable else []
    rest = repaired + differing + unreadable - sum(found["size"] for found in verification["found"])
    told += [f"{rest} bytes of these are not listed"] if rest else []
    took_s = (verification["ended_at_s"] or verification["began_at_s"]) - verification["began_at_s"]
    compared = f"compared {verification['bytes_compared']} of {verification['bytes_total']} bytes"
    if verification["state"] == "running":
        return "; ".join([f"{compared} so far", *told])
    compared += f" in {took_s:.1f} s"
    if verification["state"] == "interrupted":
        return "; ".join([f"interrupted: {verification['why']}; {compared}", *told])
    equal = [] if differing or unreadable else ["both copies are equal"]
    return "; ".join([compared, *told, *equal])
