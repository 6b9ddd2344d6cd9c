"""What a mirrored write costs beside what it cannot do without: ``python tests/bench/write_cost.py [FOLDER]``.

Two nodes in two processes, linked by TLS on loopback, each with its copy on a real disk in FOLDER. This process is the
primary, and measures in one run, in turns, so that a slow moment of the machine meets all of them:

- depth 1, 4 KiB: a message to the other node and back; a durable write to a plain file by the same way through a thread
  (a write and a flush in one call); a mirrored write. The last may take 1.5 times the sum of the first two.
- 1 MiB, several in flight: pushes into the other node's memory; durable writes to two plain files, for both copies are
  on one disk here; mirrored writes, one behind the other in the volume. These may have 0.7 of the slower of the others.

Prints medians of the rounds, the ratio, and the processor's time that a mirrored write takes in each node.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import attrs
import trio

from ctlha_trio._vocabulary import RemoteBuffer, ctl_ha_channel
from ctlha_trio.cli import open_configured_node
from ctlha_trio.ha import MessageChannel, Node
from ctlha_trio.seams import DiskFile, ThreadDisk
from ctlha_trio.testing._processes.hand_pair import HandPair, made_pair
from ctlha_trio.wire import KEY_SIZE

KIB = 1024
MIB = 1024 * KIB
SIZE_BYTES = 256 * MIB
BLOCK_BYTES = 4 * KIB
WARM_UP_ROUNDS = 100
"""Each extent of the volume costs its first write more, by what has nothing to do with the path."""
LATENCY_ROUNDS = 1000
LATENCY_SPAN_BYTES = 128 * MIB
"""Of the volume: fewer extents than the activity log has room for."""
STREAM_ROUNDS = 15
STREAM_BYTES = 32 * MIB
IN_FLIGHT = 4
REGION_BYTES = 8 * MIB
MESSAGE_BYTES = 512

Operation = Callable[[int], Awaitable[object]]


@attrs.define(eq=False)
class Figures:
    """Seconds of each round, by what was done in it."""

    rounds: dict[str, list[float]] = attrs.field(factory=dict)

    def add(self, what: str, took_s: float) -> None:
        self.rounds.setdefault(what, []).append(took_s)

    def median_s(self, what: str) -> float:
        return statistics.median(self.rounds[what])


# The other node.


async def serve(config: str) -> None:
    """Answer messages until killed: with the same message, a key to memory, or the processor's time spent so far."""
    async with open_configured_node(config) as node:
        channel = node.open_channel(ctl_ha_channel.CTL_HA_CHAN_CTL)
        memory = bytearray(REGION_BYTES)
        await channel.wait_connected()
        while True:
            message = await channel.receive()
            match message[:1]:
                case b"k":
                    message = node.register_region(memory).remote.key.ljust(MESSAGE_BYTES, b"\0")
                case b"c":
                    message = repr(time.process_time()).encode().ljust(MESSAGE_BYTES, b"\0")
            channel.send_nowait(message)


# This node.


