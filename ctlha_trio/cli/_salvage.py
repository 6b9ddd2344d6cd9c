"""``ctlha force-primary --salvage``: what is left of a copy that is not whole becomes the volume.

For a pair of which no copy is whole. The node is stopped, for with such a copy it serves nothing: the whole file is
read first, so that the person who decides knows which blocks are damaged.
"""

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import click

from ctlha_trio._errors import FailedError
from ctlha_trio.arbiter import CreatedRecord
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._copy_view import name_ranges
from ctlha_trio.cli._lost_files import needing_whole_volume
from ctlha_trio.cli._other_node import require_silent
from ctlha_trio.cli._statement import check_abandoned, check_statement, require_statement
from ctlha_trio.cli._steps import end_dry_run
from ctlha_trio.cli._stopped_node import Decision, describe_heard, open_arbiter, require_stopped, swap_record
from ctlha_trio.door import DECISIONS_FILE
from ctlha_trio.pair import Copy, Metadata, PlannedStep, Record
from ctlha_trio.seams import ThreadDisk, Versioned, run_in_thread
from ctlha_trio.store import BLOCK_BYTES, Head, read_head, read_remains, rewrite_metadata, salvage_copy

RUNS_LOGGED: Final = 10_000
"""Damaged places, in the log of decisions."""

_STANDS: Final = {
    Copy.FAILED: "its disk had failed: writes that it lost together with their checksums are not found",
    Copy.RESYNCING: "it was being overwritten: some blocks are as of epoch {epoch}, others older",
    Copy.REWRITING: "it had been given up, or made anew, and was being overwritten: some blocks are as of epoch "
    "{epoch}, others older, or zeros where nothing was copied yet",
}
_GIVEN_UP: Final = (
    "it was given up: its disk had failed, and writes that it lost together with their checksums are not found, or a "
    "person had discarded it, which this takes back"
)
"""In the place of FAILED, unless the copy was alone: no command discards the only one that counts."""


@attrs.frozen
class _Wreck:
    """A copy that is not whole."""

    head: Head
    written: int
    """Blocks that were written and are whole."""
    damaged: Sequence[tuple[int, int]]
    """Offset and size of what is not, in bytes."""

    @property
    def damaged_bytes(self) -> int:
        return sum(size for _, size in self.damaged)


async def salvage_copy_of(file: Path, abandon: str, statement: str | None, dry_run: bool) -> int:
    """Make the node of a configuration the only one that counts, with what is left of its copy. 0: done or shown.

    ``FailedError`` if the node runs, if its copy is whole, if nothing of it is left, or if the arbiter does not take
    it.
    """
    loaded = load_config(file)
    node, peer = loaded.content.node, loaded.content.peer.node
    check_abandoned(abandon, peer)
    check_statement(abandon, statement)
    await require_stopped(loaded)
    await require_silent(loaded)
    loaded.require_volume_file()
    path, size_bytes = os.fspath(loaded.volume_path), loaded.content.volume.size_bytes
    with needing_whole_volume(loaded):
        head = read_head(path, size_bytes=size_bytes)
    _require_broken(loaded, head)
    arbiter = await open_arbiter(loaded)
    found = await arbiter.read()
    wreck = await _examine(path, size_bytes, head)
    if not wreck.written:
        raise FailedError(f"{path} holds no whole block that any node ever wrote: nothing is left of the copy")
    record = _successor(node, head.metadata, found.record)
    for line in _describe(wreck, found, record, abandon):
        click.echo(line)
    if dry_run:
        return end_dry_run(_steps(found, record, abandon, known=head.metadata is not None))
    require_statement(abandon, statement)
    await require_silent(loaded)
    decision = Decision(
        loaded,
        {
            "decision": "salvage",
            "abandon": abandon,
            "epoch": found.record.epoch,
            "revision": found.revision,
            "before": found.record,
            "after": record,
            "copy": head.metadata,
            "problems": head.problems,
            "damaged_bytes": wreck.damaged_bytes,
            "damaged": wreck.damaged[:RUNS_LOGGED],
        },
    )
    async with decision.under_way():
        if head.metadata is not None:
            # Of a swap that comes late this copy must know: it is not to be overwritten while that may name it.
            doubtful = attrs.evolve(head.metadata, in_doubt=found.revision)
            await rewrite_metadata(ThreadDisk(), path, doubtful, expected=head.metadata)
        written = await swap_record(arbiter, found, record)
        # Behind the record: cut off here, the node still serves nothing, and the command can be given again.
        salvage_copy(path, _bound(node, record, written), size_bytes=size_bytes, damaged=wreck.damaged)
    return await decision.end()


