"""How long a pair of two processes is away: after a kill, after a silent death, at a switchover; a resync.

Run it, for one of the tables in docs/explain/figures.md: ``python tests/bench/failover_figures.py --what kill``. A
trial takes two to four seconds. ``--arbiter etcd`` needs root, iproute2 and nftables, for it puts each node and the
etcd into a network of their own.
"""

import argparse
import json
import math
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count, pairwise, takewhile
from pathlib import Path
from random import Random

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.door import STATUS_SOCKET, DoorClient, switchover_of
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import TrioClock
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, SIZE_BYTES, HandPair, made_pair
from ctlha_trio.testing._processes.networked_pair import Site, networked_pair, opened_site
from ctlha_trio.testing._processes.node_networks import missing_for_networks

RETRY_S = 0.005
"""Of a writer whose node is down or not primary: what a client adds to the time that a pair is away."""
CALM_S = 0.3
"""With both nodes in sync, before each trial and after a switchover."""
BLOCK_BYTES = 4096
PIECE_BYTES = 1 << 20
IN_FLIGHT = 16

CLOCK = TrioClock()
Figures = dict[str, float]


@attrs.frozen
class Acknowledgement:
    """A write that was done."""

    node: str
    at_s: float


@attrs.define(eq=False)
class Writers:
    """One for each node, with one write under way, whatever the node's role."""

    pair: HandPair
    acknowledged: list[Acknowledgement] = attrs.field(factory=list, init=False)
    failed: int = attrs.field(default=0, init=False)
    """Writes that ended unknown or failed, or whose connection ended first."""
    _clients: "count[int]" = attrs.field(factory=lambda: count(1), init=False)
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    async def run(self, node: str) -> None:
        """Write through one node, until cancelled."""
        number = next(self._clients)
        numbers = count(1)
        while True:
            async with trio.open_nursery() as nursery:
                with suppress(DisconnectError):  # counted where a write was under way
                    door = await self.pair.connect(node, number, nursery)
                    for write in numbers:
                        await self._write(door, node, write)
                nursery.cancel_scope.cancel()
            await CLOCK.sleep_until(CLOCK.now() + RETRY_S)

    async def wait_acknowledged(self, node: str, since_s: float) -> float:
        """When the node first acknowledged a write after a moment."""
        while True:
            since = takewhile(lambda done: done.at_s >= since_s, reversed(self.acknowledged))
            if found := [done.at_s for done in since if done.node == node]:
                return found[-1]
            await self._changed.park()

    def longest_pause_s(self, begin_s: float, end_s: float) -> float:
        """Between two acknowledged writes that follow each other, of either node."""
        moments = [done.at_s for done in self.acknowledged if begin_s <= done.at_s <= end_s]
        return max(after - before for before, after in pairwise(moments))

    async def _write(self, door: DoorClient, node: str, number: int) -> None:
        offset = NODES.index(node) * BLOCK_BYTES
        outcome = Outcome.UNKNOWN
        try:
            reply = await door.execute(OperationKind.WRITE, number=number, offset=offset, data=b"w" * BLOCK_BYTES)
            outcome = reply.outcome
        finally:
            self.failed += outcome in {Outcome.UNKNOWN, Outcome.FAILED}
        if outcome is Outcome.DONE:
            self.acknowledged.append(Acknowledgement(node, time.monotonic()))
            self._changed.unpark_all()
        else:
            await CLOCK.sleep_until(CLOCK.now() + RETRY_S)


