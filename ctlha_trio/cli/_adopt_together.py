"""``ctlha adopt-arbiter`` without ``--abandon``: given at both nodes, which agree on what they know, and lose nothing.

Both copies stay what they are, in the epoch and the line that they are of: the arbiter gets the record that both know.
So nothing has to be abandoned, and whatever is cut off in the middle is done by giving both commands again.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from ctlha_trio._errors import ArbiterSilentError, FailedError, UnknownOutcomeError
from ctlha_trio.arbiter import CreatedRecord, create_etcd_record, create_sqlite_arbiter
from ctlha_trio.cli._config import LoadedConfig, SqliteTable, load_config
from ctlha_trio.cli._knowledge import Knowledge, disagreement, hear, is_of, knowledge_of, need_none
from ctlha_trio.cli._meeting import Conversation, meet
from ctlha_trio.cli._steps import end_dry_run
from ctlha_trio.cli._stopped_node import (
    Decision,
    find_arbiter,
    gives_up,
    read_metadata,
    require_stopped,
    swap_record,
)
from ctlha_trio.door import DECISIONS_FILE
from ctlha_trio.pair import Metadata, PlannedStep, Record
from ctlha_trio.seams import Arbiter, ThreadDisk, Versioned
from ctlha_trio.store import rewrite_metadata


def agreed_record(known: Metadata, found: Record | None, proposal: str) -> Record:
    """What the arbiter is given. ``FailedError`` if it holds what neither node has seen."""
    if found is None:
        return Record(
            cluster=known.cluster,
            resource=known.resource,
            epoch=known.epoch,
            lineage=known.lineage,
            primary=known.primary,
            members=known.members,
            proposal=proposal,
            ancestors=known.ancestors,
        )
    if is_of(found, known):
        return found
    if found.lineage not in (known.lineage, *known.ancestors) or found.epoch >= known.epoch:
        raise FailedError(
            f"the arbiter holds epoch {found.epoch} of lineage {found.lineage}, which neither node has seen: "
            "decide which copy is the volume, and give the command there with --abandon"
        )
    return attrs.evolve(
        found,
        epoch=known.epoch,
        lineage=known.lineage,
        ancestors=found.ancestors if found.lineage == known.lineage else known.ancestors,
        primary=known.primary,
        members=known.members,
        proposal=proposal,
        fence="none",
        evidence="",
    )


async def adopt_together(file: Path, dry_run: bool) -> int:
    """Bind both copies to the arbiter, once the command at the other node is met. 0: done or shown.

    ``FailedError`` if it is not met, if the nodes do not agree, or if nothing is wrong with the arbiter.
    """
    loaded = load_config(file)
    await require_stopped(loaded)
    metadata = await read_metadata(loaded, ThreadDisk())
    arbiter = await find_arbiter(loaded)
    found = await arbiter.read() if arbiter else None
    mine = Knowledge.of(metadata, loaded.content.peer.node, arbiter, found, dry_run=dry_run)
    adoption = _Adoption(loaded, metadata, arbiter, found, mine)
    click.echo(f"waiting for the same command at node {loaded.content.peer.node}, {loaded.content.peer.address}")
    given_up = found is not None and not mine.would_start and gives_up(found.record, metadata)
    await meet(loaded, attrs.asdict(mine), adoption.converse, alone=_alone(loaded, mine, given_up=given_up))
    return adoption.code


@attrs.define(eq=False)
class _Adoption:
    """Of one of the two nodes."""

    loaded: LoadedConfig
    metadata: Metadata
    arbiter: Arbiter | None
    found: Versioned | None
    mine: Knowledge
    code: int = attrs.field(default=0, init=False)
    """With which the command is to end."""

    async def converse(self, other: Conversation, told: dict[str, Any]) -> None:
        """Agree, then the primary has the record written, and is the last to be bound.

        What the other one tells is durable before anything is said of it: it may be gone when this node starts.
        """
        theirs = knowledge_of(told)
        if not self.mine.dry_run and not theirs.dry_run:
            await self._remember(hear(self.metadata, theirs))
        try:
            record = self._agree_with(theirs)
        except FailedError:
            self._show_copies(theirs, err=True)
            raise
        self._show_copies(theirs)
        click.echo(_describe(self.found, record))
        if self.mine.dry_run or theirs.dry_run:
            end_dry_run(_steps(self.found, record))
            return
        decision = self._decision(record)
        async with decision.under_way():
            await (self._lead(other, record) if self.mine.node == record.primary else self._follow(other))
        self.code = await decision.end()

    async def _lead(self, other: Conversation, record: Record) -> None:
        await other.hear()
        written = await self._write(record)
        await other.say(identity=written.identity, revision=written.revision)
        await other.hear()
        await self._bind(written)

    async def _follow(self, other: Conversation) -> None:
        await other.say(ready=True)
        answer = await other.hear()
        await self._bind(CreatedRecord(str(answer["identity"]), int(answer["revision"])))
        await other.say(bound=True)

    def _agree_with(self, theirs: Knowledge) -> Record:
        if need_none(self.mine, theirs):
            raise FailedError("nothing is wrong with the arbiter: start both nodes")
        if problem := disagreement(self.mine, theirs):
            raise FailedError(f"the nodes do not agree: {problem}. {self._choice(theirs)}")
        writer = self.mine if self.mine.node == self.metadata.primary else theirs
        return agreed_record(self.metadata, self.found.record if self.found else None, writer.proposal)

    def _choice(self, theirs: Knowledge) -> str:
        """What is left to a person. A node with whose arbiter nothing is wrong is not bound anew: the other one is."""
        for one, other in ((self.mine, theirs), (theirs, self.mine)):
            if self.found is not None and one.leaves_only(other, self.found.record):
                return (
                    f"Node {one.node} starts as it is. If its copy is the volume, at node {other.node}: ctlha resolve "
                    f"<its node.toml> --discard {other.node}; if that of node {other.node} is, give this command there "
                    f"with --abandon {one.node}"
                )
        return (
            "Decide which copy is the volume, and give the command there with --abandon. "
            "It shows both copies side by side, and with --dry-run changes nothing"
        )

    def _show_copies(self, theirs: Knowledge, *, err: bool = False) -> None:
        for each in sorted((self.mine, theirs), key=lambda each: each.node):
            click.echo(each.describe(), err=err)

    def _decision(self, record: Record) -> Decision:
        found = self.found
        return Decision(
            self.loaded,
            {
                "decision": "adopt-arbiter",
                "abandon": None,
                "epoch": self.metadata.epoch,
                "revision": found.revision if found else 0,
                "before": found.record if found else None,
                "after": record,
                "copy": self.metadata,
            },
        )

    async def _write(self, record: Record) -> CreatedRecord:
        arbiter, found = self.arbiter, self.found
        if arbiter is not None and found is not None:
            if record is found.record:
                return CreatedRecord(arbiter.identity, found.revision)
            return await swap_record(arbiter, found, record)
        return await create_record(self.loaded, record)

    async def _bind(self, written: CreatedRecord) -> None:
        await self._remember(
            attrs.evolve(self.metadata, arbiter=written.identity, revision=written.revision, heard=None)
        )

    async def _remember(self, metadata: Metadata) -> None:
        if metadata != self.metadata:
            path = os.fspath(self.loaded.volume_path)
            await rewrite_metadata(ThreadDisk(), path, metadata, expected=self.metadata)
            self.metadata = metadata


def _alone(loaded: LoadedConfig, mine: Knowledge, *, given_up: bool) -> str:
    """What one node can do without the other; ``given_up``: its copy, when the other one was bound to the arbiter."""
    if given_up:
        return (
            f"by the arbiter's record the copy of node {mine.node} was abandoned at node {loaded.content.peer.node}, "
            f"and what helps is ctlha resolve {loaded.quoted} --discard {mine.node}"
        )
    if mine.would_start:
        return f"for node {mine.node} nothing is wrong with the arbiter: start it, and then the other one"
    return f"one node alone needs --abandon {loaded.content.peer.node}"


async def create_record(loaded: LoadedConfig, record: Record) -> CreatedRecord:
    """Where the arbiter holds none. Errors are those of the arbiter that the configuration names. A checkpoint.

    ``UnknownOutcomeError`` if nobody knows whether it is there.
    """
    table = loaded.content.arbiter
    if isinstance(table, SqliteTable):
        return CreatedRecord(create_sqlite_arbiter(loaded.folder / table.sqlite, record), 1)
    try:
        return await create_etcd_record(loaded.etcd_access(table), record)
    except ArbiterSilentError as error:
        if not error.sent:
            raise
        raise UnknownOutcomeError(
            f"nobody knows whether the arbiter has the record: {error}; give the command again, which finds that"
        ) from error


def _describe(found: Versioned | None, record: Record) -> str:
    held = "nothing"
    if found is not None:
        held = f"epoch {found.record.epoch}, revision {found.revision}, members {' '.join(found.record.members)}"
    given = f"epoch {record.epoch}, primary {record.primary}, members {' '.join(record.members)}, as both know it"
    return f"arbiter  {held}\n         -> {given}"


def _steps(found: Versioned | None, record: Record) -> Iterator[PlannedStep]:
    primary, members = record.primary, " ".join(record.members)
    yield PlannedStep("the decision is logged", f"on both nodes: a line in {DECISIONS_FILE}")
    if found is None or record is not found.record:
        yield PlannedStep(
            "the record is written", f"at the arbiter: epoch {record.epoch}, primary {primary}, members {members}"
        )
    yield PlannedStep("the other node's copy is bound to it", "there: this arbiter and its revision, nothing else")
    yield PlannedStep(f"the copy of node {primary} is bound to it", f"on node {primary}: likewise")
    yield PlannedStep("how it ended is logged", f"on both nodes: a line in {DECISIONS_FILE}")
