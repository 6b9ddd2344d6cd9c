"""``ctlha status``: asking a node through its status socket."""

import json
import sys
import time
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Final

import attrs
import click

from ctlha_trio._errors import DisconnectError
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._output import is_unread
from ctlha_trio.cli._progress import Progress, duration_of
from ctlha_trio.cli._remedies import note_remedy_for, remedy_for
from ctlha_trio.cli._run import EXIT_FAILED, EXIT_MISUSED, EXIT_UNWRITTEN
from ctlha_trio.cli._unanswered import against_silence
from ctlha_trio.cli._verify import describe_end
from ctlha_trio.door import STATUS_SOCKET, status_of
from ctlha_trio.seams import TrioClock

WATCH_S: Final = 0.2
"""Between two looks: what is over sooner is told all the same, as a transition."""
_ERASE_LINE: Final = "\r\033[K"
_WATCHED: Final = ("verdict", "reasons", "role", "state", "epoch", "link", "arbiter")
"""What ``--watch`` tells changes of. The bytes left of a resync would be a line for every look."""
_TRANSFER_TOTALS: Final = (
    "pushed_bytes_out",
    "pulled_bytes_in",
    "denied_transfers",
    "failed_transfers",
    "pushed_bytes_in",
    "pulled_bytes_out",
)
"""As they are printed."""


async def show_status(file: Path, as_json: bool) -> int:
    """Print what the node says. The exit code: 0 protected, 1 otherwise, 2 no answer."""
    loaded = load_config(file)
    try:
        status = await status_of(loaded.folder / STATUS_SOCKET)
    except DisconnectError as error:
        click.echo(f"{file}: {error}\n  {against_silence(error, loaded)}", err=True)
        return EXIT_MISUSED
    click.echo(json.dumps(status) if as_json else describe_status(status, loaded))
    return 0 if status.get("verdict") == "protected" else EXIT_FAILED


def describe_status(status: dict[str, object], loaded: LoadedConfig) -> str:
    """The verdict, then the reasons, then what helps against each."""
    reasons = _names(status, "reasons")
    lines = [_verdict(status)]
    lines.append(
        f"  node {status.get('node')}   role {status.get('role')}   state {status.get('state')}   "
        f"epoch {status.get('epoch')}   {_link(status)}   arbiter {status.get('arbiter')}"
    )
    if heartbeats := _heartbeats(status):
        lines.append(f"  {heartbeats}")
    if left := status.get("resync_bytes_left"):
        left_s = status.get("resync_left_s")
        time_left = f", about {duration_of(left_s)} at the pace of the last seconds" if isinstance(left_s, int) else ""
        lines.append(f"  {left} bytes left to resync{time_left}")
    if repaired := status.get("repaired_blocks"):
        blocks = "1 block of this copy was" if repaired == 1 else f"{repaired} blocks of this copy were"
        lines.append(f"  {blocks} repaired from the other one since the node started")
    if damaged := status.get("damaged_bytes"):
        lines.append(f"  {damaged} bytes are damaged on every copy that counts")
    if isinstance(verification := status.get("verification"), dict):
        lines.append(f"  verification: {describe_end(verification)}")
    lines += [f"  {line}" for line in (*_transfers(status), *_differences(status), *_component_waits(status))]
    names = loaded.names
    for reason in reasons:
        helps = remedy_for(reason, **names)
        lines += [f"  {reason}: {helps}"] if helps else []
    for note in _names(status, "notes"):
        helps = note_remedy_for(note, **names)
        lines.append(f"  note: {note}: {helps}" if helps else f"  note: {note}")
    return "\n".join(lines)


def _link(status: dict[str, object]) -> str:
    """With the version of the protocol that a session speaks: of two nodes of which one is newer, that of the older."""
    version = status.get("link_version")
    return f"link {status.get('link')}" + (f", version {version}" if isinstance(version, int) else "")


def _heartbeats(status: dict[str, object]) -> str:
    """What they have told; empty without a session, or before the first."""
    names = "round_trip_s", "heartbeat_late_s", "peer_heartbeat_late_s"
    trip_s, own_s, peer_s = (found if isinstance(found := status.get(name), float) else None for name in names)
    if trip_s is None or own_s is None:
        return ""
    peers = "not told by the peer" if peer_s is None else f"{_milliseconds(peer_s)} at the peer"
    return f"heartbeats: round trip {_milliseconds(trip_s)}   lately late by up to {_milliseconds(own_s)} here, {peers}"


