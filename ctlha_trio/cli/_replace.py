"""``ctlha replace``: an empty copy for a node whose disk was replaced, which the other node fills."""

import os
from pathlib import Path

import click
import trio

from ctlha_trio._errors import FailedError
from ctlha_trio.arbiter import EtcdArbiter, SqliteArbiter
from ctlha_trio.cli._config import LoadedConfig, SqliteTable, load_config
from ctlha_trio.door import DECISIONS_FILE, STATUS_SOCKET, DecisionLog, is_answered
from ctlha_trio.pair import Copy, Metadata, Record
from ctlha_trio.seams import Arbiter
from ctlha_trio.store import create_store_file


async def replace_copy(file: Path, node: str, dry_run: bool) -> int:
    """Make the backing file anew. It says that it holds nothing, so that it counts only when it was copied whole.

    Neither the record nor any other file is changed. ``ConfigError`` if it cannot be made here, ``FailedError`` if it
    would help nobody.
    """
    loaded = load_config(file)
    await _check_place(loaded, node)
    arbiter = await _open_arbiter(loaded)
    found = await arbiter.read()
    record = found.record
    peer = loaded.content.peer.node
    if record.members == (node,):
        raise FailedError(
            f"no other copy counts than that of node {node}; to serve what node {peer} still has, on {peer}: "
            f"ctlha force-primary <its node.toml> --abandon {node}"
        )
    metadata = Metadata(
        cluster=record.cluster,
        node=node,
        resource=record.resource,
        lineage=record.lineage,
        arbiter=arbiter.identity,
        epoch=record.epoch,
        revision=found.revision,
        primary=record.primary,
        members=record.members,
        # Where the record still names this node, this is what keeps it from believing that.
        copy=Copy.FAILED,
    )
    click.echo(_describe(loaded, record))
    if dry_run:
        click.echo("nothing was changed: --dry-run")
        return 0
    log = DecisionLog(loaded.folder / DECISIONS_FILE)
    decision = {"decision": "replace", "node": node, "epoch": record.epoch, "revision": found.revision}
    await log.append(outcome="asked", before=record, **decision)
    create_store_file(os.fspath(loaded.volume_path), metadata, loaded.content.volume.size_bytes)
    await log.append(outcome="done", before=record, **decision)
    click.echo(f"done; start it: ctlha node {file}")
    return 0


async def _check_place(loaded: LoadedConfig, node: str) -> None:
    own = loaded.content.node
    if node != own:
        raise loaded.fault("node", f"is {own}; a disk is replaced on its own node, by {node}'s configuration")
    if await trio.to_thread.run_sync(is_answered, loaded.folder / STATUS_SOCKET):
        raise FailedError(f"node {node} runs; stop it first")
    if loaded.volume_path.exists():
        raise loaded.fault("volume.file", f"{loaded.volume_path} exists and is not overwritten; move it away")


async def _open_arbiter(loaded: LoadedConfig) -> Arbiter:
    """Whichever data lies there: no copy is left that remembers its identity, and this one will not serve by it."""
    content = loaded.content
    table = content.arbiter
    if isinstance(table, SqliteTable):
        path = loaded.folder / table.sqlite
        return await SqliteArbiter.open(path, cluster=content.cluster, resource=content.resource)
    return await EtcdArbiter.discover(loaded.etcd_access(table), cluster=content.cluster, resource=content.resource)


def _describe(loaded: LoadedConfig, record: Record) -> str:
    content = loaded.content
    lines = [
        f"record   unchanged: epoch {record.epoch}, primary {record.primary}, members {' '.join(record.members)}",
        f"node {content.node}: a new copy that holds nothing, {content.volume.size_bytes} bytes, {loaded.volume_path}",
        f"node {content.peer.node}: its copy is copied there whole; until then no other holds what was acknowledged",
    ]
    return "\n".join(lines)
