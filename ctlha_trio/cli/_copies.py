"""What the copy of a node says of itself: shown, carried to the other machine as JSON, and put beside the other one."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import cattrs
import click

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._copy_view import CopyView, Range, name_ranges, sum_of, view_copy
from ctlha_trio.cli._later_copy import describe_later
from ctlha_trio.door import STATUS_SOCKET, is_answered
from ctlha_trio.pair import Copy, Record
from ctlha_trio.seams import is_regular, open_regular, run_in_thread

COPY_FILE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A TiB of which every other unit is marked has 8 million ranges of some 30 bytes."""


async def show_copy(file: Path, as_json: bool) -> int:
    """Print it, and on standard error that it changes, if the node runs."""
    loaded = load_config(file)
    view = view_copy(loaded)
    lines = [*side_by_side([view], None), *name_ranges("damaged", view.damaged)]
    click.echo(json.dumps(attrs.asdict(view)) if as_json else "\n".join(lines))
    if await run_in_thread(partial(_is_running, loaded)):
        node, status = loaded.content.node, f"ctlha status {loaded.quoted}"
        click.echo(f"node {node} runs: this is its copy as of now, and may be behind; {status}", err=True)
    return 0


def _is_running(loaded: LoadedConfig) -> bool:
    """Whether the node runs; no if nobody can tell. Blocks."""
    with suppress(OSError):
        return is_answered(loaded.folder / STATUS_SOCKET)
    return False


def find_other(loaded: LoadedConfig, other: Path | None) -> CopyView | None:
    """The copy of the other node: by its ``node.toml``, or by what ``ctlha copy --json`` has said of it. Blocks.

    Without ``other`` that of the folder beside this node's, where ``ctlha init`` puts it; None if it is not there, or
    not for this user.
    ``ConfigError``, alone or in a group, if what was named is not the other node's.
    """
    peer = loaded.content.peer.node
    if other is None:
        beside = loaded.folder.parent / peer / "node.toml"
        if not os.access(beside, os.R_OK):
            return None
        other = beside
    view = _read_view(other)
    if (view.cluster, view.resource, view.node) != (loaded.content.cluster, loaded.content.resource, peer):
        raise ConfigError(other, "", f"is of node {view.node} of {view.cluster}, not of node {peer}")
    return view


def _read_view(file: Path) -> CopyView:
    try:
        if not is_regular(file):
            raise ConfigError(
                file, "", "is no file: name the other node's node.toml, or what ctlha copy --json said there"
            )
        with open(open_regular(file, os.O_RDONLY), "rb") as source:
            text = source.read(COPY_FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(file, "", f"cannot be read: {error.strerror}") from error
    if not text.lstrip().startswith(b"{"):
        return view_copy(load_config(file))
    try:
        return cattrs.structure(parse_json(text), CopyView)
    except (ValueError, TypeError, cattrs.BaseValidationError) as error:
        raise ConfigError(file, "", "is not what ctlha copy --json says") from error


def may_differ(one: CopyView, other: CopyView) -> tuple[tuple[Range, ...], str]:
    """Where the two may differ, and why that is everything, if it is."""
    everything = ((0, max(one.size_bytes, other.size_bytes)),)
    if one.lineage != other.lineage:
        return everything, "they are of different lines"
    for each in (one, other):
        if not each.synced_epoch or each.copy == Copy.REWRITING.value:
            return everything, f"node {each.node} does not know when it was last equal to the other one"
    if one.synced_epoch != other.synced_epoch:
        return everything, "they were equal in different epochs"
    for each in (one, other):
        if each.marked_from not in {None, each.synced_epoch}:
            return everything, f"the marks of node {each.node} count from another epoch"
    return tuple(_joined([*one.marks, *one.open_ranges, *other.marks, *other.open_ranges])), ""


def _joined(ranges: Iterable[Range]) -> Iterator[Range]:
    begins, ends = 0, 0
    for offset, size in sorted(ranges):
        if offset > ends:
            if ends > begins:
                yield begins, ends - begins
            begins, ends = offset, offset
        ends = max(ends, offset + size)
    if ends > begins:
        yield begins, ends - begins


def side_by_side(views: list[CopyView], record: Record | None) -> Iterator[str]:
    """A line for each thing that they say, a column for each of them."""
    rows: list[tuple[str, list[str]]] = [
        ("", [f"node {view.node}" for view in views]),
        ("epoch", [str(view.epoch) for view in views]),
        ("heard of", [f"epoch {view.heard_epoch}" if view.heard_epoch else "nothing later" for view in views]),
        ("revision", [str(view.revision) for view in views]),
        ("lineage", [view.lineage for view in views]),
        ("members", [" ".join(view.members) for view in views]),
        ("is member", ["yes" if view.node in view.members else "no" for view in views]),
        ("last role", [view.role for view in views]),
        ("copy", ["failed or discarded" if view.is_given_up else view.copy for view in views]),
        ("written", [view.written_at for view in views]),
        ("under way", [sum_of(view.open_ranges) for view in views]),
        ("marked", [_marked(view) for view in views]),
        ("damaged", [_damaged(view) for view in views]),
    ]
    if record is not None:
        counts = ["counts" if view.node in record.members else "does not count" for view in views]
        rows.append(("by record", counts))
    widths = [max(len(cells[column]) for _, cells in rows) for column in range(len(views))]
    for name, cells in rows:
        yield f"{name:10}" + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _marked(view: CopyView) -> str:
    return sum_of(view.marks) + (f" since epoch {view.marked_from}" if view.marked_from is not None else "")


def _damaged(view: CopyView) -> str:
    if view.damage_unnamed:
        return f"{sum_of(view.damaged)} by name; there was more than the file can name"
    return sum_of(view.damaged) if view.damaged else "none known"


def describe_difference(one: CopyView, other: CopyView) -> Iterator[str]:
    """Where the two copies may differ."""
    ranges, why = may_differ(one, other)
    if why:
        yield f"may differ: everything, for {why}"
        return
    if not ranges:
        yield "may differ: nothing is marked at either"
    yield from name_ranges("may differ", ranges)


def describe_copies(loaded: LoadedConfig, other: Path | None, record: Record | None) -> Iterator[str]:
    """Both copies side by side, which is the later one if they tell, or how the other one can be had. Blocks.

    ``ConfigError``, alone or in a group, if ``other`` was named and is not the other node's.
    """
    node, peer, views = loaded.content.node, loaded.content.peer.node, list[CopyView]()
    try:
        views.append(view_copy(loaded))
    except (StoreError, ConfigError) as error:
        yield f"node {node}: its copy cannot be looked at: {error}"
    try:
        found = find_other(loaded, other)
    except (StoreError, ConfigError, ExceptionGroup) as error:
        if other is not None and not isinstance(error, StoreError):
            raise
        found = None
        yield f"node {peer}: its copy cannot be looked at: {error}"
    views += [] if found is None else [found]
    yield from side_by_side(views, record) if views else ()
    if len(views) > 1:
        yield from describe_later(*views)
        yield from describe_difference(*views)
    if found is None:
        yield f"node {peer}: to see its copy beside this one, there: ctlha copy <its node.toml> --json > FILE"
        yield "          then here the same command with --other FILE"
