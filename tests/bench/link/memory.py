"""Resident memory of both processes of a link: with a peer that stops reading, and after very much that was sent."""

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio import BusyError, DisconnectError, FailedError
from ctlha_trio.bench import TwoProcesses

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
MIB: Final = 1024 * 1024
SAMPLE_S: Final = 0.25
SETTLED: Final = 0.2
"""Of the time, after which memory has to be flat: before that buffers of all kinds grow to their size."""
BATCH: Final = 100_000
TRANSFERS_A_TURN: Final = 256


@attrs.define(eq=False)
class Samples:
    """Of one process: seconds and bytes."""

    name: str
    pid: int
    taken: list[tuple[float, int]] = attrs.field(factory=list)

    def take(self) -> None:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.taken.append((time.monotonic(), pages * PAGE_BYTES))

    @property
    def growth_mib(self) -> float:
        """From the first sample to the largest."""
        return (max(size for _, size in self.taken) - self.taken[0][1]) / MIB

    @property
    def peak_mib(self) -> float:
        return max(size for _, size in self.taken) / MIB

    @property
    def slope_kib_per_s(self) -> float:
        """The straight line through what was taken once it had settled."""
        settled = self.taken[int(SETTLED * len(self.taken)) :]
        mean_s = sum(at_s for at_s, _ in settled) / len(settled)
        mean = sum(size for _, size in settled) / len(settled)
        square = sum((at_s - mean_s) ** 2 for at_s, _ in settled)
        return sum((at_s - mean_s) * (size - mean) for at_s, size in settled) / square / 1024 if square else 0.0

    @property
    def took_s(self) -> float:
        return self.taken[-1][0] - self.taken[0][0]


@attrs.frozen
class MemoryRow:
    """What one of the two processes needed in one case."""

    case: str
    samples: Samples

    def cells(self) -> tuple[str, ...]:
        """Of a table."""
        one = self.samples
        return (
            self.case,
            one.name,
            f"{one.took_s:.0f} s",
            f"{one.peak_mib:.1f} MiB",
            f"{one.growth_mib:+.1f} MiB",
            f"{one.slope_kib_per_s:+.2f} KiB/s",
        )


HEADINGS: Final = ("case", "process", "time", "peak", "growth", "slope, settled")


@asynccontextmanager
async def sampled(case: str, two: TwoProcesses, rows: list[MemoryRow]) -> AsyncIterator[None]:
    """Both processes, for the length of the block."""
    both = [Samples("sender", os.getpid()), Samples("receiver", two.serving_pid)]

    async def sample() -> None:
        while True:
            for each in both:
                each.take()
            await trio.sleep(SAMPLE_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sample)
        yield
        nursery.cancel_scope.cancel()
    for each in both:
        each.take()
        rows.append(MemoryRow(case, each))


async def warm_up(two: TwoProcesses) -> None:
    """Everything once: whatever is made at its first use is not growth."""
    await two.measuring.one_way(BATCH)
    await two.measuring.transfers("push", TRANSFERS_A_TURN)
    await two.measuring.transfers("pull", TRANSFERS_A_TURN)


async def measure_much(two: TwoProcesses, messages: int, bulk_bytes: int, rows: list[MemoryRow]) -> None:
    """Messages one way, then pushes and pulls of 1 MiB in turns."""
    async with sampled(f"{messages:,} messages", two, rows):
        for _ in range(max(1, messages // BATCH)):
            await two.measuring.one_way(min(messages, BATCH))
    async with sampled(f"{bulk_bytes / 2**30:g} GiB of DMA", two, rows):
        left = bulk_bytes // MIB
        while left > 0:
            for what in ("push", "pull"):
                turn = min(left, TRANSFERS_A_TURN)
                left -= turn
                if turn:
                    await two.measuring.transfers(what, turn)


async def measure_unread(two: TwoProcesses, quiet_s: float, rows: list[MemoryRow]) -> None:
    """The peer's consumer takes no message, while this side sends what it can, and pushes all the time."""
    resting = True

    async def push_on() -> None:
        while resting:
            await two.measuring.transfers("push", TRANSFERS_A_TURN)

    async with sampled(f"its consumer reads nothing for {quiet_s:g} s", two, rows), trio.open_nursery() as nursery:
        nursery.start_soon(push_on)
        await two.measuring.one_way(BATCH, after_s=quiet_s)
        resting = False


async def measure_stopped(two: TwoProcesses, quiet_s: float, rows: list[MemoryRow]) -> None:
    """The peer's process is stopped, so that nobody reads its socket, while this side goes on to try."""
    async with sampled(f"its process reads nothing for {quiet_s:g} s", two, rows):
        os.kill(two.serving_pid, signal.SIGSTOP)
        try:
            until_s = trio.current_time() + quiet_s
            while trio.current_time() < until_s:
                try:
                    with trio.move_on_at(until_s):
                        await two.measuring.one_way(BATCH)
                except (BusyError, DisconnectError, FailedError):
                    await trio.sleep(SAMPLE_S)
        finally:
            os.kill(two.serving_pid, signal.SIGCONT)
