import ssl
from pathlib import Path

import pytest
import trio

from ctlha_trio._errors import ArbiterError, ArbiterSilentError, NoThreadError, StoreError
from ctlha_trio.arbiter import SqliteArbiter, create_sqlite_arbiter
from ctlha_trio.arbiter._etcd_gateway import open_gateway
from ctlha_trio.door._decisions import DecisionLog
from ctlha_trio.door._forcing import _in_thread
from ctlha_trio.pair import Record, SwapOutcome

RECORD = Record(cluster="c", resource="r", epoch=4, lineage="l", primary="b", members=("b",), proposal="p")


async def no_thread(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


async def test_without_a_thread_the_arbiter_is_silent_and_swaps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_sqlite_arbiter(tmp_path / "arbiter", RECORD)
    arbiter = await SqliteArbiter.open(tmp_path / "arbiter", cluster="c", resource="r")
    with monkeypatch.context() as without:
        without.setattr(trio.to_thread, "run_sync", no_thread)
        with pytest.raises(NoThreadError):
            await SqliteArbiter.open(tmp_path / "arbiter", cluster="c", resource="r")
        with pytest.raises(ArbiterSilentError) as caught:
            await arbiter.read()
        assert not caught.value.sent
        assert (await arbiter.cas(1, RECORD)).outcome is SwapOutcome.REFUSED
        assert not await arbiter.probe()
    assert (await arbiter.read()).revision == 1


async def test_without_a_thread_etcd_is_not_found_by_its_name_and_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = open_gateway(["http://some-host.example:1"], ssl.create_default_context(), None, lambda: None)
    monkeypatch.setattr(trio.to_thread, "run_sync", no_thread)
    with pytest.raises(ArbiterSilentError, match="no connection: can't start new thread") as caught:
        await gateway.transact({}, repeatable=False)
    assert not caught.value.sent


async def test_without_a_thread_the_file_of_credentials_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = open_gateway(["http://some-host.example:1"], ssl.create_default_context(), None, lambda: None)
    monkeypatch.setattr(trio.to_thread, "run_sync", no_thread)
    with pytest.raises(ArbiterError, match="not taken; the file of credentials: no thread can be started now"):
        await gateway._reread("not taken", trio.current_time() + 5.0)


async def test_without_a_thread_the_file_of_an_owed_fence_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    called = list[int]()
    monkeypatch.setattr(trio.to_thread, "run_sync", no_thread)
    with pytest.raises(StoreError, match="no thread can be started now"):
        await _in_thread(lambda: called.append(1))
    assert not called


async def test_a_runtime_error_of_the_call_itself_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_sqlite_arbiter(tmp_path / "arbiter", RECORD)
    arbiter = await SqliteArbiter.open(tmp_path / "arbiter", cluster="c", resource="r")

    def broken(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(SqliteArbiter, "_read", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        await arbiter.read()


async def test_without_a_thread_a_line_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", no_thread)
    log = DecisionLog(tmp_path / "decisions")
    with pytest.raises(StoreError):
        await log.append(decision="d")
    with pytest.raises(StoreError):
        await log.append_refusal(decision="d", why="w", revision=1, epoch=1)
