"""How the errors of a node that could not take part are put into the words of its configuration."""

import errno
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ctlha_trio._errors import ConfigError, RefusedError, StoreError, UntrustedPeerError
from ctlha_trio.cli import _configured_node
from ctlha_trio.cli._checks import Prepared
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._configured_node import _faults, run_loaded_node
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._status import show_status
from ctlha_trio.door import BOOT_S, STATUS_SOCKET
from ctlha_trio.ha import no_components


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(23_600)))
    return load_config(tmp_path / "p" / "a" / "node.toml")


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (UntrustedPeerError("whose key?"), "peer.pins"),
        (RefusedError("same-node"), "node"),
        (RefusedError("foreign-cluster"), "cluster"),
        (RefusedError("wrong-peer"), "peer.node"),
        (RefusedError("resource"), "resource"),
        (RefusedError("size"), "volume.size_bytes"),
        (OSError(errno.EADDRINUSE, "in use"), "link.listen"),
    ],
    ids=str,
)
def test_an_error_stands_for_a_key(loaded: LoadedConfig, error: Exception, key: str) -> None:
    for raised in (error, ExceptionGroup("", [ExceptionGroup("", [error])])):
        (fault,) = _faults(loaded, raised)
        assert str(fault).startswith(f"{loaded.file}: {key}: ")
        assert str(error.args[-1]) in str(fault)


def test_a_fault_that_was_named_already_stays_as_it_is(loaded: LoadedConfig) -> None:
    error = ConfigError("volume.img", "node", "belongs to another")
    assert [*_faults(loaded, ExceptionGroup("", [error]))] == [error]


@pytest.mark.parametrize(
    "error", [RefusedError("stopping"), StoreError("disk"), OSError(errno.EIO, "disk"), RuntimeError("a bug")], ids=str
)
def test_what_no_configuration_can_help_is_not_blamed_on_it(loaded: LoadedConfig, error: Exception) -> None:
    assert [*_faults(loaded, error)] == []


async def test_a_node_whose_disk_hangs_at_its_start_says_why_it_boots(
    loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def hang(_: LoadedConfig) -> Prepared:
        return await trio.sleep_forever()

    monkeypatch.setattr(_configured_node, "prepare", hang)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_loaded_node, loaded, no_components)
        await wait_all_tasks_blocked()
        mock_clock.jump(BOOT_S)
        await wait_all_tasks_blocked()
        assert await show_status(loaded.file, as_json=False) == 1
        nursery.cancel_scope.cancel()
    assert capsys.readouterr().out.startswith("at-risk: disk-hangs, booting\n")
    assert not (loaded.folder / STATUS_SOCKET).exists()
