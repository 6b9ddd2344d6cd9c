"""A demo that finds no room on this machine says so as the user's affair, not as a failure of the pair."""

import tempfile
from pathlib import Path

import pytest

from ctlha_trio._errors import ConfigError, StoreError
from ctlha_trio.cli import _demo
from ctlha_trio.cli._demo import run_demo
from ctlha_trio.cli._init import NewPair


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Something to write."""
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    return path


async def test_a_temporary_folder_with_a_path_too_long_for_sockets(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(ConfigError, match=f"{long}.*TMPDIR: too long"):
        await run_demo(file)
    assert not list(long.iterdir())


async def test_no_space_for_the_copies(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_pair(*_: object, **__: object) -> NewPair:
        raise StoreError("volume.img: No space left on device")

    monkeypatch.setattr(_demo, "create_pair", create_pair)
    with pytest.raises(ConfigError, match=r"TMPDIR: cannot hold the pair: volume.img: No space left"):
        await run_demo(file)
