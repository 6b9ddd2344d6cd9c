"""``ctlha adopt-arbiter --abandon``: the record that follows on one node's copy, for an arbiter that has none."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio.arbiter import CreatedRecord
from ctlha_trio.cli._adopt_together import create_record
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._copies import describe_copies
from ctlha_trio.cli._other_node import require_silent
from ctlha_trio.cli._statement import check_abandoned, check_statement, require_statement
from ctlha_trio.cli._steps import end_dry_run
from ctlha_trio.cli._stopped_node import (
    Decision,
    describe_heard,
    divergence,
    find_arbiter,
    read_metadata,
    require_stopped,
    swap_record,
)
from ctlha_trio.door import DECISIONS_FILE
from ctlha_trio.pair import Copy, Metadata, PlannedStep, Record
from ctlha_trio.seams import ThreadDisk, TrioClock, Versioned, run_in_thread
from ctlha_trio.store import BlockStore


async def adopt_arbiter(file: Path, abandon: str, statement: str | None, other: Path | None, dry_run: bool) -> int:
    """Write a record that names this node alone, of a new line, and bind this node's copy to it.

    ``other``: where to look for the other node's copy, as of ``find_other``.

    ``FailedError`` if nothing is wrong with the arbiter, or if this node's copy did not count when it was last used.
    """
    loaded = load_config(file)
    peer = loaded.content.peer.node
    check_abandoned(abandon, peer)
    check_statement(abandon, statement)
    await require_stopped(loaded)
    await require_silent(loaded)
    metadata = await read_metadata(loaded, ThreadDisk())
    arbiter = await find_arbiter(loaded)
    found = await arbiter.read() if arbiter else None
    if arbiter and found and not divergence(metadata, peer, arbiter.identity, found):
        raise FailedError(f"nothing is wrong with the arbiter: start node {metadata.node}{_beside(peer, found.record)}")
    record = _successor(metadata, found.record if found else None)
    kept = arbiter is not None and arbiter.identity == metadata.arbiter
    click.echo(_describe(metadata, found, record, abandon))
    click.echo(_describe_return(abandon, kept=kept))
    for line in await run_in_thread(lambda: [*describe_copies(loaded, other, None)]):
        click.echo(line)
    if dry_run:
        return end_dry_run(_steps(metadata, record, abandon))
    require_statement(abandon, statement)
    await require_silent(loaded)
    decision = Decision(
        loaded,
        {
            "decision": "adopt-arbiter",
            "abandon": abandon,
            "epoch": metadata.epoch,
            "revision": found.revision if found else 0,
            "before": found.record if found else None,
            "after": record,
            "copy": metadata,
        },
    )
    async with decision.under_way():
        written = await (swap_record(arbiter, found, record) if arbiter and found else create_record(loaded, record))
        # Behind the record: cut off here, the node still does not start, and the command can be given again.
        await _bind(loaded, metadata, record, written)
    return await decision.end()


def _beside(peer: str, record: Record) -> str:
    """What may be left to do at the other node, whose copy does not count by the record; else nothing."""
    if peer in record.members:
        return ""
    return f"; if node {peer} does not start, there: ctlha resolve <its node.toml> --discard {peer}"


def _successor(metadata: Metadata, record: Record | None) -> Record:
    """The first record of a new line: newer than all that the node and the arbiter know, and descending from both."""
    node = metadata.node
    if node not in metadata.members or not metadata.copy.is_whole:
        raise FailedError(f"the copy of node {node} did not count when it was last used: take the other node's")
    found = () if record is None else (*record.ancestors, record.lineage)
    lines = filter(None, (*metadata.ancestors, *found, metadata.later_line))
    known = Record(
        cluster=metadata.cluster,
        resource=metadata.resource,
        epoch=max(each.epoch for each in (metadata, record, metadata.heard) if each is not None),
        lineage=metadata.lineage,
        primary=metadata.primary,
        members=metadata.members,
        proposal="",
        ancestors=tuple(line for line in dict.fromkeys(lines) if line != metadata.lineage),
    )
    return known.fork(primary=node, lineage=secrets.token_hex(16), proposal=secrets.token_hex(16))


async def _bind(loaded: LoadedConfig, metadata: Metadata, record: Record, written: CreatedRecord) -> None:
    """Let the copy know the new arbiter and its record, and let it forget the revisions of another."""
    bound = attrs.evolve(
        metadata,
        arbiter=written.identity,
        revision=written.revision,
        epoch=record.epoch,
        lineage=record.lineage,
        ancestors=record.ancestors,
        primary=record.primary,
        members=record.members,
        copy=Copy.MEMBER,
        heard=None,
    )
    path, size_bytes = os.fspath(loaded.volume_path), loaded.content.volume.size_bytes
    store = await BlockStore.open(ThreadDisk(), path, size_bytes=size_bytes, clock=TrioClock())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            await store.persist(bound)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


def _steps(metadata: Metadata, record: Record, abandon: str) -> Iterator[PlannedStep]:
    node = metadata.node
    yield PlannedStep(f"a person says that node {abandon} is powered off")
    yield PlannedStep("the decision is logged", f"on node {node}: a line in {DECISIONS_FILE}")
    yield PlannedStep(
        "the record is written", f"at the arbiter: epoch {record.epoch}, primary {node}, members {node}, a new lineage"
    )
    yield PlannedStep("the copy is bound to it", f"on node {node}: epoch {record.epoch}, the new lineage, this arbiter")
    yield PlannedStep("how it ended is logged", f"on node {node}: a line in {DECISIONS_FILE}")


def _describe_return(abandon: str, *, kept: bool) -> str:
    """What has to be done at the abandoned node; ``kept``: the arbiter is the one that its copy belongs to, too."""
    discard = f"ctlha resolve <its node.toml> --discard {abandon}"
    if kept:
        helps = f"start it there, and it is overwritten by itself; only if it stops instead, stop it, then: {discard}"
    else:
        helps = f"it does not start before, there: {discard}"
    return f"node {abandon}: its copy is abandoned; {helps}"


def _describe(metadata: Metadata, found: Versioned | None, record: Record, abandon: str) -> str:
    held, heard = "nothing", describe_heard(metadata, abandon)
    if found is not None:
        held = (
            f"epoch {found.record.epoch}, revision {found.revision}, lineage {found.record.lineage}, "
            f"members {' '.join(found.record.members)}"
        )
    return "\n".join(
        (
            f"copy     node {metadata.node}: epoch {metadata.epoch}, revision {metadata.revision}, "
            f"lineage {metadata.lineage}, members {' '.join(metadata.members)}",
            *((f"heard    {heard}",) if heard else ()),
            f"arbiter  {held}",
            f"         -> epoch {record.epoch}, a new lineage, members {metadata.node}",
            f"node {metadata.node}: its copy becomes the volume",
            *_lost(metadata, found, abandon),
        )
    )


def _lost(metadata: Metadata, found: Versioned | None, abandon: str) -> Iterator[str]:
    node, since, heard = metadata.node, metadata.epoch, metadata.heard
    newer = found is not None and found.record.epoch > since and found.record.primary == node
    if newer or (heard is not None and not heard.leads):
        yield f"lost: what node {node} itself has acknowledged since epoch {since}, and is not on this copy"
    knows = heard is not None and heard.leads
    yield f"lost: what node {abandon} has acknowledged alone since epoch {since}{'' if knows else ', if it has'}"
