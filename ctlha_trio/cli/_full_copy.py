"""``ctlha replace`` and ``ctlha resolve``: a copy that holds nothing, which the other node fills."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from ctlha_trio._errors import FailedError
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._copies import describe_copies
from ctlha_trio.cli._steps import end_dry_run
from ctlha_trio.cli._stopped_node import Decision, divergence, open_arbiter, read_metadata, require_stopped
from ctlha_trio.door import DECISIONS_FILE
from ctlha_trio.pair import Copy, Metadata, PlannedStep, Record
from ctlha_trio.seams import Arbiter, ThreadDisk, Versioned
from ctlha_trio.store import create_store_file, rewrite_metadata


async def replace_copy(file: Path, node: str, dry_run: bool) -> int:
    """Make the backing file anew. It says that it holds nothing, so that it counts only when it was copied whole.

    The record is not changed. ``ConfigError`` if it cannot be made here, ``FailedError`` if it would help nobody.
    """
    loaded = load_config(file)
    _require_own(loaded, node)
    await require_stopped(loaded)
    if loaded.exists("volume.file", loaded.volume_path):
        raise loaded.fault("volume.file", f"{loaded.volume_path} exists and is not overwritten; move it away")
    arbiter = await open_arbiter(loaded)
    found = await arbiter.read()
    if refusal := _only_copy(loaded, found.record):
        raise FailedError(refusal)
    click.echo(_describe_record(found))
    click.echo(f"node {node}: a new copy that holds nothing, {loaded.content.volume.size_bytes} bytes")
    click.echo(_describe_source(loaded))
    if dry_run:
        made = PlannedStep("the backing file is made", f"on node {node}: a copy that holds nothing, and says so")
        return end_dry_run(_steps(loaded, found.record, made))
    decision = _decision(loaded, "replace", found)
    async with decision.under_way():
        nothing = _nothing(loaded, arbiter, found)
        create_store_file(os.fspath(loaded.volume_path), nothing, loaded.content.volume.size_bytes)
    return await decision.end()


async def resolve_copy(file: Path, discard: str, other: Path | None, dry_run: bool) -> int:
    """Show both copies and the record from which one has diverged, and mark that one as one that holds nothing.

    What is refused is explained by the same, on standard error.
    ``other``: where to look for the other node's copy, as of ``find_other``.
    ``FailedError`` if it has not diverged, or if no other copy counts.
    """
    loaded = load_config(file)
    _require_own(loaded, discard)
    await require_stopped(loaded)
    disk = ThreadDisk()
    metadata = await read_metadata(loaded, disk)
    arbiter = await open_arbiter(loaded)
    found = await arbiter.read()
    why = divergence(metadata, loaded.content.peer.node, arbiter.identity, found)
    refusal = _only_copy(loaded, found.record)
    if not why:
        refusal = f"the copy of node {discard} has not diverged from the record: start the node"
    for line in _describe_divergence(loaded, other, metadata, found):
        click.echo(line, err=bool(refusal))
    if refusal:
        raise FailedError(refusal)
    click.echo(f"node {discard}: {why}; its copy is discarded")
    click.echo(_describe_source(loaded))
    if dry_run:
        marked = PlannedStep("the copy is marked", f"on node {discard}: that its copy holds nothing")
        return end_dry_run(_steps(loaded, found.record, marked))
    decision = _decision(loaded, "resolve", found, copy=metadata)
    async with decision.under_way():
        nothing = _nothing(loaded, arbiter, found)
        await rewrite_metadata(disk, os.fspath(loaded.volume_path), nothing, expected=metadata)
    return await decision.end()


def _require_own(loaded: LoadedConfig, node: str) -> None:
    own, peer = loaded.content.node, loaded.content.peer.node
    if node == peer:
        raise loaded.fault("node", f"is {own}; name that one, or the configuration of {peer}")
    if node != own:
        raise loaded.fault("node", f"is {own}; the pair has no other nodes than {own} and {peer}")


def _only_copy(loaded: LoadedConfig, record: Record) -> str:
    """Why this node's copy is not given up, if no other one counts; else nothing."""
    node, peer = loaded.content.node, loaded.content.peer.node
    if record.members != (node,):
        return ""
    return (
        f"no other copy counts than that of node {node}; to serve what node {peer} still has, on {peer}: "
        f"ctlha force-primary <its node.toml> --abandon {node}"
    )


def _nothing(loaded: LoadedConfig, arbiter: Arbiter, found: Versioned) -> Metadata:
    """Of a copy that knows the record, and that it holds nothing, even where the record still names its node.

    Whether the node was forced from that record nobody can tell who has lost its disk: such a swap may come late, so
    the record is moved before this copy is filled.
    """
    record = found.record
    return Metadata(
        cluster=record.cluster,
        node=loaded.content.node,
        resource=record.resource,
        lineage=record.lineage,
        ancestors=record.ancestors,
        arbiter=arbiter.identity,
        epoch=record.epoch,
        revision=found.revision,
        primary=record.primary,
        members=record.members,
        copy=Copy.FAILED,
        in_doubt=found.revision,
    )


def _decision(loaded: LoadedConfig, what: str, found: Versioned, **more: object) -> Decision:
    record = found.record
    known = {"epoch": record.epoch, "revision": found.revision, "before": record}
    return Decision(loaded, {"decision": what, "node": loaded.content.node, **known, **more})


def _steps(loaded: LoadedConfig, record: Record, change: PlannedStep) -> Iterator[PlannedStep]:
    node, peer = loaded.content.node, loaded.content.peer.node
    swapped = f"at the arbiter: the next epoch, primary {peer}, members"
    yield PlannedStep("the decision is logged", f"on node {node}: a line in {DECISIONS_FILE}")
    yield change
    yield PlannedStep("how it ended is logged", f"on node {node}: a line in {DECISIONS_FILE}")
    yield PlannedStep(f"a person starts node {node}")
    goes_on = "goes on alone" if node in record.members else "moves the record, so that no forced swap comes late"
    yield PlannedStep(f"node {peer} {goes_on}", f"{swapped} {peer}")
    yield PlannedStep(f"everything is copied from node {peer}", f"on node {node}: first that it is being overwritten")
    yield PlannedStep("the record is swapped", f"{swapped} {' '.join(sorted((node, peer)))}")


def _describe_divergence(
    loaded: LoadedConfig, other: Path | None, metadata: Metadata, found: Versioned
) -> Iterator[str]:
    yield (
        f"copy     node {metadata.node}: epoch {metadata.epoch}, revision {metadata.revision}, "
        f"lineage {metadata.lineage}, members {' '.join(metadata.members)}, {metadata.copy.value}"
    )
    yield _describe_record(found)
    yield from describe_copies(loaded, other, found.record)


def _describe_record(found: Versioned) -> str:
    record = found.record
    return (
        f"record   unchanged: epoch {record.epoch}, revision {found.revision}, lineage {record.lineage}, "
        f"primary {record.primary}, members {' '.join(record.members)}"
    )


def _describe_source(loaded: LoadedConfig) -> str:
    peer = loaded.content.peer.node
    return f"node {peer}: its copy is copied there whole; until then no other holds what was acknowledged"
