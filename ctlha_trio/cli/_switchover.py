"""``ctlha switchover``: has the primary hand its role over, or tells what would come of it."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from ctlha_trio._errors import DisconnectError, FailedError, RoleStaysError, UnknownOutcomeError
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._remedies import SEE_STATUS, obstacle_remedy_for, remedy_for, setback_remedy_for
from ctlha_trio.cli._run import EXIT_FAILED, line_of
from ctlha_trio.cli._steps import DRY_RUN, describe_steps
from ctlha_trio.cli._unanswered import against_silence, needing_node, wait_telling
from ctlha_trio.door import (
    DECISIONS_FILE,
    STATUS_SOCKET,
    SWITCHOVER_S,
    failover_plan_of,
    status_of,
    switchover_of,
    switchover_plan_of,
)
from ctlha_trio.pair import Obstacle, PlannedStep
from ctlha_trio.seams import TrioClock

CHANGE_S: Final = 10.0
"""For a change that was under way when the node was asked: a takeover is over within two seconds of its loss."""
LOOK_S: Final = 0.1
"""Between two looks at how far it is."""


async def switch_over(file: Path, dry_run: bool) -> int:
    """Ask the node, which must be primary. The exit code: 0 done, or it would be; 1 not, or it would not be.

    ``DisconnectError`` if it does not answer what would come of it. What is refused is told with what helps.
    ``UnknownOutcomeError`` if the node was asked and does not say how it ended.
    """
    loaded = load_config(file)
    socket = loaded.folder / STATUS_SOCKET
    if dry_run:
        with needing_node(loaded):
            plan: Any = await switchover_plan_of(socket)
        own = await _own_reasons(plan["plan"]["obstacles"], socket)
        for line in describe_rehearsal(plan, loaded, own):
            click.echo(line)
        click.echo(DRY_RUN)
        return 0 if plan["accepted"] else EXIT_FAILED
    try:
        await wait_telling(switchover_of(socket), loaded, SWITCHOVER_S)
    except UnknownOutcomeError as error:
        raise UnknownOutcomeError(
            f"nobody knows whether the role was handed over: {error}; {_ask_both(loaded)}; "
            f"how it ended will be in {loaded.folder / DECISIONS_FILE}"
        ) from error
    except (FailedError, DisconnectError) as error:
        causes = error.causes if isinstance(error, RoleStaysError) else ()
        lines = describe_refusal(error, loaded, await _own_reasons(causes, socket))
        if Obstacle.CHANGE_UNDER_WAY.value in causes:
            lines = [f"{line_of(error)}; {await _end_of_change(error, loaded)}"]
        for line in lines:
            click.echo(line, err=True)
        return EXIT_FAILED
    click.echo(f"node {loaded.content.node} handed its role over to node {loaded.content.peer.node}")
    return 0


async def _end_of_change(error: FailedError | DisconnectError, loaded: LoadedConfig) -> str:
    """Where the role is once the change is over that was under way, as when the other node has just taken over.

    ``UnknownOutcomeError`` if that is not known in time.
    """
    socket, clock = loaded.folder / STATUS_SOCKET, TrioClock()
    until_s = clock.now() + CHANGE_S
    with suppress(FailedError, DisconnectError):
        while clock.now() < until_s:
            rehearsal: Any = await switchover_plan_of(socket)
            plan = rehearsal["plan"]
            if Obstacle.CHANGE_UNDER_WAY.value not in plan["obstacles"]:
                if plan["before"] is None:
                    break
                return _whose(str(plan["before"]["primary"]), loaded)
            await clock.sleep_until(clock.now() + LOOK_S)
    raise UnknownOutcomeError(f"{error}, and nobody knows to which node the role goes; {_ask_both(loaded)}") from error


def _whose(primary: str, loaded: LoadedConfig) -> str:
    if primary == loaded.content.node:
        return f"that is over, and the role is at node {primary}: ctlha switchover {loaded.quoted}"
    return f"that is over, and the role is at node {primary}, which took it: ctlha status {loaded.quoted}"


def _ask_both(loaded: LoadedConfig) -> str:
    peer = loaded.content.peer.node
    return f"who is primary now says ctlha status {loaded.quoted}, and on node {peer}: ctlha status <its node.toml>"


async def _own_reasons(causes: Iterable[str], socket: Path) -> tuple[str, ...]:
    """Why a node without the role serves nothing; none of one beside a primary, or that does not say."""
    with suppress(DisconnectError):
        if Obstacle.NOT_PRIMARY.value in causes:
            status: Any = await status_of(socket)
            if status["role"] in {"none", "outdated"} and status["verdict"] != "degraded":
                return tuple(map(str, status["reasons"]))
    return ()


def _helping(causes: Iterable[str], own: Iterable[str], loaded: LoadedConfig) -> Iterator[str]:
    """A line for each cause against which something helps; ``own`` reasons in the place of where the primary is."""
    names = loaded.names
    helps = [(cause, obstacle_remedy_for(cause, **names) or setback_remedy_for(cause, **names)) for cause in causes]
    if of_node := [(reason, remedy_for(reason, **names)) for reason in own]:
        helps = [*of_node, *(each for each in helps if each[0] != Obstacle.NOT_PRIMARY.value)]
    yield from (f"  {cause}: {text}" for cause, text in helps if text)


def describe_refusal(error: FailedError | DisconnectError, loaded: LoadedConfig, own: Iterable[str] = ()) -> list[str]:
    """What the node said, or that it said nothing, and behind it what helps against each cause.

    ``own``: the reasons for which the node serves nothing, if nobody beside it does.
    """
    names = loaded.names
    told = list(_helping(error.causes, own, loaded)) if isinstance(error, RoleStaysError) else []
    if isinstance(error, DisconnectError):
        told = [f"  {against_silence(error, loaded)}"]
    return [line_of(error), *(told or [f"  {SEE_STATUS.format(**names)}"])]


async def show_failover(file: Path) -> int:
    """What would follow if the other node died now. The exit code: 0 this node would serve, 1 it would not."""
    loaded = load_config(file)
    with needing_node(loaded):
        plan: Any = await failover_plan_of(loaded.folder / STATUS_SOCKET)
    for line in describe_failover(plan, loaded):
        click.echo(line)
    click.echo(DRY_RUN)
    return 0 if plan["after"] is not None else EXIT_FAILED


def describe_failover(plan: dict[str, Any], loaded: LoadedConfig) -> list[str]:
    """Whether this node would serve without the other one, and in which steps."""
    content, before, after = loaded.content, plan["before"], plan["after"]
    node, peer = content.node, content.peer.node
    if after is None:
        obstacle = "unknown" if plan["obstacle"] is None else str(plan["obstacle"])
        helps = remedy_for(obstacle, **loaded.names) or obstacle_remedy_for(obstacle, **loaded.names)
        told = [f"  {obstacle}: {helps}"] if helps else []
        return [f"without node {peer} node {node} would not serve: {obstacle}", *told]
    if after["epoch"] == before["epoch"]:
        return [f"without node {peer} node {node} would go on as it is: it serves alone, in epoch {after['epoch']}"]
    return [
        f"without node {peer} node {node} would serve",
        f"epoch    {before['epoch']} -> {after['epoch']}",
        f"primary  {before['primary']} -> {after['primary']}",
        f"members  {' '.join(before['members'])} -> {' '.join(after['members'])}",
        *describe_steps(PlannedStep(**step) for step in plan["steps"]),
    ]


def describe_rehearsal(rehearsal: dict[str, Any], loaded: LoadedConfig, own: Iterable[str] = ()) -> list[str]:
    """Whether it would be begun, then why not, or what would change, in which steps, and for how long clients wait.

    ``own`` as of ``describe_refusal``.
    """
    plan = rehearsal["plan"]
    if not rehearsal["accepted"]:
        obstacles = [str(each) for each in plan["obstacles"]]
        return [f"would be refused: {', '.join(obstacles)}", *_helping(obstacles, own, loaded)]
    before, after = plan["before"], plan["after"]
    steps = (PlannedStep(**step) for step in plan["steps"])
    return [
        "would be accepted",
        f"epoch    {before['epoch']} -> {after['epoch']}",
        f"primary  {before['primary']} -> {after['primary']}",
        f"members  {' '.join(before['members'])} -> {' '.join(after['members'])}",
        *describe_steps(steps),
        _pause(rehearsal),
    ]


def _pause(rehearsal: dict[str, Any]) -> str:
    limit = f"given up after {rehearsal['pause_limit_s']:g} s if the nodes are not ready by then"
    pause_s = rehearsal["pause_s"]
    if pause_s is None:
        return f"clients wait for an unknown time, for it was never measured; {limit}"
    return f"clients wait for about {1000 * pause_s:.0f} ms, as disk, link and arbiter last were; {limit}"
