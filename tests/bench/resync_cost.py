"""How long a returning node takes to be a member again: ``python tests/bench/resync_cost.py [FOLDER]``.

Two whole nodes in one process, over a network in memory, each with its copy of 1 GiB in a file in FOLDER. Time counts
from the moment at which the target is ready to be overwritten to the one at which it is a member. The cases:

- in full: the source cannot know what differs, so everything is compared, and 1 % differs;
- 1 % dirty: the same 1 %, in writes of 64 KiB all over the volume, marked by a source that served alone;
- crash: the primary dies after it has written to each of the 256 extents that its activity log has room for.

The cases take turns, so that a slow moment of the machine meets all of them. Prints the median of each, and of the
processor's time that both nodes took. At last what a client sees of it: how long its writes of 4 KiB take, one after
the other, while the source serves alone, and beside a resync in full.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import attrs
import trio

from ctlha_trio.arbiter import MemoryArbiter
from ctlha_trio.ha import Node, NodeConfig, run_node
from ctlha_trio.pair import Copy, Metadata, OperationKind, Outcome, Record
from ctlha_trio.seams import MemoryNetwork, Seams, ThreadDisk, TrioClock
from ctlha_trio.store import BlockStore, create_store_file

MIB = 1 << 20
SIZE_BYTES = 1024 * MIB
WRITE_BYTES = 64 * 1024
DIRTY_WRITES = SIZE_BYTES // 100 // WRITE_BYTES
CRASH_EXTENTS = 256
AT_ONCE = 8
LOOK_S = 0.02
ROUNDS = 5
CLIENT_BYTES = 4096
CLIENT_WRITES_ALONE = 500


@attrs.define(eq=False)
class Pair:
    """Two nodes that can be started and ended."""

    folder: Path
    nursery: trio.Nursery
    random: Random = attrs.field(factory=lambda: Random(1))
    network: MemoryNetwork = attrs.field(factory=MemoryNetwork)
    arbiter: MemoryArbiter = attrs.field(init=False)
    nodes: dict[str, Node] = attrs.field(factory=dict)
    _scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)
    _numbers: int = 0

    def __attrs_post_init__(self) -> None:
        """Make both files, with the same random content."""
        record = Record(
            cluster="bench", resource="v", epoch=1, lineage="l", primary="a", members=("a", "b"), proposal="0"
        )
        self.arbiter = MemoryArbiter(record)
        for name in record.members:
            metadata = Metadata(
                cluster="bench",
                node=name,
                resource="v",
                lineage="l",
                arbiter=self.arbiter.identity,
                epoch=1,
                revision=1,
                primary="a",
                members=record.members,
                copy=Copy.MEMBER,
            )
            content = Random(2)
            pieces = (content.randbytes(MIB) for _ in range(SIZE_BYTES // MIB))
            create_store_file(self.path(name), metadata, SIZE_BYTES, pieces)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    async def start(self, name: str) -> None:
        self.nodes[name] = await self.nursery.start(self._run, name)

    async def _run(self, name: str, *, task_status: "trio.TaskStatus[Node]") -> None:
        peer = "b" if name == "a" else "a"
        config = NodeConfig(
            cluster="bench",
            node=name,
            peer=peer,
            resource="v",
            listen=name,
            peer_address=peer,
            volume_path=self.path(name),
            size_bytes=SIZE_BYTES,
        )
        seams = Seams(
            clock=TrioClock(),
            entropy=os.urandom,
            disk=ThreadDisk(),
            transport=self.network.transport(name),
            arbiter=self.arbiter.client(),
        )
        with trio.CancelScope() as scope:
            self._scopes[name] = scope
            await run_node(config, seams, task_status=task_status)
        del self.nodes[name]

    async def end(self, name: str, *, cleanly: bool) -> None:
        if cleanly:
            self.nodes[name].stop("bench")
        else:
            self._scopes[name].cancel(reason="crash")
            self.network.reset("a", "b")
        await self._until(lambda: name not in self.nodes)

    async def protected(self) -> None:
        await self._until(lambda: [n.status().verdict for n in self.nodes.values()] == ["protected"] * 2)

    async def serves(self, name: str) -> None:
        await self._until(lambda: self.nodes[name].status().role == "primary")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 (what a status says has no event)
            await trio.sleep(LOOK_S)

    async def write(self, name: str, offsets: list[int], size: int) -> None:
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def one(offset: int) -> None:
            async with limiter:
                await self.write_once(name, offset, size)

        async with trio.open_nursery() as nursery:
            for offset in offsets:
                nursery.start_soon(one, offset)

    async def write_once(self, name: str, offset: int, size: int) -> float:
        """A client's write, and the seconds that it took."""
        self._numbers += 1
        data = self.random.randbytes(size)
        began_s = time.perf_counter()
        answer = await self.nodes[name].submit(
            OperationKind.WRITE, client=self._numbers, number=1, offset=offset, size=size, data=data
        )
        assert answer.outcome is Outcome.DONE
        return time.perf_counter() - began_s

    async def resync(self, name: str) -> tuple[float, float]:
        """Start that node: what its resync takes, and the processor's time until it is a member."""
        began_s = time.process_time()
        await self.start(name)
        await self.protected()
        at = {t.what.partition(":")[0]: t.at_s for t in self.nodes[name].status().transitions}
        return at["following"] - at["resyncing"], time.process_time() - began_s


