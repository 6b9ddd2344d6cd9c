"""A node that does not run, as its own files and the arbiter show it: for commands that change what it starts from."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVarTuple

import attrs
import click

from ctlha_trio._errors import ConfigError, CtlHaError, FailedError, StoreError, UnknownOutcomeError
from ctlha_trio.arbiter import CreatedRecord, EtcdArbiter, SqliteArbiter
from ctlha_trio.cli._config import LoadedConfig, SqliteTable, load_config
from ctlha_trio.cli._lost_files import needing_arbiter_file, needing_whole_volume
from ctlha_trio.cli._run import EXIT_UNLOGGED
from ctlha_trio.door import DECISIONS_FILE, STATUS_SOCKET, DecisionLog, access_denied, is_answered
from ctlha_trio.pair import Metadata, PairState, Phase, Record, SwapOutcome, boot, events, step_pair
from ctlha_trio.seams import Arbiter, Disk, TrioClock, Versioned, run_in_thread
from ctlha_trio.store import BlockStore, read_facts

Arguments = TypeVarTuple("Arguments")

OTHER_ARBITER = "other-arbiter"
"""What is wrong with a copy that belongs to another arbiter's data. Such a node does not even start."""


class BegunError(CtlHaError):
    """What was begun did not come to its end, as the log of decisions has it by now. Its cause says why."""


async def require_stopped(loaded: LoadedConfig) -> None:
    """``FailedError`` if the node runs, or if nobody can tell; ``ConfigError`` for another user's. A checkpoint."""
    path = loaded.folder / STATUS_SOCKET
    try:
        runs = await run_in_thread(partial(is_answered, path))
    except PermissionError as error:
        raise access_denied(path) from error
    except OSError as error:
        reason = error.strerror or error
        raise FailedError(f"nobody can tell whether node {loaded.content.node} runs: {path}: {reason}") from error
    if runs:
        raise FailedError(f"node {loaded.content.node} runs; stop it first")


async def find_arbiter(loaded: LoadedConfig) -> Arbiter | None:
    """The arbiter of the configuration, whichever data lies there; None if none does. A checkpoint.

    ``ConfigError`` for data of another pair, ``ArbiterError`` if nobody can tell.
    """
    content = loaded.content
    table = content.arbiter
    if isinstance(table, SqliteTable):
        path = loaded.folder / table.sqlite
        if not loaded.exists("arbiter.sqlite", path):
            return None
        with needing_arbiter_file(loaded, path):
            return await SqliteArbiter.open(path, cluster=content.cluster, resource=content.resource)
    return await EtcdArbiter.discover(loaded.etcd_access(table), cluster=content.cluster, resource=content.resource)


async def open_arbiter(loaded: LoadedConfig) -> Arbiter:
    """As ``find_arbiter``; ``FailedError`` if there is none."""
    arbiter = await find_arbiter(loaded)
    if arbiter is None:
        raise FailedError(f"the arbiter holds no record; what helps is ctlha adopt-arbiter {loaded.quoted}")
    return arbiter


async def swap_record(arbiter: Arbiter, found: Versioned, record: Record) -> CreatedRecord:
    """Put ``record`` in the place of the one that was found. ``FailedError`` if the arbiter did not take it.

    ``UnknownOutcomeError`` if nobody knows that. A checkpoint.
    """
    answer = await arbiter.cas(found.revision, record)
    if answer.outcome is SwapOutcome.UNKNOWN:
        raise UnknownOutcomeError("nobody knows whether the arbiter took it; give the command again, which finds that")
    if answer.outcome is not SwapOutcome.WON or answer.revision is None:
        raise FailedError(f"the arbiter did not take it ({answer.outcome.value}); give the command again")
    return CreatedRecord(arbiter.identity, answer.revision)


async def read_metadata(loaded: LoadedConfig, disk: Disk) -> Metadata:
    """What the node's backing file says of its copy. A checkpoint.

    ``ConfigError`` if there is none, ``StoreError`` if a node has it open.
    """
    loaded.require_volume_file()
    path, size_bytes = os.fspath(loaded.volume_path), loaded.content.volume.size_bytes
    with needing_whole_volume(loaded):
        store = await BlockStore.open(disk, path, size_bytes=size_bytes, clock=TrioClock())
    store.close()
    metadata = store.metadata
    if (metadata.cluster, metadata.node) != (loaded.content.cluster, loaded.content.node):
        raise loaded.fault("volume.file", f"belongs to node {metadata.node} of {metadata.cluster}")
    return metadata


