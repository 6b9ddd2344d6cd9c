"""pyzmq and pynng, each in two processes on loopback: what the link is compared with.

Blocking calls of Python, messages of 256 bytes, the libraries' defaults: copying, high-water marks as they are. One
way by PUSH and PULL until the other end's word that all messages are there; there and back by PAIR.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from ctlha_trio.bench import MESSAGE_BYTES, Bench, Figure, Sizes, Unit, Values, Workload

MESSAGE = bytes(MESSAGE_BYTES)
PEERS = {"zmq": "pyzmq", "nng": "pynng"}


@attrs.frozen
class Sockets:
    """Of one end, as functions; only one of the first two can be used."""

    push: Callable[[bytes], object]
    pull: Callable[[], object]
    say: Callable[[bytes], object]
    hear: Callable[[], object]


def zmq_sockets(port: int, *, near: bool) -> Sockets:
    import zmq  # noqa: PLC0415 (of an extra that --help does without)

    context = zmq.Context()
    stream = context.socket(zmq.PUSH if near else zmq.PULL)
    pair = context.socket(zmq.PAIR)
    for socket, offset in ((stream, 0), (pair, 1)):
        (socket.bind if near else socket.connect)(f"tcp://127.0.0.1:{port + offset}")
    return Sockets(stream.send, stream.recv, pair.send, pair.recv)


def nng_sockets(port: int, *, near: bool) -> Sockets:
    import pynng  # noqa: PLC0415 (of an extra that --help does without)

    stream = pynng.Push0() if near else pynng.Pull0()
    pair = pynng.Pair0()
    for socket, offset in ((stream, 0), (pair, 1)):
        address = f"tcp://127.0.0.1:{port + offset}"
        if near:
            socket.listen(address)
        else:
            socket.dial(address, block=False)  # until somebody listens
    return Sockets(stream.send, stream.recv, pair.send, pair.recv)


SOCKETS: dict[str, Callable[..., Sockets]] = {"zmq": zmq_sockets, "nng": nng_sockets}


def be_near(sockets: Sockets) -> None:
    """Do what stands on standard input, line by line; print what it took. The other end is told by its own input."""
    for line in sys.stdin:
        order = json.loads(line)
        sockets.hear()  # the other end is there too
        if order["do"] == "one-way":
            took: dict[str, float] = {"took_s": time_one_way(sockets, order["count"])}
        else:
            trips = [time_round_trip(sockets) for _ in range(order["count"])]
            took = {"p50_s": statistics.median(trips), "p99_s": sorted(trips)[int(0.99 * len(trips))]}
        print(json.dumps(took), flush=True)  # noqa: T201


def time_one_way(sockets: Sockets, count: int) -> float:
    push = sockets.push
    began_s = time.perf_counter()
    for _ in range(count):
        push(MESSAGE)
    sockets.hear()
    return time.perf_counter() - began_s


def time_round_trip(sockets: Sockets) -> float:
    began_s = time.perf_counter()
    sockets.say(MESSAGE)
    sockets.hear()
    return time.perf_counter() - began_s


def be_far(sockets: Sockets) -> None:
    pull, say, hear = sockets.pull, sockets.say, sockets.hear
    for line in sys.stdin:
        order = json.loads(line)
        say(MESSAGE)
        if order["do"] == "one-way":
            for _ in range(order["count"]):
                pull()
            say(MESSAGE)
        else:
            for _ in range(order["count"]):
                hear()
                say(MESSAGE)


@attrs.define(eq=False)
class PeerProcesses:
    """Both ends of one library. They end when their standard input does."""

    near: trio.Process
    far: trio.Process

    async def ask(self, **order: object) -> dict[str, Any]:
        line = json.dumps(order).encode() + b"\n"
        answer = b""
        for process in (self.far, self.near):
            assert process.stdin is not None
            await process.stdin.send_all(line)
        assert self.near.stdout is not None
        with trio.fail_after(60):
            while not answer.endswith(b"\n"):
                piece = await self.near.stdout.receive_some()
                assert piece, "a peer has ended: see what it said"
                answer += piece
        read: dict[str, Any] = json.loads(answer)
        return read


@asynccontextmanager
async def open_peer(name: str) -> AsyncIterator[PeerProcesses]:
    port = await free_ports()
    processes: list[trio.Process] = []
    try:
        for end in ("near", "far"):
            command = [sys.executable, "-m", __name__, end, name, str(port)]
            process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            processes.append(process)
        yield PeerProcesses(*processes)
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                process.kill()
                await process.wait()


async def free_ports() -> int:
    """The first of two that are free. Chance keeps those who ask at the same time apart."""
    for port in random.sample(range(21_000, 32_000, 2), 1000):
        with trio.socket.socket() as one, trio.socket.socket() as other:
            try:
                await one.bind(("127.0.0.1", port))
                await other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no free ports")


def peer_bench(name: str, peer: PeerProcesses) -> Bench:
    """To be joined with the link's."""
    library = PEERS[name]
    rate = Figure(f"{name}_one_way", f"{library} PUSH/PULL, one way", Unit.MESSAGES)
    p50, p99 = (
        Figure(f"{name}_round_trip_{part}", f"{library} PAIR, round trip, {part}", Unit.MICROSECONDS)
        for part in ("p50", "p99")
    )

    async def one_way(sizes: Sizes) -> Values:
        took = await peer.ask(do="one-way", count=sizes.messages)
        return {rate.name: sizes.messages / took["took_s"]}

    async def round_trips(sizes: Sizes) -> Values:
        took = await peer.ask(do="round-trip", count=sizes.round_trips)
        return {p50.name: took["p50_s"] * 1e6, p99.name: took["p99_s"] * 1e6}

    return Bench([Workload(rate.title, one_way), Workload(f"{library} PAIR", round_trips)], [rate, p50, p99], [])


if __name__ == "__main__":
    which, library_name, first_port = sys.argv[1:]
    opened = SOCKETS[library_name](int(first_port), near=which == "near")
    (be_near if which == "near" else be_far)(opened)
