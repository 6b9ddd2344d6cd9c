"""The link beside pyzmq, pynng and bare sockets, interleaved in one run: ``python -m tests.bench.link_figures``.

Everything is done between two processes on loopback, on the same two processors, one thing after the other in each
round, so that a slow moment of the machine meets all of them. Each round gives each ratio once; what counts is their
median. Needs the extra ``bench``. With ``--what memory`` it watches the resident memory of both processes instead: with
a peer that stops reading, and over many messages and transfers. With ``--write docs/performance`` the tables and the
picture of that page are written anew.
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
from contextlib import AsyncExitStack
from functools import reduce
from pathlib import Path

import trio

from ctlha_trio.bench import Bench, Comparison, Sizes, link_bench, open_two_processes, run_rounds
from tests.bench.link import memory, page
from tests.bench.link.peers import PEERS, open_peer, peer_bench

PROCESSORS = 2
SIZES = Sizes(messages=200_000, header_messages=60_000, round_trips=2_000, loaded_round_trips=300, transfers=256)

COMPARISONS = (
    Comparison(
        name="tcp_one_way_to_zmq",
        title="one way, to pyzmq",
        figure="tcp_one_way",
        beside="zmq_one_way",
        at_least=1.5,
    ),
    Comparison(
        name="tls_one_way_to_zmq",
        title="one way, to pyzmq without TLS",
        figure="tls_one_way",
        beside="zmq_one_way",
        at_least=0.8,
    ),
    Comparison(
        name="tcp_one_way_header_to_zmq",
        title="one way by the header's functions, to pyzmq",
        figure="tcp_one_way_header",
        beside="zmq_one_way",
        at_least=0.5,
    ),
    Comparison(
        name="tls_one_way_header_to_zmq",
        title="one way by the header's functions, to pyzmq without TLS",
        figure="tls_one_way_header",
        beside="zmq_one_way",
    ),
    Comparison(
        name="tcp_one_way_to_nng",
        title="one way, to pynng",
        figure="tcp_one_way",
        beside="nng_one_way",
    ),
    Comparison(
        name="tcp_round_trip_to_zmq",
        title="round trip, p50, to pyzmq",
        figure="tcp_round_trip_p50",
        beside="zmq_round_trip_p50",
    ),
    Comparison(
        name="tcp_round_trip_to_nng",
        title="round trip, p50, to pynng",
        figure="tcp_round_trip_p50",
        beside="nng_round_trip_p50",
    ),
)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (its output)


def tell_progress(number: int, rounds: int, title: str) -> None:
    if sys.stderr.isatty():
        line = f"round {number} of {rounds}  {title}"
        print(f"\r{line:<70}\r", end="", file=sys.stderr, flush=True)  # noqa: T201 (its output)


async def measure_figures(rounds: int, scale: float, write: Path | None) -> None:
    """Everything but memory."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parts: list[Bench] = []
        for carrier in ("tls", "tcp"):
            two = await stack.enter_async_context(open_two_processes(carrier, folder))
            parts.append(link_bench(carrier, two.measuring))
        for name in PEERS:
            peer = await stack.enter_async_context(open_peer(name))
            parts.append(peer_bench(name, peer))
        bench = reduce(Bench.joined, parts, Bench([], [], COMPARISONS))
        results = await run_rounds(bench, rounds=rounds, sizes=SIZES.scaled(scale), progress=tell_progress)
    ratios, figures = page.ratio_table(results), page.figure_table(results)
    today, load = datetime.datetime.now(datetime.UTC), os.getloadavg()[0]
    versions = f"Python {platform.python_version()}, Trio {trio.__version__}"
    head = f"Medians of {rounds} rounds on {today:%Y-%m-%d}, {versions}, load average {load:.1f} at the end."
    say(f"{head}\n\n{ratios}\n\n{figures}")
    if write is not None:
        page.write_part(write / page.PAGE, "ratios", f"{head}\n\n{ratios}")
        page.write_part(write / page.PAGE, "figures", figures)
        page.draw(results, write / page.PLOT)


async def measure_memory(messages: int, bulk_bytes: int, quiet_s: float, write: Path | None) -> None:
    """Plain TCP: it is faster, so more can be sent, and each frame is where TLS would have it too."""
    rows: list[memory.MemoryRow] = []
    with tempfile.TemporaryDirectory() as folder:
        async with open_two_processes("tcp", Path(folder)) as two:
            await memory.warm_up(two)
            await memory.measure_unread(two, quiet_s, rows)
            await memory.measure_much(two, messages, bulk_bytes, rows)
            await memory.measure_stopped(two, quiet_s, rows)
    shown = page.table(memory.HEADINGS, (row.cells() for row in rows))
    say(shown)
    if write is not None:
        page.write_part(write / page.PAGE, "memory", shown)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.link_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--what", choices=("figures", "memory"), default="figures", help="default: figures")
    parser.add_argument("--rounds", type=int, default=7, help="of figures; default: 7")
    parser.add_argument("--scale", type=float, default=1.0, help="how much is done in a round; default: 1")
    parser.add_argument("--messages", type=int, default=10_000_000, help="of memory; default: 10 million")
    parser.add_argument("--bulk-bytes", type=int, default=100 * 2**30, help="of memory; default: 100 GiB")
    parser.add_argument("--quiet-s", type=float, default=60.0, help="how long the peer reads nothing; default: 60")
    parser.add_argument("--write", type=Path, default=None, help="the folder of the page; default: only shown")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSORS])
    if given.what == "figures":
        trio.run(measure_figures, given.rounds, given.scale, given.write)
    else:
        trio.run(measure_memory, given.messages, given.bulk_bytes, given.quiet_s, given.write)


if __name__ == "__main__":
    main()
