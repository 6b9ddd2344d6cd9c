"""``ctlha verify`` in this process: what it prints, and the exit code, for what a node says of a verification."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ctlha_trio._errors import DisconnectError, FailedError, TurnedAwayError
from ctlha_trio.cli import _verify, main
from ctlha_trio.cli._config import LoadedConfig, load_config
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._verify import describe_end, describe_plan

SIZE = 1 << 20
CLEAN: dict[str, Any] = {
    "number": 3,
    "state": "complete",
    "why": "",
    "goes_on": False,
    "bytes_compared": SIZE,
    "bytes_total": SIZE,
    "began_at_s": 10.0,
    "ended_at_s": 12.5,
    "differing_bytes": 0,
    "repaired_bytes": 0,
    "unreadable_bytes": 0,
    "found": [],
}
STATUS: dict[str, Any] = {"role": "primary", "state": "CTL_HA_STATE_HA", "verification": None}
COMPARED = f"compared {SIZE} of {SIZE} bytes in 2.5 s"


def found(what: str, size: int = 4096) -> dict[str, Any]:
    return {"what": what, "offset": 8192, "size": size}


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    create_pair(tmp_path / "p", NewPair(size_bytes=SIZE, link_addresses=loopback_addresses(7900)))
    return load_config(tmp_path / "p" / "a" / "node.toml")


def verify(loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch, *looks: dict[str, Any] | Exception | None) -> Result:
    """The command, with a node that says this of verification 3, one after the other."""
    said = iter(looks)

    async def status_of(_: Path) -> dict[str, Any]:
        look = next(said)
        if isinstance(look, Exception):
            raise look
        return STATUS | {"verification": look}

    async def verify_of(_: Path) -> int:
        return 3

    monkeypatch.setattr(_verify, "status_of", status_of)
    monkeypatch.setattr(_verify, "verify_of", verify_of)
    monkeypatch.setattr(_verify, "LOOK_S", 0.0)
    return CliRunner().invoke(main, ["verify", str(loaded.file)])


def test_what_is_equal_is_success(loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    running = CLEAN | {"state": "running", "bytes_compared": 4096, "ended_at_s": None}
    done = verify(loaded, monkeypatch, running, running, CLEAN)
    assert (done.exit_code, done.stdout) == (0, f"{COMPARED}; both copies are equal\n")


def test_findings_are_printed_once_as_they_come(loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    first, both = [found("repaired-here")], [found("repaired-here"), found("repaired-there")]
    running = CLEAN | {"state": "running", "found": first, "repaired_bytes": 4096}
    done = verify(loaded, monkeypatch, running, running, CLEAN | {"found": both, "repaired_bytes": 8192})
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "repaired: 4096 bytes at 8192 of node a, from the other copy",
        "repaired: 4096 bytes at 8192 of node b, from the other copy",
        f"{COMPARED}; 8192 bytes were repaired; both copies are equal",
    ]


@pytest.mark.parametrize(
    ("end", "lines"),
    [
        (
            {"differing_bytes": 65536, "found": [found("differs", 65536)]},
            [
                "differs: 65536 bytes at 8192: each copy is whole by its checksums, and they are not the same",
                f"{COMPARED}; 65536 bytes differ",
            ],
        ),
        (
            {"unreadable_bytes": 4096, "found": [found("unreadable")]},
            [
                "unreadable: 4096 bytes at 8192: damaged on both copies",
                f"{COMPARED}; 4096 bytes are damaged on both copies",
            ],
        ),
        (
            {"state": "interrupted", "why": "the pair changed: claim won", "bytes_compared": 4096},
            [f"interrupted: the pair changed: claim won; compared 4096 of {SIZE} bytes in 2.5 s"],
        ),
    ],
)
def test_what_is_not_equal_or_not_compared_is_none(
    loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch, end: dict[str, Any], lines: list[str]
) -> None:
    done = verify(loaded, monkeypatch, CLEAN | end)
    assert (done.exit_code, done.stdout.splitlines()) == (1, lines)


@pytest.mark.parametrize("look", [None, CLEAN | {"number": 1}])
def test_a_node_that_started_anew_knows_nothing(
    loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch, look: dict[str, Any] | None
) -> None:
    done = verify(loaded, monkeypatch, look)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "the node started anew: nothing is known of what was compared\n"


PRIMARY = "this node is not the primary of two members in sync"


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("stands", "helps"),
    [
        (
            {"role": "secondary", "verdict": "protected"},
            "node b is the primary: there, ctlha verify <its node.toml>",
        ),
        (
            {"role": "secondary", "verdict": "degraded", "reasons": ["arbiter-silent"]},
            "node b is the primary: there, ctlha verify <its node.toml>",
        ),
        (
            {"role": "outdated", "verdict": "degraded", "reasons": ["resyncing"]},
            "wait until this copy is up to date: ctlha status --watch CONFIG; then, if node b is the primary, there: "
            "ctlha verify <its node.toml>",
        ),
        (
            {"reasons": ["peer-lost", "arbiter-silent"]},
            "start the other node, b; if it runs, see there what keeps it away: ctlha status <its node.toml>; if "
            "nothing but the link does, mend that; then wait until both are in sync: ctlha status --watch CONFIG",
        ),
        ({"reasons": ["resyncing"]}, "wait until the copy of node b is up to date: ctlha status --watch CONFIG"),
        ({"reasons": ["resync-blocked"]}, "see how the node stands, and what helps: ctlha status CONFIG"),
        (
            {"role": "secondary", "verdict": "at-risk", "reasons": ["peer-lost", "claiming"]},
            "see how the node stands, and what helps: ctlha status CONFIG",
        ),
        (
            {"role": "none", "verdict": "stopped", "reasons": ["foreign-record"]},
            "see how the node stands, and what helps: ctlha status CONFIG",
        ),
    ],
)
def test_a_refusal_says_where_to_ask_or_what_comes_first(
    loaded: LoadedConfig,
    monkeypatch: pytest.MonkeyPatch,
    stands: dict[str, Any],
    helps: str,
    dry_run: bool,
) -> None:
    async def status_of(_: Path) -> dict[str, Any]:
        return STATUS | {"state": "CTL_HA_STATE_SINGLE", "verdict": "degraded"} | stands

    async def verify_of(_: Path) -> int:
        raise FailedError(PRIMARY)

    monkeypatch.setattr(_verify, "status_of", status_of)
    monkeypatch.setattr(_verify, "verify_of", verify_of)
    done = CliRunner().invoke(main, ["verify", str(loaded.file), *(["--dry-run"] if dry_run else [])])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [PRIMARY, f"  {helps.replace('CONFIG', str(loaded.file))}"]


def test_a_node_that_is_gone_gives_no_answer(loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    done = verify(loaded, monkeypatch, DisconnectError("gone"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"{loaded.file}: gone\n  if it does not run, start it: ctlha node {loaded.file}\n"


def test_findings_that_were_not_kept_are_counted() -> None:
    end = CLEAN | {"found": [found("differs", 65536)], "differing_bytes": 3 * 65536}
    assert describe_end(end) == f"{COMPARED}; {3 * 65536} bytes differ; {2 * 65536} bytes of these are not listed"


def test_the_plan_goes_on_where_the_last_one_was_interrupted(loaded: LoadedConfig) -> None:
    interrupted = STATUS | {"verification": CLEAN | {"state": "interrupted", "goes_on": True, "bytes_compared": 4096}}
    assert describe_plan(interrupted, loaded).splitlines() == [
        "the last one was interrupted after 4096 bytes: it goes on there",
        f"node a: reads {SIZE - 4096} bytes of its copy, and sends digests of them",
        "node b: reads as much of its own, and compares",
        "blocks that are damaged on one copy are repaired from the other; what differs otherwise is left alone",
        "nothing was read: --dry-run",
    ]
    assert describe_plan(STATUS, loaded).startswith(f"node a: reads {SIZE} bytes")


def test_the_plan_begins_anew_with_another_copy(loaded: LoadedConfig) -> None:
    interrupted = STATUS | {"verification": CLEAN | {"state": "interrupted", "bytes_compared": 4096}}
    assert describe_plan(interrupted, loaded).startswith(f"node a: reads {SIZE} bytes of its copy")


@pytest.mark.parametrize("change", [{"role": "secondary"}, {"state": "CTL_HA_STATE_SINGLE"}])
def test_a_plan_that_cannot_be_carried_out_is_none(loaded: LoadedConfig, change: dict[str, Any]) -> None:
    with pytest.raises(FailedError, match="not the primary of two members"):
        describe_plan(STATUS | change, loaded)


def test_a_node_that_has_too_many_to_answer_is_not_to_be_started(
    loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = verify(loaded, monkeypatch, TurnedAwayError("too-many-connections", "8 connections are open already"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{loaded.file}: 8 connections are open already\n  the node runs: ask again once others that ask have left\n"
    )
