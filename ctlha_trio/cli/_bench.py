"""``ctlha bench``: the link of this machine, or of a user's own two machines, beside bare sockets in the same run."""

import json
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import attrs
import click
import trio

from ctlha_trio._errors import ConfigError, CtlHaError, DisconnectError, FailedError, RefusedError
from ctlha_trio.bench import (
    MESSAGE_BYTES,
    Progress,
    Results,
    Side,
    Sizes,
    link_bench,
    open_measured_node,
    open_measuring,
    open_two_processes,
    run_rounds,
    serve_benchmark,
)
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._configured_node import fault_of_link
from ctlha_trio.cli._queued_stderr import wait_stderr
from ctlha_trio.cli._run import ending_signals, leaves_of
from ctlha_trio.cli._stopped_node import require_stopped
from ctlha_trio.ha import MessageChannel
from ctlha_trio.seams import format_address, parse_address

Result = TypeVar("Result")

MEET_S: Final = 10.0
"""For the other machine's command, which is there already: a few dials."""
_HEADINGS: Final = {"tls_": "TLS 1.3", "tcp_": "plain TCP, which only a benchmark on one machine uses"}


@attrs.frozen
class BenchPlan:
    """How much is measured, and how it is shown."""

    rounds: int
    sizes: Sizes
    as_json: bool


async def bench_here(plan: BenchPlan) -> int:
    """Two processes on this machine. The exit code. ``DisconnectError`` if the other process is lost."""

    async def measure() -> Results:
        with tempfile.TemporaryDirectory(prefix="ctlha-bench-") as folder:
            async with open_two_processes("tls", Path(folder)) as tls, open_two_processes("tcp", Path(folder)) as tcp:
                bench = link_bench("tls", tls.measuring).joined(link_bench("tcp", tcp.measuring))
                return await run_rounds(bench, rounds=plan.rounds, sizes=plan.sizes, progress=_progress())

    _show(plan, await _unless_signalled(measure), "two processes on this machine")
    return 0


async def bench_pair(file: Path, plan: BenchPlan) -> int:
    """This machine measures, the other one serves. The exit code.

    ``ConfigError`` if the configuration cannot be used, ``FailedError`` if the node runs, or there is no other side.
    """
    loaded = await _stopped(file)
    side = _side_of(loaded)
    host, _ = parse_address(side.listen)
    peer = loaded.content.peer

    async def wait_connected(channel: MessageChannel) -> None:
        click.echo(f"waiting for node {peer.node} at {peer.address}, up to {MEET_S:g} s", err=True)
        with trio.move_on_after(MEET_S):
            await channel.wait_connected()
            return
        raise DisconnectError(
            f"no answer from {peer.address} within {MEET_S:g} s: first, at node {peer.node}, "
            "ctlha bench <its node.toml> --serve"
        )

    async def measure() -> Results:
        (await side.transport.listen(side.listen)).close()
        # The address of the link is for bare sockets: over this link nobody has to be dialled.
        async with (
            open_measured_node(attrs.evolve(side, listen=format_address(host, 0))) as node,
            open_measuring(node, side, wait_connected) as measuring,
        ):
            bench = link_bench("tls", measuring)
            return await run_rounds(bench, rounds=plan.rounds, sizes=plan.sizes, progress=_progress())

    with _faults_of(loaded):
        results = await _unless_signalled(measure)
    _show(plan, results, f"node {side.node} to node {side.peer}")
    return 0


async def serve_pair(file: Path) -> int:
    """Serve the other machine's command until interrupted. Errors as of ``bench_pair``."""
    loaded = await _stopped(file)
    side = _side_of(loaded)

    async def serve() -> int:
        async with open_measured_node(side) as node:
            click.echo(
                f"serving at {side.listen} until interrupted; at node {side.peer}: ctlha bench <its node.toml>",
                err=True,
            )
            await serve_benchmark(node, side)
        return 0

    with _faults_of(loaded):
        return await _unless_signalled(serve)


