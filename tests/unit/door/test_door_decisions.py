"""The log of decisions is whole lines, whatever the disk does."""

import json
import resource
from pathlib import Path

import pytest

from ctlha_trio._errors import StoreError
from ctlha_trio.door._decisions import DecisionLog


@pytest.mark.parametrize("room_bytes", [0, 10])
async def test_a_line_for_which_there_is_no_room_leaves_nothing(tmp_path: Path, room_bytes: int) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    await log.append(decision="first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + room_bytes, hard))
    try:
        with pytest.raises(StoreError, match=r"decisions\.jsonl: "):
            await log.append(decision="second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await log.append(decision="third")
    lines = log.path.read_text().splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["first", "third"]