@asynccontextmanager
async def opened_pair(folder: Path) -> AsyncIterator[Pair]:
    async with trio.open_nursery() as nursery:
        pair = Pair(folder, nursery)
        await pair.start("a")
        await pair.start("b")
        await pair.protected()
        yield pair
        nursery.cancel_scope.cancel()


async def forget_base(path: str) -> None:
    """Make a copy one of which nothing is known."""
    store = await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.persist(attrs.evolve(store.metadata, copy=Copy.RESYNCING, base_epoch=0))
        nursery.cancel_scope.cancel()
    store.close()


async def while_away(pair: Pair, *, whole: bool) -> tuple[float, float]:
    """``b`` leaves, ``a`` writes 1 % of the volume, ``b`` returns."""
    await pair.end("b", cleanly=True)
    await pair.serves("a")
    if whole:
        await forget_base(pair.path("b"))
    units = pair.random.sample(range(SIZE_BYTES // WRITE_BYTES), DIRTY_WRITES)
    await pair.write("a", [unit * WRITE_BYTES for unit in units], WRITE_BYTES)
    return await pair.resync("b")


async def after_a_crash(pair: Pair) -> tuple[float, float]:
    """``a`` dies with its activity log full, ``b`` takes over, ``a`` returns and gets the role back."""
    extents = pair.random.sample(range(SIZE_BYTES // MIB), CRASH_EXTENTS)
    await pair.write("a", [extent * MIB for extent in extents], WRITE_BYTES)
    await pair.end("a", cleanly=False)
    await pair.serves("b")
    took = await pair.resync("a")
    await pair.nodes["b"].switchover()
    await pair.protected()
    return took


async def beside_a_client(pair: Pair) -> tuple[list[float], list[float], float]:
    """What a client's writes take while ``a`` is alone, and while ``b`` is copied in full; and how long that took."""
    await pair.end("b", cleanly=True)
    await pair.serves("a")
    await forget_base(pair.path("b"))

    async def write() -> float:
        offset = pair.random.randrange(SIZE_BYTES // CLIENT_BYTES) * CLIENT_BYTES
        return await pair.write_once("a", offset, CLIENT_BYTES)

    alone = [await write() for _ in range(CLIENT_WRITES_ALONE)]
    beside: list[float] = []
    took: list[float] = []

    async def return_of_b() -> None:
        took.append((await pair.resync("b"))[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(return_of_b)
        while not took:
            beside.append(await write())
    return alone, beside, took[0]


def percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {1e3 * cuts[49]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms"


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


async def main(folder: Path) -> None:
    cases: dict[str, Callable[[Pair], Awaitable[tuple[float, float]]]] = {
        "in full, 1 % differs": partial(while_away, whole=True),
        "1 % dirty": partial(while_away, whole=False),
        f"after a crash, {CRASH_EXTENTS} extents": after_a_crash,
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    async with opened_pair(folder) as pair:
        for number in range(ROUNDS):
            for name, case in cases.items():
                rounds[name].append(await case(pair))
                say(f"{number + 1} of {ROUNDS}: {name}, {rounds[name][-1][0]:.2f} s")
        alone, beside, client_took_s = await beside_a_client(pair)
    say(f"load average {os.getloadavg()[0]:.1f}, medians of {ROUNDS} rounds")
    medians = {
        name: [statistics.median(column) for column in zip(*taken, strict=True)] for name, taken in rounds.items()
    }
    whole_s, whole_cpu_s = next(iter(medians.values()))
    for name, (took_s, cpu_s) in medians.items():
        say(
            f"{name:30} {took_s:6.2f} s, {whole_s / took_s:3.0f} times faster"
            f"; processor {cpu_s:6.2f} s, {whole_cpu_s / cpu_s:3.0f} times less"
        )
    say(
        f"a client's writes of {CLIENT_BYTES} bytes: alone {percentiles(alone)};"
        f" beside a resync in full, which took {client_took_s:.1f} s, {percentiles(beside)}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python tests/bench/resync_cost.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        default=None,
        help="where files are made, on the disk that is measured; default: that of temporary files",
    )
    with tempfile.TemporaryDirectory(dir=parser.parse_args().folder) as name:
        trio.run(main, Path(name))