@attrs.define(eq=False)
class Bench:
    """The primary, and what it is measured against."""

    node: Node
    channel: MessageChannel
    plain: DiskFile
    beside: DiskFile
    """Another, for the other node's copy."""
    key: bytes
    random: Random = attrs.field(factory=lambda: Random(1))
    figures: Figures = attrs.field(factory=Figures)
    cpu_s: dict[str, float] = attrs.field(factory=dict)

    async def ask(self, what: bytes) -> bytes:
        self.channel.send_nowait(what.ljust(MESSAGE_BYTES, b"\0"))
        return await self.channel.receive()

    async def measure_latency(self) -> None:
        """Depth 1."""
        data = self.random.randbytes(BLOCK_BYTES)
        blocks = LATENCY_SPAN_BYTES // BLOCK_BYTES

        async def message(_: int) -> None:
            await self.ask(b"m")

        async def local(offset: int) -> None:
            await self.plain.write_through([(offset, data)])

        async def mirrored(offset: int) -> None:
            await self.node.volume.write(offset, data)

        for offset in range(0, LATENCY_SPAN_BYTES, MIB):
            # All of it, as of the plain file: a file system has more to make durable when a place is first written.
            await self.node.volume.write(offset, self.random.randbytes(MIB))
        kinds = {"message": message, "local": local, "mirrored": mirrored}
        for number in range(WARM_UP_ROUNDS + LATENCY_ROUNDS):
            for what, operation in kinds.items():
                offset = self.random.randrange(blocks) * BLOCK_BYTES
                began_s = time.perf_counter()
                await operation(offset)
                if number >= WARM_UP_ROUNDS:
                    self.figures.add(what, time.perf_counter() - began_s)

    async def measure_cpu(self) -> None:
        """Of mirrored writes alone."""
        data = self.random.randbytes(BLOCK_BYTES)
        before = time.process_time(), float((await self.ask(b"c")).rstrip(b"\0"))
        for _ in range(LATENCY_ROUNDS):
            offset = self.random.randrange(LATENCY_SPAN_BYTES // BLOCK_BYTES) * BLOCK_BYTES
            await self.node.volume.write(offset, data)
        after = time.process_time(), float((await self.ask(b"c")).rstrip(b"\0"))
        for node, begin_s, end_s in zip(("primary", "secondary"), before, after, strict=True):
            self.cpu_s[node] = (end_s - begin_s) / LATENCY_ROUNDS

    async def measure_streams(self) -> None:
        """Several in flight."""
        data = self.random.randbytes(MIB)
        count = STREAM_BYTES // MIB

        async def link(index: int) -> None:
            await self.node.push(RemoteBuffer(self.key, index % (REGION_BYTES // MIB) * MIB), data)

        async def disk(index: int) -> None:
            file, place = (self.plain, self.beside)[index % 2], index // 2
            await file.write_through([(place * MIB, data)])

        async def mirrored(index: int) -> None:
            await self.node.volume.write(index * MIB, data)

        for number in range(1 + STREAM_ROUNDS):
            for what, operation, pieces in (
                ("link", link, count),
                ("disk", disk, 2 * count),
                ("stream", mirrored, count),
            ):
                began_s = time.perf_counter()
                await in_flight(operation, pieces)
                if number:  # the first one opens the extents
                    self.figures.add(what, time.perf_counter() - began_s)

    def report(self) -> None:
        """For people, and for docs."""
        message_s, local_s, mirrored_s = map(self.figures.median_s, ("message", "local", "mirrored"))
        say(f"load average {os.getloadavg()[0]:.1f}, p50 of {LATENCY_ROUNDS} rounds at depth 1, 4 KiB")
        say(f"  message and back   {message_s * 1e6:7.0f} us")
        say(f"  local write        {local_s * 1e6:7.0f} us")
        times = mirrored_s / (message_s + local_s)
        say(f"  mirrored write     {mirrored_s * 1e6:7.0f} us, {times:.2f} times their sum")
        cpu = ", ".join(f"{node} {cpu_s * 1e6:.0f} us" for node, cpu_s in self.cpu_s.items())
        say(f"  processor          {cpu}")
        speeds = {what: STREAM_BYTES / MIB / self.figures.median_s(what) for what in ("link", "disk", "stream")}
        say(f"median of {STREAM_ROUNDS} rounds of {STREAM_BYTES // MIB} MiB, {IN_FLIGHT} of 1 MiB in flight")
        say(f"  link               {speeds['link']:7.0f} MiB/s")
        say(f"  disk, two copies   {speeds['disk']:7.0f} MiB/s")
        share = speeds["stream"] / min(speeds["link"], speeds["disk"])
        say(f"  mirrored writes    {speeds['stream']:7.0f} MiB/s, {share:.2f} of the slower one")


async def in_flight(operation: Operation, count: int) -> None:
    """Begin them in order, ``IN_FLIGHT`` at a time."""
    indices = iter(range(count))

    async def work() -> None:
        for index in indices:
            await operation(index)

    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(work)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


async def plain_file(path: Path) -> DiskFile:
    """Every byte of it written."""
    with path.open("xb") as file:
        for _ in range(LATENCY_SPAN_BYTES // MIB):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())
    return await ThreadDisk().open(str(path))


async def opened_bench(pair: HandPair, node: Node, plain: DiskFile, beside: DiskFile) -> Bench:
    channel = node.open_channel(ctl_ha_channel.CTL_HA_CHAN_CTL)
    await pair.wait_protected()
    channel.send_nowait(b"k".ljust(MESSAGE_BYTES, b"\0"))
    return Bench(node, channel, plain, beside, key=(await channel.receive())[:KEY_SIZE])


async def main(folder: Path) -> None:
    plain, beside = await plain_file(folder / "plain"), await plain_file(folder / "beside")
    async with made_pair(folder / "pair", size_bytes=SIZE_BYTES) as pair:
        await pair.start("b", (__file__,))
        async with open_configured_node(pair.config("a")) as node:
            bench = await opened_bench(pair, node, plain, beside)
            epoch = node.status().epoch
            await bench.measure_latency()
            await bench.measure_cpu()
            await bench.measure_streams()
            assert node.status().epoch == epoch, "the two lost each other meanwhile"
            bench.report()


if __name__ == "__main__":
    if sys.argv[1:2] == ["node"]:
        trio.run(serve, sys.argv[2])
    else:
        parser = argparse.ArgumentParser(
            prog="python tests/bench/write_cost.py",
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