@attrs.define(eq=False)
class Bench:
    """The pair under measurement; both nodes are in sync between two trials."""

    pair: HandPair
    site: Site | None
    writers: Writers
    dirty: float

    async def kill(self) -> Figures:
        """SIGKILL of the primary."""
        primary = await self.pair.primary()
        began_s = time.monotonic()
        self.pair.send_signal(primary, signal.SIGKILL)
        figures = await self._failover(OTHER[primary], began_s)
        await self.pair.wait_ended(primary)
        await self._return(primary)
        return figures

    async def silent(self) -> Figures:
        """The primary's machine is gone for all others; on one machine with both: its process does nothing any more."""
        primary = await self.pair.primary()
        began_s = time.monotonic()
        if self.site is None:
            self.pair.send_signal(primary, signal.SIGSTOP)
        else:
            await self.site.networks.isolate(primary)
        figures = await self._failover(OTHER[primary], began_s)
        await self.pair.kill(primary)
        if self.site is not None:
            await self.site.networks.heal()
        await self._return(primary)
        return figures

    async def switchover(self) -> Figures:
        """The role goes to the other node. The longest pause in as long a time without one is given beside it."""
        primary = await self.pair.primary()
        failed = self.writers.failed
        began_s = time.monotonic()
        await switchover_of(self.pair.folder / primary / STATUS_SOCKET)
        await self.writers.wait_acknowledged(OTHER[primary], began_s)
        await self.pair.wait_protected()
        await CLOCK.sleep_until(CLOCK.now() + CALM_S)
        ended_s = time.monotonic()
        before_s = max(done.at_s for done in self.writers.acknowledged if done.at_s < began_s)
        return {
            "longest pause": self.writers.longest_pause_s(before_s, ended_s),
            "without a switchover": self.writers.longest_pause_s(began_s - CALM_S, began_s),
            "failed operations": self.writers.failed - failed,
        }

    async def resync(self) -> Figures:
        """The secondary is killed, a part of the volume written, and the node started again."""
        secondary = OTHER[await self.pair.primary()]
        await self.pair.kill(secondary)
        await self.pair.wait_for(OTHER[secondary], verdict="degraded", role="primary")
        await self._write_part(OTHER[secondary])
        began_s = time.monotonic()
        await self._return(secondary)
        moments = await self._moments(secondary, began_s)
        return {
            "from its start to in sync": time.monotonic() - began_s,
            "of that, resync": moments["following"] - moments["resyncing"],
        }

    async def _failover(self, survivor: str, began_s: float) -> Figures:
        # What the survivor acknowledges before, it has from the primary: its clients are served at either node.
        await self.pair.wait_for(survivor, role="primary", verdict="degraded")
        moments = await self._moments(survivor, began_s)
        serving_s = await self.writers.wait_acknowledged(survivor, moments["alone"])
        names = {"noticed": "suspended", "asked the arbiter": "claiming", "won": "securing", "secured": "alone"}
        return {name: moments[phase] - began_s for name, phase in names.items()} | {"serving": serving_s - began_s}

    async def _moments(self, node: str, since_s: float) -> dict[str, float]:
        """When it first entered each phase after a moment; all processes of a machine have one monotonic clock."""
        transitions = (await self.pair.status(node))["transitions"]
        assert isinstance(transitions, list)
        moments: dict[str, float] = {}
        for transition in transitions:
            if transition["at_s"] >= since_s:
                moments.setdefault(transition["what"].partition(":")[0], transition["at_s"])
        return moments

    async def _return(self, node: str) -> None:
        await self.pair.start(node)
        await self.pair.wait_protected()

    async def _write_part(self, node: str) -> None:
        """4 KiB here and there, or everything in large pieces."""
        size_bytes = PIECE_BYTES if self.dirty == 1 else BLOCK_BYTES
        places = self.pair.size_bytes // size_bytes
        chosen = iter(Random(0).sample(range(places), round(self.dirty * places)))
        numbers = count(1)
        async with trio.open_nursery() as nursery:
            door = await self.pair.connect(node, os.getpid(), nursery)

            async def write() -> None:
                for place in chosen:
                    data = os.urandom(size_bytes)
                    reply = await door.execute(
                        OperationKind.WRITE, number=next(numbers), offset=place * size_bytes, data=data
                    )
                    assert reply.outcome is Outcome.DONE, f"{reply.outcome}\n{self.pair.log(node)}"

            async with trio.open_nursery() as writing:
                for _ in range(IN_FLIGHT):
                    writing.start_soon(write)
            door.close()


