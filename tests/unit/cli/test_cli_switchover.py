"""``ctlha switchover`` in this process: what a dry run says, and that it asks for nothing."""

from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio._errors import DisconnectError, FailedError, RoleStaysError, UnknownOutcomeError
from ctlha_trio.cli import _switchover, main
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.cli._remedies import remedy_for
from ctlha_trio.cli._switchover import switch_over
from ctlha_trio.cli._unanswered import SOON_S

RECORD: dict[str, Any] = {"epoch": 4, "primary": "a", "members": ["a", "b"]}
PLAN: dict[str, Any] = {
    "obstacles": [],
    "steps": [
        {"what": "node a holds new operations", "durable": ""},
        {"what": "node b has the same records, and flushes", "durable": "on node b: everything"},
    ],
    "before": RECORD,
    "revision": 6,
    "after": {**RECORD, "epoch": 5, "primary": "b"},
}
ACCEPTED: dict[str, Any] = {"plan": PLAN, "accepted": True, "pause_s": 0.0215, "pause_limit_s": 5.0}
REFUSED: dict[str, Any] = {
    **ACCEPTED,
    "accepted": False,
    "plan": {**PLAN, "obstacles": ["resyncing", "arbiter-silent", "of-a-later-version"], "steps": [], "after": None},
}


FAILOVERS: list[dict[str, Any]] = []