async def _unless_signalled(work: Callable[[], Awaitable[Result]]) -> Result:
    """What it returns. ``KeyboardInterrupt`` at an interrupt, ``FailedError`` at another signal that ends programs.

    It is cancelled then, so that nothing of it is left behind.
    """
    # What the node would say in its log is told as the command's error, in one line.
    logging.getLogger("ctlha_trio").addHandler(logging.NullHandler())
    results: list[Result] = []
    ended_by: list[int] = []
    with trio.open_signal_receiver(*ending_signals(signal.SIGINT, signal.SIGHUP)) as signals:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope, ended_by)
                results.append(await work())
                nursery.cancel_scope.cancel()
        except (Exception, BaseExceptionGroup) as error:
            if not ended_by:
                raise
            # What is torn apart in the middle of its work may complain of the other half.
            raise _end_of(ended_by[0]) from error
    if ended_by:
        raise _end_of(ended_by[0])
    return results[0]


async def _cancel_on_signal(signals: AsyncIterable[int], scope: trio.CancelScope, ended_by: list[int]) -> None:
    async for number in signals:
        ended_by.append(number)
        scope.cancel()


def _end_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else FailedError(f"ended by {signal.Signals(number).name}")


async def _stopped(file: Path) -> LoadedConfig:
    loaded = load_config(file)
    await require_stopped(loaded)
    return loaded


def _side_of(loaded: LoadedConfig) -> Side:
    content = loaded.content
    return Side(
        cluster=content.cluster,
        node=content.node,
        peer=content.peer.node,
        resource=content.resource,
        listen=content.link.listen,
        peer_address=content.peer.address,
        key=loaded.key_path,
        pins=content.peer.pins,
    )


@contextmanager
def _faults_of(loaded: LoadedConfig) -> Iterator[None]:
    """What kept the two from each other, in the words of the configuration: the first of several errors."""
    try:
        yield
    except (Exception, BaseExceptionGroup) as error:
        for leaf in leaves_of(error):
            fault = _fault_of(loaded, leaf)
            if fault is not None:
                raise fault from error
        raise


def _fault_of(loaded: LoadedConfig, error: BaseException) -> CtlHaError | None:
    peer = loaded.content.peer
    match error:
        case RefusedError():
            return FailedError(
                f"no benchmark with {peer.address} ({error}); if node {peer.node} runs there, stop it, then there: "
                "ctlha bench <its node.toml>"
            )
        case ConfigError(key="link.key"):
            return loaded.fault(error.key, f"{error.file}: {error.problem}")
        case OSError():
            return fault_of_link(loaded, error) or FailedError(str(error))
    return fault_of_link(loaded, error)


def _progress() -> Progress:
    """On standard error: a line that changes on a terminal, otherwise one for each round."""
    shown = [-1]
    changes = sys.stderr.isatty()

    def show(number: int, rounds: int, title: str) -> None:
        name = f"round {number} of {rounds}" if number else title
        if changes:
            line = f"{name}  {title}" if number else name
            click.echo(f"\r{line:<70}\r", nl=False, err=True)
        elif number != shown[0]:
            shown[0] = number
            click.echo(name, err=True)

    return show


def _show(plan: BenchPlan, results: Results, where: str) -> None:
    wait_stderr()
    if plan.as_json:
        click.echo(json.dumps({"where": where, "rounds": plan.rounds, **results.as_json()}))
        return
    click.echo(f"{where}, messages of {MESSAGE_BYTES} bytes, transfers of 1 MiB; median of {plan.rounds} rounds")
    for prefix, heading in _HEADINGS.items():
        lines = [*_lines_of(results, prefix)]
        if lines:
            click.echo("\n".join([heading, *lines]))


def _lines_of(results: Results, prefix: str) -> Iterator[str]:
    for figure in results.figures:
        if figure.name.startswith(prefix):
            spread = results.spread(figure.name)
            between = f"{spread.least:,.0f} to {spread.most:,.0f}"
            yield f"  {figure.title:<48} {spread.median:>11,.0f} {figure.unit.value:<5}  ({between})"
    for comparison in results.comparisons:
        if comparison.name.startswith(prefix):
            ratio = results.ratio(comparison)
            yield f"  {comparison.title:<48} {ratio.median:>11.2f} x      ({ratio.least:.2f} to {ratio.most:.2f})"