def _require_broken(loaded: LoadedConfig, head: Head) -> None:
    metadata, content = head.metadata, loaded.content
    if metadata is None:
        return
    if (metadata.cluster, metadata.node, metadata.resource) != (content.cluster, content.node, content.resource):
        raise loaded.fault("volume.file", f"belongs to node {metadata.node} of {metadata.cluster}")
    if metadata.copy not in _STANDS and not head.problems:
        raise FailedError(
            f"the copy of node {content.node} is whole: start the node, and if it is outdated, "
            f"ctlha force-primary {loaded.quoted} --abandon {content.peer.node}; if it stops as copy-went-back, and no "
            f"newer file is left, stop it, then: ctlha adopt-arbiter {loaded.quoted} --abandon {content.peer.node}"
        )


async def _examine(path: str, size_bytes: int, head: Head) -> _Wreck:
    """Read all of it. On a terminal a bar shows how far that is."""
    written, damaged = 0, list[tuple[int, int]]()
    remains = read_remains(path, size_bytes=size_bytes)
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=size_bytes, file=sys.stderr, label="reading", hidden=hidden) as bar:
        while (each := await run_in_thread(partial(next, remains, None))) is not None:
            written += each.written
            for offset in each.damaged:
                begins, size = damaged.pop() if damaged and sum(damaged[-1]) == offset else (offset, 0)
                damaged.append((begins, size + min(BLOCK_BYTES, size_bytes - offset)))
            bar.update(each.read_bytes)
    return _Wreck(head, written, damaged)


def _successor(node: str, metadata: Metadata | None, record: Record) -> Record:
    """The first record of a new line: newer than all that arbiter and copy know or heard of, descending from both."""
    known = record
    if metadata is not None:
        lines = filter(None, (*record.ancestors, *metadata.ancestors, metadata.lineage, metadata.later_line))
        ancestors = tuple(line for line in dict.fromkeys(lines) if line != record.lineage)
        heard_epoch = metadata.heard.epoch if metadata.heard is not None else 0
        known = attrs.evolve(record, epoch=max(record.epoch, metadata.epoch, heard_epoch), ancestors=ancestors)
    return known.fork(primary=node, lineage=secrets.token_hex(16), proposal=secrets.token_hex(16))


def _bound(node: str, record: Record, written: CreatedRecord) -> Metadata:
    """Of a copy that counts alone by this record, and was equal to no other in any epoch."""
    return Metadata(
        cluster=record.cluster,
        node=node,
        resource=record.resource,
        lineage=record.lineage,
        ancestors=record.ancestors,
        arbiter=written.identity,
        epoch=record.epoch,
        revision=written.revision,
        primary=record.primary,
        members=record.members,
        copy=Copy.MEMBER,
    )


def _describe(wreck: _Wreck, found: Versioned, after: Record, abandon: str) -> Iterator[str]:
    before, node, metadata = found.record, after.primary, wreck.head.metadata
    yield f"epoch    {before.epoch} -> {after.epoch}"
    yield f"primary  {before.primary} -> {node}"
    yield f"members  {' '.join(before.members)} -> {node}"
    yield f"lineage  {before.lineage} -> a new one"
    yield f"node {node}: what is left of its copy becomes the volume, {wreck.written} whole blocks"
    for problem in wreck.head.problems:
        yield f"at risk: {problem}"
    if metadata is None:
        yield "at risk: nothing tells from when the copy is, nor whether it was whole"
    elif metadata.copy is Copy.FAILED and metadata.members != (node,):
        yield f"at risk: {_GIVEN_UP}"
    elif metadata.copy in _STANDS:
        yield f"at risk: {_STANDS[metadata.copy].format(epoch=metadata.epoch)}"
    if metadata is not None and metadata.heard is not None and metadata.heard.epoch > metadata.epoch:
        yield f"at risk: {describe_heard(metadata, abandon)}"
    if abandon in before.members:
        yield f"at risk: by the record the copy of node {abandon} counts: if it can still be read, start that node"
    if not wreck.head.has_records:
        yield "lost: the records of the layers above, of which no table can be read"
    yield from name_ranges("damaged", wreck.damaged)
    yield f"node {abandon}: its copy is abandoned, and overwritten when it returns"
    yield "lost: what was acknowledged and is not on this copy; check what clients keep on the volume before it is used"


def _steps(found: Versioned, record: Record, abandon: str, *, known: bool) -> Iterator[PlannedStep]:
    node = record.primary
    yield PlannedStep(f"a person says that node {abandon} is powered off")
    yield PlannedStep("the decision is logged", f"on node {node}: a line in {DECISIONS_FILE}")
    if known:
        yield PlannedStep(
            "the copy is said to be in doubt",
            f"on node {node}: that it may be forced while the record has revision {found.revision}",
        )
    yield PlannedStep(
        "the record is swapped", f"at the arbiter: epoch {record.epoch}, primary {node}, members {node}, a new lineage"
    )
    yield PlannedStep("the copy is said to count", f"on node {node}: epoch {record.epoch}, the new lineage")
    yield PlannedStep("how it ended is logged", f"on node {node}: a line in {DECISIONS_FILE}")
    yield PlannedStep(f"a person starts node {node}, and writes anew what is damaged")
    yield PlannedStep(f"everything is copied to node {abandon} when it returns")
