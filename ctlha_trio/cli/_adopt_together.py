"""``ctlha adopt-arbiter`` without ``--abandon``: given at both nodes, which agree on what they know, and lose nothing.

Both copies stay what they are, in the epoch and the line that they are of: the arbiter gets the record that both know.
So nothing has to be abandoned, and whatever is cut off in the middle is done by giving both commands again.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import cattrs
import click

from ctlha_trio._errors import FailedError
from ctlha_trio.arbiter import CreatedRecord, create_etcd_record, create_sqlite_arbiter
from ctlha_trio.cli._config import LoadedConfig, SqliteTable, load_config
from ctlha_trio.cli._meeting import Conversation, meet
from ctlha_trio.cli._steps import end_dry_run
from ctlha_trio.cli._stopped_node import Decision, find_arbiter, read_metadata, require_stopped, swap_record
from ctlha_trio.door import DECISIONS_FILE
from ctlha_trio.pair import Copy, Metadata, PlannedStep, Record
from ctlha_trio.seams import Arbiter, ThreadDisk, Versioned
from ctlha_trio.store import rewrite_metadata


@attrs.frozen(kw_only=True)
class Knowledge:
    """What one node, stopped, knows of the pair and of the arbiter."""

    cluster: str
    resource: str
    node: str
    lineage: str
    epoch: int
    primary: str
    members: tuple[str, ...]
    copy: str
    arbiter: str
    """That its copy is bound to."""
    revision: int
    heard_epoch: int
    """That the other one has told of; 0: none."""
    found_identity: str
    """Of the arbiter that it finds; empty: none."""
    found_revision: int
    is_bound: bool
    """Its copy belongs to that arbiter, which holds what it knows: an adoption that was cut off has come so far."""
    proposal: str
    """Random id that a record which it has written would bear."""
    dry_run: bool

    @staticmethod
    def of(metadata: Metadata, arbiter: Arbiter | None, found: Versioned | None, *, dry_run: bool) -> "Knowledge":
        """As the node's own file and the arbiter say it."""
        return Knowledge(
            cluster=metadata.cluster,
            resource=metadata.resource,
            node=metadata.node,
            lineage=metadata.lineage,
            epoch=metadata.epoch,
            primary=metadata.primary,
            members=metadata.members,
            copy=metadata.copy.value,
            arbiter=metadata.arbiter,
            revision=metadata.revision,
            heard_epoch=0 if metadata.heard is None else metadata.heard.epoch,
            found_identity="" if arbiter is None else arbiter.identity,
            found_revision=0 if found is None else found.revision,
            is_bound=arbiter is not None and found is not None and _is_bound(metadata, arbiter.identity, found),
            proposal=secrets.token_hex(16),
            dry_run=dry_run,
        )

    def describe(self) -> str:
        """One line."""
        return (
            f"copy     node {self.node}: epoch {self.epoch}, revision {self.revision}, lineage {self.lineage}, "
            f"members {' '.join(self.members)}, {self.copy}"
        )


def disagreement(one: Knowledge, other: Knowledge) -> str:
    """Why the two do not know the same, or why a copy that counts by it is not whole; empty if all is well."""
    both = sorted((one, other), key=lambda each: each.node)
    if (one.cluster, one.resource) != (other.cluster, other.resource) or one.node == other.node:
        return "they are not the two nodes of one pair"
    if one.lineage != other.lineage:
        return "their copies are of different lines"
    if (one.epoch, one.primary, one.members) != (other.epoch, other.primary, other.members):
        return "; ".join(
            f"node {each.node} knows epoch {each.epoch}, members {' '.join(each.members)}" for each in both
        )
    if one.arbiter == other.arbiter and one.revision != other.revision and not (one.is_bound or other.is_bound):
        return "; ".join(f"node {each.node} knows revision {each.revision}" for each in both)
    for each in both:
        if each.heard_epoch > each.epoch:
            return f"node {each.node} has heard of epoch {each.heard_epoch}, which neither has seen"
        if each.node in each.members and each.copy != Copy.MEMBER.value:
            return f"the copy of node {each.node}, which counts, is {each.copy}"
    if (one.found_identity, one.found_revision) != (other.found_identity, other.found_revision):
        return "they do not find the same at the arbiter"
    return ""


