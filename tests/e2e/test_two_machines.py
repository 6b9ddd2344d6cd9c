"""A pair is laid out, taken apart and tried by the commands of the page on two machines, and a key is changed.

Each machine is a folder with an address of its own on loopback.
"""

import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.free_ports import free_base_port
from ctlha_trio.testing._processes.hand_pair import NODE_PROGRAM, OTHER, SIZE_BYTES, START_S, HandPair, run_ctlha
from ctlha_trio.testing._processes.outside_clients import outside_clients

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
TWO_MACHINES = (DOCS / "machines.md").read_text()
SECURITY = (DOCS / "explain/security.md").read_text()
HOSTS = {"a": "127.0.0.2", "b": "127.0.0.3"}
PRELUDE = """
set -e
ctlha() {{ {ctlha} "$@"; }}
ssh() {{ test "$1" = ctlha@{b}; (cd {machine_b} && sh -ec "$2"); }}
cd {machine_a}
"""
"""What stands before the commands of the page: the other machine is another folder."""


def blocks(page: str, heading: str) -> list[str]:
    """The commands of a section."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    return [block.replace(f"\n{indent}", "\n").removeprefix(indent) for indent, block in found]


async def run_shell(script: str) -> str:
    with trio.fail_after(START_S):
        done = await trio.run_process(["sh", "-c", script], capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def with_given(commands: str, given: Mapping[str, str]) -> str:
    """What the reader of the page has other values for."""
    for text, other in given.items():
        assert text in commands
        commands = commands.replace(text, other)
    return commands


@pytest.fixture
async def taken_apart(etcd_endpoint: str, tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair that was made and whose node b was taken away as the page says it; nothing runs.

    Its folder shows both nodes' folders side by side, which they are not.
    """
    pair = HandPair(tmp_path / "both", free_base_port(), hosts=HOSTS)
    machines = {node: tmp_path / f"machine-{node}" / "home" for node in HOSTS}
    for node, machine in machines.items():
        machine.mkdir(parents=True)
        pair.folder.mkdir(exist_ok=True)
        (pair.folder / node).symlink_to(machine / "pair" / node)
    (make,) = blocks(TWO_MACHINES, "Make the pair")
    (take,) = blocks(TWO_MACHINES, "Take node b to its machine")
    etcd = make[make.index("--arbiter ") :].strip()
    given = {
        "64G": str(SIZE_BYTES),
        "192.0.2.1:7900,192.0.2.2:7900": f"{pair.address('a')},{pair.address('b')}",
        etcd: f"--arbiter {etcd_endpoint}",
        "192.0.2.2": HOSTS["b"],
    }
    ctlha = shlex.join([sys.executable, *NODE_PROGRAM])
    prelude = PRELUDE.format(ctlha=ctlha, b=HOSTS["b"], machine_a=machines["a"], machine_b=machines["b"])
    await run_shell(prelude + with_given(make + take, given))
    try:
        yield pair
    finally:
        await pair.end_all()


async def test_a_pair_on_two_machines(taken_apart: HandPair, tmp_path: Path) -> None:
    pair = taken_apart
    for node in HOSTS:
        there = {path.name for path in (tmp_path / f"machine-{node}").rglob("*")}
        assert there == {"home", "pair", node, "node.toml", "node.key", "volume.img"}
    await pair.start_protected()
    primary = await pair.primary()
    asked = await run_ctlha("switchover", pair.config(primary), "--dry-run")
    assert (asked.code, asked.out.partition("\n")[0]) == (0, "would be accepted")
    await pair.kill(primary)
    await pair.wait_for(OTHER[primary], verdict="degraded", role="primary", reasons=["peer-lost"])
    await pair.start(primary)
    await pair.wait_protected()


async def restart(pair: HandPair, node: str) -> None:
    assert await pair.end(node, signal.SIGTERM) == 0
    await pair.start(node)
    await pair.wait_protected()


async def test_a_key_is_changed_while_the_pair_serves(hand_pair: HandPair) -> None:
    """By the steps of the page; at its end the old key opens nothing, and no restart has cost an operation."""
    pair = hand_pair
    old_pin = pair.pin_in("b")
    (moves,) = blocks(SECURITY, "Another key")
    await pair.start_protected()
    async with outside_clients(pair) as clients:
        made = await run_ctlha("key", pair.config("a"), "--new")
        assert made.code == 0, made.err
        new_pin = made.out.splitlines()[0]
        pair.edit("b", f'["{old_pin}"]', f'["{old_pin}", "{new_pin}"]')
        await restart(pair, "b")
        assert await pair.end("a", signal.SIGTERM) == 0
        await run_shell(f"cd {shlex.quote(str(pair.folder.parent))}\n{moves}")
        await pair.start("a")
        await pair.wait_protected()
        assert (await run_ctlha("key", pair.config("a"))).out == f"{new_pin}\n"
        pair.edit("b", f'["{old_pin}", "{new_pin}"]', f'["{new_pin}"]')
        await restart(pair, "b")
        await clients.wait_served()
    await pair.end("a", signal.SIGTERM)
    (pair.folder / "a" / "node.key.old").replace(pair.folder / "a" / "node.key")
    await pair.start("a")
    await pair.wait_logged("a", "does not trust our key")
    await pair.wait_for("a", role="outdated")
    await pair.wait_for("b", role="primary", reasons=["peer-lost"])