@pytest.fixture
def config(tmp_path: Path) -> Path:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
    return tmp_path / "p" / "a" / "node.toml"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the node was asked for, in order."""
    found: list[str] = []

    async def switchover_of(_: Path) -> None:
        found.append("switchover")

    async def switchover_plan_of(_: Path) -> dict[str, Any]:
        found.append("plan")
        return ACCEPTED

    async def failover_plan_of(_: Path) -> dict[str, Any]:
        found.append("failover")
        return FAILOVERS.pop(0)

    monkeypatch.setattr(_switchover, "failover_plan_of", failover_plan_of)
    monkeypatch.setattr(_switchover, "switchover_of", switchover_of)
    monkeypatch.setattr(_switchover, "switchover_plan_of", switchover_plan_of)
    return found


def switchover(config: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["switchover", str(config), *options])


def test_it_is_done_and_told(config: Path, asked: list[str]) -> None:
    done = switchover(config)
    assert (done.exit_code, asked) == (0, ["switchover"])
    assert done.stdout == "node a handed its role over to node b\n"


def test_a_dry_run_shows_all_that_would_change_and_asks_for_nothing(config: Path, asked: list[str]) -> None:
    done = switchover(config, "--dry-run")
    assert (done.exit_code, asked) == (0, ["plan"])
    assert done.stdout.splitlines() == [
        "would be accepted",
        "epoch    4 -> 5",
        "primary  a -> b",
        "members  a b -> a b",
        " 1. node a holds new operations",
        " 2. node b has the same records, and flushes",
        "    durable on node b: everything",
        "clients wait for about 22 ms, as disk, link and arbiter last were; "
        "given up after 5 s if the nodes are not ready by then",
        "nothing was changed: --dry-run",
    ]


def test_a_pause_that_was_never_measured_is_not_guessed(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACCEPTED, "pause_s", None)
    assert "clients wait for an unknown time, for it was never measured" in switchover(config, "--dry-run").stdout


def test_a_dry_run_of_what_would_be_refused_names_every_obstacle_and_what_helps(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Path) -> dict[str, Any]:
        return REFUSED

    monkeypatch.setattr(_switchover, "switchover_plan_of", refuse)
    done = switchover(config, "--dry-run")
    assert (done.exit_code, asked) == (1, [])
    lines = done.stdout.splitlines()
    assert lines[0] == "would be refused: resyncing, arbiter-silent, of-a-later-version"
    assert lines[1].startswith("  resyncing: wait until the copy of node b is up to date")
    assert lines[2].startswith("  arbiter-silent: bring the arbiter back")
    assert lines[3:] == ["nothing was changed: --dry-run"]


@pytest.mark.parametrize(
    ("plan", "code", "says"),
    [
        (
            {"obstacle": None, "steps": PLAN["steps"], "before": RECORD, "revision": 6, "after": PLAN["after"]},
            0,
            ["without node b node a would serve", "epoch    4 -> 5"],
        ),
        (
            {"obstacle": None, "steps": [], "before": RECORD, "revision": 6, "after": RECORD},
            0,
            ["without node b node a would go on as it is: it serves alone, in epoch 4"],
        ),
        (
            {"obstacle": "arbiter-silent", "steps": [], "before": RECORD, "revision": 6, "after": None},
            1,
            [
                "without node b node a would not serve: arbiter-silent",
                f"  arbiter-silent: {remedy_for('arbiter-silent', config='', node='a', peer='b')}",
            ],
        ),
        (
            {"obstacle": "stopped", "steps": [], "before": None, "revision": 0, "after": None},
            1,
            ["without node b node a would not serve: stopped"],
        ),
    ],
)
def test_a_failover_is_only_shown(config: Path, asked: list[str], plan: Any, code: int, says: list[str]) -> None:
    FAILOVERS[:] = [plan]
    shown = switchover(config, "--dry-run", "--as-failover")
    assert (shown.exit_code, asked) == (code, ["failover"])
    assert shown.stdout.splitlines()[: len(says)] == says
    assert shown.stdout.splitlines()[-1] == "nothing was changed: --dry-run"


def test_a_failover_is_never_done_on_demand(config: Path, asked: list[str]) -> None:
    assert (switchover(config, "--as-failover").exit_code, asked) == (2, [])


def test_an_unknown_outcome_has_its_own_exit_code_and_says_where_to_look(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def freeze(_: Path) -> None:
        raise UnknownOutcomeError("no answer within 60 s")

    monkeypatch.setattr(_switchover, "switchover_of", freeze)
    done = switchover(config)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        "nobody knows whether the role was handed over: no answer within 60 s; who is primary now says "
        f"ctlha status {config}, and on node b: ctlha status <its node.toml>; how it ended will be in "
        f"{config.parent / 'decisions.jsonl'}\n"
    )


def test_a_node_that_does_not_run_has_handed_nothing_over(config: Path) -> None:
    done = switchover(config)
    assert done.exit_code == 1
    assert "no node listens there" in done.stderr
    assert done.stderr.splitlines()[1:] == [f"  if it does not run, start it: ctlha node {config}"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            RoleStaysError(("arbiter-refuses",), "the arbiter did not take the handover"),
            ["the arbiter did not take the handover", "  arbiter-refuses: the node's log says what the arbiter lacks"],
        ),
        (
            RoleStaysError(("peer-lost", "arbiter-silent")),
            [
                "nothing was handed over: peer-lost, arbiter-silent",
                "  peer-lost: start the other node, b",
                "  arbiter-silent: bring the arbiter back",
            ],
        ),
        (
            RoleStaysError(("of-a-later-version",)),
            ["nothing was handed over: of-a-later-version", "  see how the node"],
        ),
        (RoleStaysError((), "store-failed"), ["store-failed", "  see how the node stands"]),
        (FailedError("a handover is under way"), ["a handover is under way", "  see how the node stands"]),
    ],
)
def test_what_is_refused_ends_with_the_command_that_helps(
    config: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch, error: FailedError, says: list[str]
) -> None:
    async def refuse(_: Path) -> None:
        raise error

    monkeypatch.setattr(_switchover, "switchover_of", refuse)
    done = switchover(config)
    assert (done.exit_code, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == len(says)
    assert all(line.startswith(told) for line, told in zip(lines, says, strict=True))
    assert f"ctlha switchover {config}" in lines[-1] or f"ctlha status {config}" in lines[-1]


def changing(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any] | FailedError) -> None:
    """A node that goes through a change, and says of it one thing after the other, the last one for good."""
    left = list(answers)

    async def refuse(_: Path) -> None:
        raise RoleStaysError(("change-under-way",))

    async def switchover_plan_of(_: Path) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, FailedError):
            raise answer
        return answer

    monkeypatch.setattr(_switchover, "switchover_of", refuse)
    monkeypatch.setattr(_switchover, "switchover_plan_of", switchover_plan_of)


def rehearsed(*obstacles: str, primary: str | None) -> dict[str, Any]:
    before = None if primary is None else {**RECORD, "primary": primary}
    return {**REFUSED, "plan": {**PLAN, "obstacles": list(obstacles), "before": before}}


CLAIMING = rehearsed("change-under-way", primary="a")


@pytest.mark.usefixtures("autojump_clock")
@pytest.mark.parametrize(
    ("end", "says"),
    [
        (rehearsed("not-primary", primary="b"), "the role is at node b, which took it: ctlha status {}"),
        (rehearsed("peer-lost", primary="a"), "the role is at node a: ctlha switchover {}"),
    ],
)
async def test_a_change_that_was_under_way_is_told_by_where_the_role_is_then(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: dict[str, Any],
    says: str,
) -> None:
    """A node that was frozen is asked when the other one has taken its role, and does not know it yet."""
    changing(monkeypatch, CLAIMING, CLAIMING, end)
    assert await switch_over(config, dry_run=False) == 1
    told = capsys.readouterr().err
    assert told == f"nothing was handed over: change-under-way; that is over, and {says.format(config)}\n"


@pytest.mark.usefixtures("autojump_clock")
@pytest.mark.parametrize("end", [CLAIMING, rehearsed("not-primary", primary=None), FailedError("it ends")])
async def test_a_change_that_does_not_end_leaves_unknown_where_the_role_goes(
    config: Path, monkeypatch: pytest.MonkeyPatch, end: dict[str, Any] | FailedError
) -> None:
    changing(monkeypatch, CLAIMING, end)
    with pytest.raises(UnknownOutcomeError) as caught:
        await switch_over(config, dry_run=False)
    assert str(caught.value) == (
        "nothing was handed over: change-under-way, and nobody knows to which node the role goes; who is primary now "
        f"says ctlha status {config}, and on node b: ctlha status <its node.toml>"
    )


@pytest.mark.parametrize("options", [["--dry-run"], ["--dry-run", "--as-failover"], []])
def test_a_node_that_does_not_run_is_told_how_to_start(config: Path, options: list[str]) -> None:
    refused = switchover(config, *options)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"{config.parent / 'status.sock'}: no node listens there: " in refused.stderr
    assert refused.stderr.endswith(f"if it does not run, start it: ctlha node {config}\n")


STOPPED: dict[str, Any] = {"verdict": "stopped", "reasons": ["arbiter-went-back"], "role": "none"}
LEFT_BEHIND: dict[str, Any] = {"verdict": "at-risk", "reasons": ["outdated", "peer-lost"], "role": "outdated"}
FOLLOWS: dict[str, Any] = {"verdict": "protected", "reasons": [], "role": "secondary"}
IS_FILLED: dict[str, Any] = {"verdict": "degraded", "reasons": ["resyncing"], "role": "outdated"}


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["asked", "dry-run"])
@pytest.mark.parametrize("status", [STOPPED, LEFT_BEHIND, FOLLOWS, IS_FILLED, None])
def test_only_a_node_beside_a_primary_says_where_to_ask(
    config: Path, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any] | None, options: tuple[str, ...]
) -> None:
    """One that serves nothing, beside nobody who does, says why, and what helps against that."""

    async def switchover_of(_: Path) -> None:
        raise RoleStaysError(("not-primary",))

    async def switchover_plan_of(_: Path) -> dict[str, Any]:
        return {**REFUSED, "plan": {**REFUSED["plan"], "obstacles": ["not-primary"]}}

    async def status_of(_: Path) -> dict[str, Any]:
        if status is None:
            raise DisconnectError("no answer within 2 s")
        return status

    monkeypatch.setattr(_switchover, "switchover_of", switchover_of)
    monkeypatch.setattr(_switchover, "switchover_plan_of", switchover_plan_of)
    monkeypatch.setattr(_switchover, "status_of", status_of)
    told = switchover(config, *options).output
    assert "not-primary" in told
    if status in (STOPPED, LEFT_BEHIND):
        names = {"config": str(config), "node": "a", "peer": "b"}
        for reason in status["reasons"]:
            assert f"  {reason}: {remedy_for(reason, **names)}\n" in told
        assert "ask the primary" not in told
    else:
        assert "  not-primary: ask the primary: on node b" in told


@pytest.mark.usefixtures("autojump_clock")
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("takes_s", [1.0, 30.0])
async def test_whoever_waits_is_told_so(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], takes_s: float, refused: bool
) -> None:
    async def switchover_of(_: Path) -> None:
        await trio.sleep(takes_s)
        if refused:
            raise RoleStaysError(("peer-lost",))

    monkeypatch.setattr(_switchover, "switchover_of", switchover_of)
    assert await switch_over(config, dry_run=False) == int(refused)
    said = capsys.readouterr().err
    assert said.startswith("node a is at it: it is waited for, up to 60 s\n") is (takes_s > SOON_S)
    assert ("it is waited for" in said) is (takes_s > SOON_S)
    assert ("peer-lost" in said) is refused