@asynccontextmanager
async def opened_bench(arguments: argparse.Namespace) -> AsyncIterator[Bench]:
    """A pair in sync with its writers. Whatever happens, processes, networks and files are gone at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ctlha-figures-")))
        site = None
        if arguments.arbiter == "etcd":
            etcd_program = shutil.which("etcd")
            missing = missing_for_networks() or ("" if etcd_program else "etcd is not installed")
            if missing or etcd_program is None:
                raise SystemExit(f"failover_figures: {missing}")
            site = stack.enter_context(opened_site(etcd_program, folder / "etcd"))
            pair = await stack.enter_async_context(
                networked_pair(site, folder / "pair", size_bytes=arguments.size_bytes)
            )
        else:
            pair = await stack.enter_async_context(made_pair(folder / "pair", size_bytes=arguments.size_bytes))
            await pair.start_protected()
        bench = Bench(pair, site, Writers(pair), arguments.dirty)
        async with trio.open_nursery() as nursery:
            for node in NODES:
                nursery.start_soon(bench.writers.run, node)
            yield bench
            nursery.cancel_scope.cancel()


def rank(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summarize(trials: Sequence[Figures]) -> dict[str, Figures]:
    """By figure: n, p50, p90, p99, max."""
    columns = {name: [trial[name] for trial in trials] for name in trials[0]}
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        name: {"n": len(values)} | {label: rank(values, share) for label, share in shares.items()}
        for name, values in columns.items()
    }


def show(summary: dict[str, Figures]) -> str:
    """A table for people, and for docs."""
    lines = ["| | n | p50 | p90 | p99 | max |", "|---|---:|---:|---:|---:|---:|"]
    for name, figures in summary.items():
        counted = name.startswith("failed")
        cells = [f"{value:.0f}" if counted or label == "n" else f"{value:.3f} s" for label, value in figures.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


async def measure(arguments: argparse.Namespace) -> list[Figures]:
    """All trials, as far as no signal ends them."""
    trials: list[Figures] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
        async with opened_bench(arguments) as bench:
            trial: Callable[[], Awaitable[Figures]] = getattr(bench, arguments.what)
            for index in range(arguments.trials):
                await bench.pair.wait_protected()
                await CLOCK.sleep_until(CLOCK.now() + CALM_S)
                trials.append(await trial())
                last = ", ".join(f"{name} {value:.3f}" for name, value in trials[-1].items())
                sys.stderr.write(f"{index + 1} of {arguments.trials}: {last}\n")
        nursery.cancel_scope.cancel()
    return trials


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    """End what was begun, in order."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for number in signals:
            sys.stderr.write(f"ended by {signal.Signals(number).name}\n")
            scope.cancel()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python tests/bench/failover_figures.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--what",
        choices=["kill", "silent", "switchover", "resync"],
        default="kill",
        help="what befalls the pair; default: %(default)s",
    )
    parser.add_argument(
        "--arbiter", choices=["sqlite", "etcd"], default="sqlite", help="who decides; default: %(default)s"
    )
    parser.add_argument("--trials", type=int, default=50, help="how often it is done; default: %(default)s")
    parser.add_argument(
        "--size-bytes", type=int, default=SIZE_BYTES, help="of the volume, in bytes; default: %(default)s"
    )
    parser.add_argument(
        "--dirty",
        type=float,
        default=0.01,
        help="resync: the share of the volume that is written meanwhile, 0 to 1; default: %(default)s",
    )
    parser.add_argument(
        "--json", action="store_true", help="one object with all trials instead of the table; default: not"
    )
    arguments = parser.parse_args()
    trials = trio.run(measure, arguments)
    if not trials:
        raise SystemExit(1)
    about = {
        "what": arguments.what,
        "arbiter": arguments.arbiter,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }
    summary = summarize(trials)
    if arguments.json:
        sys.stdout.write(json.dumps(about | {"summary": summary, "trials": trials}) + "\n")
    else:
        sys.stdout.write(f"{', '.join(f'{name} {value}' for name, value in about.items())}\n{show(summary)}\n")


if __name__ == "__main__":
    main()