def is_of(record: Record, known: Metadata) -> bool:
    """Whether it says what the node knows."""
    return (record.lineage, record.epoch, record.primary, record.members) == (
        known.lineage,
        known.epoch,
        known.primary,
        known.members,
    )


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
        )
    if is_of(found, known):
        return found
    if found.lineage != known.lineage or found.epoch >= known.epoch:
        raise FailedError(
            f"the arbiter holds epoch {found.epoch} of lineage {found.lineage}, which neither node has seen: "
            "decide which copy is the volume, and give the command there with --abandon"
        )
    return attrs.evolve(
        found,
        epoch=known.epoch,
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
    mine = Knowledge.of(metadata, arbiter, found, dry_run=dry_run)
    adoption = _Adoption(loaded, metadata, arbiter, found, mine)
    click.echo(f"waiting for the same command at node {loaded.content.peer.node}, {loaded.content.peer.address}")
    try:
        await meet(loaded, attrs.asdict(mine), adoption.converse)
    except OSError as error:
        raise loaded.fault("link.listen", f"{loaded.content.link.listen}: {error.strerror or error}") from error
    return 0


@attrs.define(eq=False)
class _Adoption:
    """Of one of the two nodes."""

    loaded: LoadedConfig
    metadata: Metadata
    arbiter: Arbiter | None
    found: Versioned | None
    mine: Knowledge

    async def converse(self, other: Conversation, told: dict[str, Any]) -> None:
        """Agree, then the primary has the record written, and is the last to be bound."""
        theirs = _knowledge_of(told)
        for each in sorted((self.mine, theirs), key=lambda each: each.node):
            click.echo(each.describe())
        problem = disagreement(self.mine, theirs)
        if problem:
            raise FailedError(
                f"the nodes do not agree: {problem}; decide which copy is the volume, and give the command there "
                "with --abandon"
            )
        writer = self.mine if self.mine.node == self.metadata.primary else theirs
        record = agreed_record(self.metadata, self.found.record if self.found else None, writer.proposal)
        if self.mine.is_bound and theirs.is_bound:
            raise FailedError("nothing is wrong with the arbiter: start both nodes")
        click.echo(_describe(self.found, record))
        if self.mine.dry_run or theirs.dry_run:
            end_dry_run(_steps(self.found, record))
            return
        decision = self._decision(record)
        await decision.log("asked")
        if self.mine.node == record.primary:
            await other.hear()
            written = await self._write(record)
            await other.say(identity=written.identity, revision=written.revision)
            await other.hear()
            await self._bind(written)
        else:
            await other.say(ready=True)
            answer = await other.hear()
            await self._bind(CreatedRecord(str(answer["identity"]), int(answer["revision"])))
            await other.say(bound=True)
        await decision.log("done")
        click.echo(f"done; start it: ctlha node {self.loaded.file}")

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
        bound = attrs.evolve(self.metadata, arbiter=written.identity, revision=written.revision, heard=None)
        path = os.fspath(self.loaded.volume_path)
        await rewrite_metadata(ThreadDisk(), path, bound, expected=self.metadata)


async def create_record(loaded: LoadedConfig, record: Record) -> CreatedRecord:
    """Where the arbiter holds none. Errors are those of the arbiter that the configuration names. A checkpoint."""
    table = loaded.content.arbiter
    if isinstance(table, SqliteTable):
        return CreatedRecord(create_sqlite_arbiter(loaded.folder / table.sqlite, record), 1)
    return await create_etcd_record(loaded.etcd_access(table), record)


def _knowledge_of(told: dict[str, Any]) -> Knowledge:
    try:
        return cattrs.structure(told, Knowledge)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise FailedError("the other node's command is of another version: install the same on both") from error


def _is_bound(metadata: Metadata, identity: str, found: Versioned) -> bool:
    newest = max(metadata.revision, 0 if metadata.heard is None else metadata.heard.revision)
    return metadata.arbiter == identity and is_of(found.record, metadata) and newest <= found.revision


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
