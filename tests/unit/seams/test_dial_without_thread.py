import pytest
import trio

from ctlha_trio._errors import DisconnectError
from ctlha_trio.seams._tcp import connect


async def test_a_bug_beneath_a_dial_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RecursionError("a bug")

    monkeypatch.setattr(trio.to_thread, "run_sync", broken)
    with pytest.raises(RecursionError):
        await connect("some-host.example:1")


async def test_a_dial_by_name_without_a_thread_is_a_dial_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.to_thread, "run_sync", no_thread)
    with pytest.raises(DisconnectError, match="look up"):
        await connect("some-host.example:1")
