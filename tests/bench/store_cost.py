"""What the store costs beside plain calls on the same file system: ``python tests/bench/store_cost.py [FOLDER]``.

Store and plain calls take turns within one run, so that a slow moment of the machine meets both. Prints the median
time of one operation for each and the ratio of the medians.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import trio

from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BlockStore, create_store_file

KIB = 1024
SIZE_BYTES = 64 * KIB * KIB
"""Small enough to stay in the page cache: what is compared is the path to it."""
METADATA = Metadata(
    cluster="bench",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=1,
    revision=1,
    primary="a",
    members=("a", "b"),
    copy=Copy.MEMBER,
)
CASES = (
    # name, bytes, whether it writes, whether offsets are random, rounds
    ("first write to each MiB, 4 KiB", 4 * KIB, True, False, SIZE_BYTES // KIB // KIB),
    ("write 4 KiB, random, flushed", 4 * KIB, True, True, 400),
    ("write 64 KiB, random, flushed", 64 * KIB, True, True, 300),
    ("write 1 MiB, sequential, flushed", KIB * KIB, True, False, 200),
    ("read 4 KiB, random", 4 * KIB, False, True, 2000),
    ("read 64 KiB, random", 64 * KIB, False, True, 1000),
    ("read 1 MiB, sequential", KIB * KIB, False, False, 200),
)


@contextmanager
def plain_file(folder: Path) -> Iterator[int]:
    """A file of the same size, every byte of it written."""
    descriptor = os.open(folder / "plain", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for offset in range(0, SIZE_BYTES, KIB * KIB):
            os.pwrite(descriptor, os.urandom(KIB * KIB), offset)
        os.fsync(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def plain_call(descriptor: int, *, writes: bool) -> Callable[[int, bytes], Awaitable[None]]:
    """The same work by system calls alone, in this thread."""

    async def write(offset: int, data: bytes) -> None:
        os.pwrite(descriptor, data, offset)
        os.fdatasync(descriptor)

    async def read(offset: int, data: bytes) -> None:
        assert len(os.pread(descriptor, len(data), offset)) == len(data)

    return write if writes else read


def store_call(store: BlockStore, *, writes: bool) -> Callable[[int, bytes], Awaitable[None]]:
    """The work by way of the store."""

    async def read(offset: int, data: bytes) -> None:
        assert len(await store.read(offset, len(data))) == len(data)

    return store.write if writes else read


async def compare(
    plain: Callable[[int, bytes], Awaitable[None]],
    stored: Callable[[int, bytes], Awaitable[None]],
    *,
    size: int,
    is_random: bool,
    rounds: int,
) -> tuple[float, float]:
    """Median seconds of one operation, plain and by the store."""
    random = Random(1)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        place = random.randrange(SIZE_BYTES // size) * size if is_random else number * KIB * KIB % SIZE_BYTES
        data = random.randbytes(size)
        for call, taken in zip((plain, stored), times, strict=True):
            begin = time.perf_counter()
            await call(place, data)
            taken.append(time.perf_counter() - begin)
    return statistics.median(times[0]), statistics.median(times[1])


async def measure(folder: Path) -> None:
    """All cases, one line each."""
    path = str(folder / "store")
    create_store_file(path, METADATA, SIZE_BYTES, (os.urandom(KIB * KIB) for _ in range(SIZE_BYTES // (KIB * KIB))))
    store = await BlockStore.open(ThreadDisk(), path, size_bytes=SIZE_BYTES, clock=TrioClock())
    with plain_file(folder) as descriptor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            for name, size, writes, is_random, rounds in CASES:
                plain, stored = await compare(
                    plain_call(descriptor, writes=writes),
                    store_call(store, writes=writes),
                    size=size,
                    is_random=is_random,
                    rounds=rounds,
                )
                figures = f"plain {plain * 1e6:8.0f} us   store {stored * 1e6:8.0f} us   ratio {stored / plain:5.2f}"
                sys.stdout.write(f"{name:34} {figures}\n")
                sys.stdout.flush()
            nursery.cancel_scope.cancel(reason="measured")
    store.close()


def main() -> None:
    """Measure in a temporary folder of the one given, or of the current one."""
    parser = argparse.ArgumentParser(
        prog="python tests/bench/store_cost.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        default=".",
        help="where files are made, on the disk that is measured; default: the current one",
    )
    with tempfile.TemporaryDirectory(dir=parser.parse_args().folder) as folder:
        trio.run(measure, Path(folder))


if __name__ == "__main__":
    main()