def _transfers(status: dict[str, object]) -> Iterator[str]:
    """What each kind of data has had moved; nothing of those of which nothing was."""
    listed = status.get("transfers")
    for whose, each in listed.items() if isinstance(listed, dict) else ():
        if isinstance(each, dict) and any(each.values()):
            pushed, pulled, denied, failed, pushed_here, pulled_here = (each.get(name) for name in _TRANSFER_TOTALS)
            own = f"{pushed} bytes pushed, {pulled} pulled, {denied} denied, {failed} failed"
            yield f"transfers of {whose}: {own}; by the peer {pushed_here} bytes pushed, {pulled_here} pulled"


def _differences(status: dict[str, object]) -> Iterator[str]:
    """What the two configurations do not say alike."""
    listed = status.get("differing_settings")
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, dict):
            here, peer = (each.get(side) or "not set" for side in ("here", "peer"))
            yield f"{each.get('name')} differs: {here} here, {peer} at the peer"


def _milliseconds(duration_s: float) -> str:
    return f"{duration_s * 1000:.1f} ms"


def _component_waits(status: dict[str, object]) -> Iterator[str]:
    """What each component waits for, and for about how long if it says so."""
    waits = status.get("component_waits")
    for wait in waits if isinstance(waits, list) else ():
        left_s = wait.get("left_s")
        left = f", about {duration_of(ceil(left_s))} left" if isinstance(left_s, float) else ""
        yield f"component {wait.get('component')}: {wait.get('why')}{left}"


def _verdict(status: dict[str, object]) -> str:
    reasons = _names(status, "reasons")
    return f"{status.get('verdict')}" + (f": {', '.join(reasons)}" if reasons else "")


def _names(status: dict[str, object], key: str) -> list[str]:
    names = status.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


async def watch_status(file: Path, as_json: bool) -> int:
    """Print a line for every change until interrupted; with ``as_json`` an object, empty while there is no answer.

    ``EXIT_UNWRITTEN`` once nobody reads any more, as after the first line of ``| head -1``: there may never be another
    one.
    """
    socket, clock = load_config(file).folder / STATUS_SOCKET, TrioClock()
    before: dict[str, object] | None = None
    resync, bar = Progress(), ResyncBar()
    while True:
        try:
            status = await status_of(socket)
        except DisconnectError:
            status = {}
        if as_json:
            if before is None or _watched(before) != _watched(status):
                click.echo(json.dumps(status))
        else:
            bar.hide()
            for line in describe_change(before, status):
                click.echo(f"{time.strftime('%H:%M:%S')} {line}")
            bar.show(_resync_line(resync, status))
        before = status
        if is_unread():
            return EXIT_UNWRITTEN
        await clock.sleep_until(clock.now() + WATCH_S)


def _resync_line(resync: Progress, status: dict[str, object]) -> str:
    names = "resync_bytes_left", "resync_bytes_per_s", "resync_left_s"
    left_bytes, bytes_per_s, left_s = (found if isinstance(found := status.get(name), int) else None for name in names)
    return resync.line(left_bytes or 0, bytes_per_s=bytes_per_s or 0, left_s=left_s)


@attrs.define(eq=False)
class ResyncBar:
    """The last line of a terminal, written over again and again. Where the output is no terminal there is none."""

    _shown: bool = attrs.field(default=False, init=False)

    def show(self, line: str) -> None:
        """Write it without an end of line."""
        if line and sys.stdout is not None and sys.stdout.isatty():
            click.echo(f"         {line}", nl=False)
            self._shown = True

    def hide(self) -> None:
        """Take it away, so that a line can be written in its place."""
        if self._shown:
            click.echo(_ERASE_LINE, nl=False)
            self._shown = False


def describe_change(before: dict[str, object] | None, status: dict[str, object]) -> Iterator[str]:
    """What happened since ``before``: the transitions in between, then how the node stands if that is not as it was.

    An empty status is a node that does not answer; before the first look there is None.
    """
    if before and status:
        known = _transitions(before)
        for each in _transitions(status):
            if each not in known:
                yield f"  {each[1]}, epoch {each[2]}"
    if before is None or _watched(before) != _watched(status):
        yield _line(status) if status else "no answer"


def _transitions(status: dict[str, object]) -> list[tuple[object, object, object]]:
    listed = status.get("transitions")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return [(row.get("at_s"), row.get("what"), row.get("epoch")) for row in rows]


def _watched(status: dict[str, object]) -> list[object]:
    return [status.get(key) for key in _WATCHED]


def _line(status: dict[str, object]) -> str:
    told = ("role", "state", "epoch", "link", "arbiter")
    return "   ".join([_verdict(status), *(f"{key} {status.get(key)}" for key in told)])