def divergence(metadata: Metadata, peer: str, identity: str, found: Versioned) -> str:
    """The reason for which a node with this copy would stop at this record; empty if it would go on."""
    if metadata.arbiter != identity:
        return OTHER_ARBITER
    state: PairState = boot(
        me=metadata.node, peer=peer, incarnation=1, size_bytes=1, metadata=metadata, marked_from=None
    )[0]
    state, _ = step_pair(state, events.RecordRead(found.record, found.revision))
    return state.why if state.phase is Phase.STOPPED else ""


def gives_up(record: Record, metadata: Metadata) -> bool:
    """Whether the record, with which a node of this copy does not start, was begun from its line at the other node.

    As ``adopt-arbiter --abandon`` there leaves it: the other copy counts, and nothing is left to this one.
    """
    return metadata.lineage in record.ancestors and record.members != (metadata.node,)


def describe_heard(metadata: Metadata, peer: str) -> str:
    """Of which epoch this copy knows that is not its own, and whose that was; empty if it knows of none."""
    heard = metadata.heard
    if heard is None:
        return ""
    if (heard.lineage, heard.epoch) == (metadata.lineage, metadata.epoch):
        other = peer if heard.leads else metadata.node
        return (
            f"node {other} has acted on an epoch {heard.epoch} that is not this copy's: the two were used apart, and "
            "each lacks what the other one took since"
        )
    if heard.leads:
        return f"node {peer} has acted on epoch {heard.epoch}, this copy on {metadata.epoch}: its copy is newer"
    return (
        f"node {metadata.node} itself has acted on epoch {heard.epoch}, this copy on {metadata.epoch}: "
        "it is an older one of that node's, or one of two that were used apart, and lacks what came since"
    )


async def log_refusals(
    decision: str, command: Callable[[Path, *Arguments], Awaitable[int]], file: Path, *arguments: *Arguments
) -> int:
    """Carry out a command; what it refuses stands in the node's log of decisions, and is raised, as is what fails.

    One that repeats is told once an hour: a script that retries must not fill the disk.
    """
    try:
        return await command(file, *arguments)
    except BegunError as error:
        raise (error.__cause__ or error) from None
    except FailedError as error:
        loaded = load_config(file)
        epoch, revision = _known(loaded)
        # What cannot be logged has changed nothing, and its reason matters more.
        with suppress(StoreError):
            await DecisionLog(loaded.folder / DECISIONS_FILE).append_refusal(
                decision=decision, revision=revision, epoch=epoch, why=str(error)
            )
        raise


def _known(loaded: LoadedConfig) -> tuple[int, int]:
    """Epoch and revision, as far as the copy can be read."""
    try:
        metadata = read_facts(os.fspath(loaded.volume_path), size_bytes=loaded.content.volume.size_bytes).metadata
    except (StoreError, ConfigError):
        return 0, 0
    return metadata.epoch, metadata.revision


@attrs.frozen
class Decision:
    """One decision and its lines in the log of the node."""

    loaded: LoadedConfig
    fields: dict[str, object]

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Log that it was asked for, durably, before the block, and that it failed if the block raises.

        ``StoreError`` if the first cannot be: it is not to be done. ``BegunError`` in the place of what the block
        raises: a part of it may be done. A checkpoint.
        """
        await self._log().append(outcome="asked", **self.fields)
        try:
            yield
        except CtlHaError as error:
            await self._fail(error)
            raise BegunError(str(error)) from error

    async def _fail(self, error: CtlHaError) -> None:
        ended = "unknown" if isinstance(error, UnknownOutcomeError) else "failed"
        try:
            await self._log().append(outcome=f"{ended}: {error}", **self.fields)
        except StoreError as problem:
            click.echo(f"the log of decisions lacks the line that says how it ended: {problem}", err=True)

    async def end(self) -> int:
        """Log that it is done, and say so. The exit code: what is done was not refused if the log has no room for it.

        A checkpoint.
        """
        code = 0
        try:
            await self._log().append(outcome="done", **self.fields)
        except StoreError as error:
            click.echo(f"done, but the log of decisions lacks the line that says so: {error}", err=True)
            code = EXIT_UNLOGGED
        click.echo(f"done; start it: ctlha node {self.loaded.quoted}")
        return code

    def _log(self) -> DecisionLog:
        return DecisionLog(self.loaded.folder / DECISIONS_FILE)
