"""The serving side as a process of its own on this machine, which never outlives the one that measures."""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.bench._measuring import Measuring, open_measuring
from ctlha_trio.bench._node import Side, open_measured_node
from ctlha_trio.bench._serving import serve_benchmark
from ctlha_trio.bench._workloads import Carrier
from ctlha_trio.ha import MessageChannel
from ctlha_trio.seams import describe_key, load_key, make_key, parse_pin

START_S: Final = 30.0
"""For a process to start on a machine that is busy with something else."""
END_S: Final = 3.0
"""For the other process to take its leave and remove its files. Then it is killed."""

_HOST: Final = "127.0.0.1"


@attrs.frozen
class TwoProcesses:
    """This one, and the one that serves it."""

    measuring: Measuring
    serving_pid: int


@asynccontextmanager
async def open_two_processes(carrier: Carrier, folder: Path) -> AsyncIterator[TwoProcesses]:
    """This process measures, another one serves; they meet on loopback. ``folder`` is for keys, which go with it.

    ``DisconnectError`` if the other one does not come. However the block ends, the other process ends with it.
    """
    mine, theirs = _sides(carrier, folder)
    # It ends when its standard input does, also should this process be killed. In a group of its own an interrupt from
    # the terminal does not reach it, also while it boots: that is this process's affair.
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "ctlha_trio.bench", _text_of(theirs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        async with (
            open_measured_node(attrs.evolve(mine, listen=f"{_HOST}:0")) as node,
            open_measuring(node, mine, _wait_for_process) as measuring,
        ):
            yield TwoProcesses(measuring, process.pid)
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with trio.move_on_after(END_S):
                await process.wait()
            process.kill()
            await process.wait()


async def _wait_for_process(channel: MessageChannel) -> None:
    with trio.move_on_after(START_S):
        await channel.wait_connected()
        return
    raise DisconnectError(f"the serving process did not connect within {START_S:g} s")


def _sides(carrier: Carrier, folder: Path) -> tuple[Side, Side]:
    addresses = dict(zip("ab", _free_addresses(), strict=True))
    keys = dict.fromkeys("ab", None) if carrier == "tcp" else {node: _new_key(folder / node) for node in "ab"}
    sides = []
    for node, peer in ("ab", "ba"):
        pins = () if (key := keys[peer]) is None else (parse_pin(describe_key(load_key(key))),)
        sides.append(
            Side(
                cluster="ctlha",
                node=node,
                peer=peer,
                resource="volume",
                listen=addresses[node],
                peer_address=addresses[peer],
                key=keys[node],
                pins=pins,
            )
        )
    return sides[0], sides[1]


def _new_key(path: Path) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(make_key())
    return path


def _free_addresses() -> tuple[str, str]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind((_HOST, 0))
        return f"{_HOST}:{one.getsockname()[1]}", f"{_HOST}:{other.getsockname()[1]}"


def _text_of(side: Side) -> str:
    fields = attrs.asdict(side, recurse=False)
    key = None if side.key is None else os.fspath(side.key)
    return json.dumps(fields | {"key": key, "pins": [str(pin) for pin in side.pins]})


def _side_of(text: str) -> Side:
    fields = json.loads(text)
    key = fields["key"] and Path(fields["key"])
    return Side(**(fields | {"key": key, "pins": tuple(map(parse_pin, fields["pins"]))}))


def serve_in_this_process(text: str) -> None:
    """What the other process runs: serve until standard input ends."""
    logging.getLogger("ctlha_trio").addHandler(logging.NullHandler())
    trio.run(_serve_until_left, _side_of(text))


async def _serve_until_left(side: Side) -> None:
    async with open_measured_node(side) as node, trio.open_nursery() as nursery:
        nursery.start_soon(serve_benchmark, node, side)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as left:
            with contextlib.suppress(trio.BrokenResourceError):
                while await left.receive_some():
                    pass
        nursery.cancel_scope.cancel()
