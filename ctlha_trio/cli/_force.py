"""``ctlha force-primary``: shows what it would change, has a person say what no node can know, and asks the node."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click

from ctlha_trio._errors import ConfigError, FailedError, StoreError, UnknownOutcomeError
from ctlha_trio.cli._config import FenceTable, LoadedConfig, load_config
from ctlha_trio.cli._copies import describe_copies
from ctlha_trio.cli._copy_view import view_copy
from ctlha_trio.cli._other_node import require_silent
from ctlha_trio.cli._remedies import SEE_STATUS, remedy_for
from ctlha_trio.cli._statement import check_abandoned, check_statement, require_statement
from ctlha_trio.cli._steps import end_dry_run
from ctlha_trio.cli._unanswered import needing_node, wait_telling
from ctlha_trio.door import DECISIONS_FILE, FORCE_S, STATUS_SOCKET, force_plan_of, force_primary_of, status_of
from ctlha_trio.ha import Reason
from ctlha_trio.pair import Copy, PlannedStep
from ctlha_trio.seams import run_in_thread

_WITHHELD: Final = frozenset({Reason.ARBITER_REFUSES.value, Reason.ARBITER_SILENT.value})
"""Why a node that wants to serve waits for longer than an answer takes."""


@attrs.frozen
class Forced:
    """What was asked for on the command line."""

    abandon: str
    statement: str | None
    fence: bool
    other: Path | None = None
    """Where to look for the other node's copy, as of ``find_other``."""


async def force_primary(file: Path, asked: Forced, dry_run: bool) -> int:
    """Make the node of a configuration the only one that counts. The exit code: 0 done or shown.

    ``ConfigError`` if the node to abandon is not the other one, ``FailedError`` if it was not done,
    ``UnknownOutcomeError`` if the node does not say how it ended.
    """
    loaded = load_config(file)
    check_abandoned(asked.abandon, loaded.content.peer.node)
    if not asked.fence:
        check_statement(asked.abandon, asked.statement)
    socket = loaded.folder / STATUS_SOCKET
    plan = await _plan(loaded, asked.abandon)
    if asked.fence and not plan["fence_command"]:
        raise FailedError(f"node {loaded.content.node} knows no way to fence: it was started without [fence] in {file}")
    if not asked.fence:
        await require_silent(loaded)
    click.echo(describe_plan(plan))
    for line in await run_in_thread(lambda: [*describe_copies(loaded, asked.other, None)]):
        click.echo(line)
    if dry_run:
        return end_dry_run(_steps(plan, asked))
    if not asked.fence:
        require_statement(asked.abandon, asked.statement)
        await require_silent(loaded)
    try:
        limit_s = _limit_s(loaded, asked)
        change = force_primary_of(
            socket, asked.abandon, revision=plan["revision"], fence=asked.fence, timeout_s=limit_s
        )
        await wait_telling(change, loaded, limit_s)
    except UnknownOutcomeError as error:
        raise UnknownOutcomeError(
            f"nobody knows whether node {loaded.content.node} was made primary: {error}; who is primary now says "
            f"ctlha status {loaded.quoted}; how it ended will be in {loaded.folder / DECISIONS_FILE}"
        ) from error
    click.echo(f"done; the decision is in {loaded.folder / DECISIONS_FILE}")
    return 0


async def _plan(loaded: LoadedConfig, abandon: str) -> Any:
    """What the node would change. ``FailedError`` if it refuses, with how it stands and what helps."""
    socket = loaded.folder / STATUS_SOCKET
    try:
        with needing_node(loaded):
            return await force_plan_of(socket, abandon)
    except FailedError as error:
        status, salvage = await status_of(socket), await run_in_thread(partial(_needs_salvage, loaded))
        raise FailedError(explain_refusal(str(error), status, loaded, needs_salvage=salvage)) from error


def _needs_salvage(loaded: LoadedConfig) -> bool:
    """Whether the copy is one that is never forced; no if its file cannot be read. Blocks."""
    try:
        return not Copy(view_copy(loaded).copy).is_whole
    except (StoreError, ConfigError):
        return False


def explain_refusal(problem: str, status: dict[str, Any], loaded: LoadedConfig, *, needs_salvage: bool) -> str:
    """Why a node that stands like that cannot be forced, and what helps; ``problem`` is what it said itself."""
    node, peer, config = loaded.content.node, loaded.content.peer.node, loaded.quoted
    if status["role"] in {"primary", "secondary"}:
        if status["verdict"] in {"protected", "degraded"}:
            return f"node {node} serves already, as {status['role']}: there is nothing to force"
        withheld = _WITHHELD & set(status["reasons"])
        if withheld:
            helps = remedy_for(min(withheld), config=config, node=node, peer=peer)
            return f"node {node} serves by itself, unforced, as soon as the arbiter takes the change: {helps}"
        return f"node {node} is about to serve by itself, without being forced; how far it is: ctlha status {config}"
    if not {"resyncing", "resync-blocked"}.isdisjoint(status["reasons"]):
        return (
            f"node {node} is being brought up to date by node {peer}, whose copy counts: there is nothing to force; "
            f"how far it is: ctlha status --watch {config}"
        )
    if status["link"] == "online":
        return problem
    if needs_salvage and status["role"] == "outdated":
        return (
            f"{problem}; if node {peer} is lost for ever, stop this node, then: "
            f"ctlha force-primary {config} --abandon {peer} --salvage"
        )
    return f"{problem}; {SEE_STATUS.format(**loaded.names)}"


def _limit_s(loaded: LoadedConfig, asked: Forced) -> float:
    table = loaded.content.fence
    return FORCE_S + (table.timeout_s if asked.fence and isinstance(table, FenceTable) else 0)


def describe_plan(plan: dict[str, Any]) -> str:
    """The record before and after, and what becomes of each copy."""
    before, after = plan["before"], plan["after"]
    forced = after["primary"]
    lines = [
        f"epoch    {before['epoch']} -> {after['epoch']}",
        f"primary  {before['primary']} -> {forced}",
        f"members  {' '.join(before['members'])} -> {' '.join(after['members'])}",
        f"lineage  {before['lineage']} -> a new one",
        f"node {forced}: its copy becomes the volume, as it was in epoch {plan['copy_epoch']}",
    ]
    abandoned = [node for node in before["members"] if node != forced]
    lines += [f"node {node}: its copy is abandoned, and overwritten when it returns" for node in abandoned]
    if forced not in before["members"]:
        lines.append(f"lost: everything that was acknowledged without node {forced}")
    return "\n".join(lines)


def _steps(plan: dict[str, Any], asked: Forced) -> Iterator[PlannedStep]:
    after = plan["after"]
    forced, epoch = after["primary"], after["epoch"]
    if not asked.fence:
        yield PlannedStep(f"a person says that node {asked.abandon} is powered off")
    yield PlannedStep("the decision is logged", f"on node {forced}: a line in {DECISIONS_FILE}")
    if asked.fence:
        command = f"{plan['fence_command']} {asked.abandon} {after['resource']} {epoch}"
        yield PlannedStep(f"node {asked.abandon} is fenced: {command}", f"on node {forced}: that a fence is owed")
    yield PlannedStep("the record is swapped", f"at the arbiter: epoch {epoch}, primary {forced}, members {forced}")
    yield PlannedStep(f"node {forced} records that, and serves", f"on node {forced}: epoch {epoch}, a new lineage")
    yield PlannedStep("how it ended is logged", f"on node {forced}: a line in {DECISIONS_FILE}")
