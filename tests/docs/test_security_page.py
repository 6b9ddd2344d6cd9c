"""The page on hostile peers and the tests of them name the same attacks, ends and bounds."""

import re
from pathlib import Path

from ctlha_trio.link import _meeting
from ctlha_trio.seams import _serve, _stranger_log, _tls_stream, _waiting_room
from ctlha_trio.wire import _codec
from tests.unit.link import test_hostile_strangers as strangers
from tests.unit.link.test_hostile_peers import ATTACKS, KEYS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain/security.md").read_text()
FILES = [ROOT / f"tests/unit/link/test_hostile_{name}.py" for name in ("peers", "strangers")]
THE_PROJECT_S_LIST = (
    *("truncated", "oversized", "wrong magic", "wrong checksum", "wrong sequence", "unknown channel", "unknown type"),
    *("reserved bits", "length overflow", "key guessing", "key reuse", "key out of range", "key after role change"),
    *("replayed session", "slow handshake", "thousands of connections", "a valid certificate with another key"),
)


def rows(heading: str) -> dict[str, list[str]]:
    """The cells behind the first one of each row."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


def test_every_attack_of_the_project_s_list_has_a_row() -> None:
    assert set(THE_PROJECT_S_LIST) <= rows("The attacks").keys()


def test_every_test_has_a_row_and_every_row_has_tests() -> None:
    named = {test for row in rows("The attacks").values() for test in re.findall(r"`(\w+)`", row[-1])}
    there = {test for file in FILES for test in re.findall(r"^async def (test_\w+)", file.read_text(), re.MULTILINE)}
    assert named == there
    assert all(re.search("`test_", row[-1]) for row in rows("The attacks").values())


def test_the_page_names_the_ends_that_the_tests_demand() -> None:
    said = {name: row[:2] for name, row in rows("The attacks").items()}
    for name, (_, fault) in ATTACKS.items():
        assert said[name] == (["`slow`", "`silent`"] if fault is None else [f"`malformed: {fault}`", f"`{fault}`"])
    for name, denial in KEYS.items():
        assert said[name] == ["", f"`{denial}`"]


def test_the_page_names_the_bounds_as_they_are() -> None:
    said = {row[-1].strip("`"): row[0] for row in rows("Bounds").values()}
    assert said == {
        "MAX_HANDSHAKES": f"{_waiting_room.MAX_HANDSHAKES}",
        "HANDSHAKE_DEADLINE_S": f"{_waiting_room.HANDSHAKE_DEADLINE_S:g} s",
        "HANDSHAKE_SHARE_S": f"{_waiting_room.HANDSHAKE_SHARE_S:g} s",
        "MAX_WAITING": f"{_waiting_room.MAX_WAITING}",
        "MAX_HANDSHAKE_BYTES": f"{_tls_stream.MAX_HANDSHAKE_BYTES // 1024} KiB",
        "HALF_OPEN_BYTES": f"under {strangers.HALF_OPEN_BYTES // 1024} KiB",
        "MAX_CONNECTIONS": f"{_serve.MAX_CONNECTIONS}",
        "IN_HELLO_MAX": f"{_meeting.IN_HELLO_MAX}",
        "HELLO_TIMEOUT_S": f"{_meeting.HELLO_TIMEOUT_S:g} s",
        "HELLO_BUFFER_SIZE": f"{_codec.HELLO_BUFFER_SIZE / 1024:.1f} KiB",
        "SOURCES_MAX": f"{_stranger_log.SOURCES_MAX}",
        "WINDOW_S": f"{_stranger_log.WINDOW_S:g}",
    }
