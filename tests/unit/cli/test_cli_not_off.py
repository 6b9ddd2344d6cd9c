"""Commands that abandon the other node while that one answers: whatever a person states, it is not powered off."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result

from ctlha_trio.cli import _adopt, _force, _salvage, main
from ctlha_trio.cli._config import load_config
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.pair import Copy
from ctlha_trio.seams import Stream, ThreadDisk, TlsTransport, TrioClock, load_key
from ctlha_trio.store import BlockStore, rewrite_metadata
from tests.unit.cli.test_cli_force import PLAN

SIZE_BYTES = 1 << 20
NOT_OFF = "node a is connected, so it is not powered off\n"
OFF = ("--statement", "a is powered off")
COMMANDS = {
    "force-primary": (_force, ("force-primary",)),
    "salvage": (_salvage, ("force-primary", "--salvage")),
    "adopt-arbiter": (_adopt, ("adopt-arbiter",)),
}


@attrs.frozen
class Pair:
    """Node b is stopped, and each of the three commands would do what it is asked."""

    folder: Path
    forced: list[str] = attrs.Factory(list)

    @property
    def config(self) -> Path:
        return self.folder / "b" / "node.toml"

    @asynccontextmanager
    async def node_that_answers(self, key_of: str = "a", *, trusts: str = "b") -> AsyncIterator[None]:
        """At the address of node a, with this key, and with that of the node which it trusts."""
        loaded = load_config(self.folder / "a" / "node.toml")
        key = load_key(self.folder / key_of / loaded.key_path.name)
        pins = loaded.content.peer.pins if trusts == "b" else load_config(self.config).content.peer.pins
        listener = await TlsTransport(key=key, pins=pins).listen(loaded.content.link.listen)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.serve, _hold)
                yield
                nursery.cancel_scope.cancel()
        finally:
            listener.close()

    async def run(self, command: str, *options: str) -> Result:
        name, *rest = COMMANDS[command][1]
        arguments = [name, str(self.config), "--abandon", "a", *rest, *options]
        return await trio.to_thread.run_sync(CliRunner().invoke, main, arguments)

    def decided(self) -> bool:
        """Whether anything was begun."""
        log = self.config.parent / "decisions.jsonl"
        return bool(self.forced) or (log.exists() and '"asked"' in log.read_text())


async def _hold(_: Stream) -> None:
    await trio.sleep_forever()


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def pair(tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> Pair:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    folder = tmp_path / "p"
    create_pair(folder, NewPair(size_bytes=SIZE_BYTES, link_addresses=loopback_addresses(port)))
    pair = Pair(folder)

    async def force_plan_of(*_: object) -> dict[str, Any]:
        return PLAN

    async def force_primary_of(_: Path, abandon: str, **__: object) -> None:
        pair.forced.append(abandon)

    monkeypatch.setattr(_force, "force_plan_of", force_plan_of)
    monkeypatch.setattr(_force, "force_primary_of", force_primary_of)
    if command == "adopt-arbiter":
        (folder / "arbiter.db").unlink()
    volume, disk = str(folder / "b" / "volume.img"), ThreadDisk()
    store = await BlockStore.open(disk, volume, size_bytes=SIZE_BYTES, clock=TrioClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await store.write(0, bytes(range(256)) * 16)
        nursery.cancel_scope.cancel()
    store.close()
    if command == "salvage":
        await rewrite_metadata(disk, volume, attrs.evolve(store.metadata, copy=Copy.FAILED), expected=store.metadata)
    return pair


@pytest.mark.parametrize("trusts", ["b", "another"])
@pytest.mark.parametrize("options", [OFF, ("--dry-run",)], ids=["stated", "dry-run"])
async def test_a_node_that_answers_is_not_abandoned(
    pair: Pair, command: str, options: tuple[str, ...], trusts: str
) -> None:
    """Nor is one that does not know this node's key, as while keys are being changed."""
    async with pair.node_that_answers(trusts=trusts):
        refused = await pair.run(command, *options)
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", NOT_OFF)
    assert not pair.decided()


async def test_a_node_that_comes_back_while_a_person_thinks_is_not_abandoned(
    pair: Pair, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, stated, back = trio.lowlevel.current_trio_token(), trio.Event(), threading.Event()

    def require_statement(*_: object) -> None:
        token.run_sync_soon(stated.set)
        assert back.wait(10)

    monkeypatch.setattr(COMMANDS[command][0], "require_statement", require_statement)
    results = list[Result]()

    async def run() -> None:
        results.append(await pair.run(command))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await stated.wait()
            async with pair.node_that_answers():
                back.set()
                while not results:
                    await trio.testing.wait_all_tasks_blocked()
    assert (results[0].exit_code, results[0].stderr) == (1, NOT_OFF)
    assert not pair.decided()


@pytest.mark.parametrize("key_of", [None, "b"], ids=["nobody", "another-key"])
async def test_a_node_that_does_not_answer_is_abandoned_as_a_person_states(
    pair: Pair, command: str, key_of: str | None
) -> None:
    if key_of is None:
        done = await pair.run(command, *OFF)
    else:
        async with pair.node_that_answers(key_of):
            done = await pair.run(command, *OFF)
    assert done.exit_code == 0, done.output
    assert pair.decided()
