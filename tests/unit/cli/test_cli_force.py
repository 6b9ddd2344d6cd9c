"""``ctlha force-primary`` in this process: what it shows, what it has a person say, and when it asks the node."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ctlha_trio._errors import FailedError, UnknownOutcomeError
from ctlha_trio.cli import _force, main
from ctlha_trio.cli._force import describe_plan
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.door import FORCE_S

BEFORE: dict[str, Any] = {"epoch": 5, "primary": "a", "members": ["a"], "lineage": "l"}
AFTER: dict[str, Any] = {"epoch": 6, "primary": "b", "members": ["b"], "lineage": "m", "resource": "volume"}
PLAN: dict[str, Any] = {
    "before": BEFORE,
    "after": AFTER,
    "revision": 7,
    "copy_epoch": 4,
    "fence_command": "/usr/bin/power-off -n",
}
STATEMENT = "a is powered off"
Asked = list[tuple[str, int, bool, float]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
    return tmp_path / "p" / "b" / "node.toml"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the node, which has that plan and does as it is asked, was asked for."""
    found: Asked = []

    async def force_plan_of(_: Path, abandon: str) -> dict[str, Any]:
        if abandon != "a":
            raise FailedError("the other node is a")
        return PLAN

    async def force_primary_of(_: Path, abandon: str, *, revision: int, fence: bool, timeout_s: float) -> None:
        found.append((abandon, revision, fence, timeout_s))

    monkeypatch.setattr(_force, "force_plan_of", force_plan_of)
    monkeypatch.setattr(_force, "force_primary_of", force_primary_of)
    return found


def force_primary(config: Path, *options: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, ["force-primary", str(config), *options], input=typed)


def test_the_plan_says_what_changes_and_what_is_lost() -> None:
    assert describe_plan(PLAN).splitlines() == [
        "epoch    5 -> 6",
        "primary  a -> b",
        "members  a -> b",
        "lineage  l -> a new one",
        "node b: its copy becomes the volume, as it was in epoch 4",
        "node a: its copy is abandoned, and overwritten when it returns",
        "lost: everything that was acknowledged without node b",
    ]


def test_where_both_copies_count_nothing_is_lost() -> None:
    described = describe_plan({**PLAN, "before": {**BEFORE, "members": ["a", "b"]}}).splitlines()
    assert "members  a b -> b" in described
    assert not [line for line in described if line.startswith("lost")]


def test_a_dry_run_shows_the_plan_and_asks_nobody(config: Path, asked: Asked) -> None:
    done = force_primary(config, "--abandon", "a", "--dry-run")
    assert (done.exit_code, asked) == (0, [])
    shown = done.stdout.removeprefix(f"{describe_plan(PLAN)}\n").splitlines()
    assert shown == [
        " 1. the decision is logged",
        "    durable on node b: a line in decisions.jsonl",
        " 2. a person says that node a is powered off",
        " 3. the record is swapped",
        "    durable at the arbiter: epoch 6, primary b, members b",
        " 4. node b records that, and serves",
        "    durable on node b: epoch 6, a new lineage",
        " 5. how it ended is logged",
        "    durable on node b: a line in decisions.jsonl",
        "nothing was changed: --dry-run",
    ]


def test_the_statement_is_typed_below_the_plan(config: Path, asked: Asked) -> None:
    done = force_primary(config, "--abandon", "a", typed=f"{STATEMENT}\n")
    assert (done.exit_code, asked) == (0, [("a", 7, False, FORCE_S)])
    assert done.stdout.startswith(describe_plan(PLAN))
    assert f"If it is so, write: {STATEMENT}\n" in done.stdout
    assert done.stdout.splitlines()[-1] == f"done; the decision is in {config.parent / 'decisions.jsonl'}"


@pytest.mark.parametrize("typed", ["y\n", "a\n", "b is powered off\n", "A is powered off\n", f"\n{STATEMENT}\n"])
def test_anything_else_changes_nothing(config: Path, asked: Asked, typed: str) -> None:
    done = force_primary(config, "--abandon", "a", typed=typed)
    assert (done.exit_code, asked) == (1, [])
    assert done.stderr == "nothing was changed: that is not the statement\n"


def test_the_end_of_the_input_changes_nothing(config: Path, asked: Asked) -> None:
    done = force_primary(config, "--abandon", "a", typed="")
    assert (done.exit_code, asked) == (1, [])
    assert done.stderr == "nothing was changed: the statement was not given\n"


def test_the_statement_may_come_with_the_command(config: Path, asked: Asked) -> None:
    assert force_primary(config, "--abandon", "a", "--statement", STATEMENT).exit_code == 0
    assert asked == [("a", 7, False, FORCE_S)]


@pytest.mark.parametrize("statement", ["", "yes", "b is powered off"])
def test_a_statement_about_something_else(config: Path, asked: Asked, statement: str) -> None:
    done = force_primary(config, "--abandon", "a", "--statement", statement)
    assert (done.exit_code, done.stdout, asked) == (2, "", [])
    assert done.stderr == "--statement: must be 'a is powered off'\n"


def test_what_the_node_refuses_is_not_asked_of_a_person(config: Path, asked: Asked) -> None:
    done = force_primary(config, "--abandon", "c")
    assert (done.exit_code, done.stdout, done.stderr, asked) == (1, "", "the other node is a\n", [])


def test_a_node_that_does_not_answer_leaves_it_open(
    config: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_up(_: Path, __: str, *, revision: int, fence: bool, timeout_s: float) -> None:
        raise UnknownOutcomeError("no answer within 60 s")

    monkeypatch.setattr(_force, "force_primary_of", hang_up)
    done = force_primary(config, "--abandon", "a", "--statement", STATEMENT)
    assert done.exit_code == 3
    assert done.stderr == (
        "nobody knows whether node b was made primary: no answer within 60 s; who is primary now says "
        f"ctlha status {config}; how it ended will be in {config.parent / 'decisions.jsonl'}\n"
    )


def test_a_node_that_does_not_run(config: Path) -> None:
    done = force_primary(config, "--abandon", "a", "--dry-run")
    assert done.exit_code == 1
    assert "no node listens there" in done.stderr


# By a fence.


def test_a_fence_takes_the_place_of_the_statement(config: Path, asked: Asked) -> None:
    with config.open("a") as file:
        file.write('[fence]\ncommand = ["/usr/bin/power-off", "-n"]\ntimeout_s = 45\n')
    done = force_primary(config, "--abandon", "a", "--fence")
    assert (done.exit_code, asked) == (0, [("a", 7, True, FORCE_S + 45)])
    assert "If it is so" not in done.stdout


def test_a_dry_run_shows_how_would_be_fenced_and_fences_nobody(config: Path, asked: Asked) -> None:
    done = force_primary(config, "--abandon", "a", "--fence", "--dry-run")
    assert (done.exit_code, asked) == (0, [])
    assert " 2. node a is fenced: /usr/bin/power-off -n a volume 6" in done.stdout.splitlines()
    assert "powered off" not in done.stdout


def test_a_node_that_knows_no_way_to_fence(config: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAN, "fence_command", "")
    done = force_primary(config, "--abandon", "a", "--fence")
    assert (done.exit_code, done.stdout, asked) == (1, "", [])
    assert done.stderr.startswith("node b knows no way to fence: it was started without [fence]")


def test_a_fence_and_a_statement_contradict_each_other(config: Path, asked: Asked) -> None:
    done = force_primary(config, "--abandon", "a", "--fence", "--statement", STATEMENT)
    assert (done.exit_code, asked) == (2, [])
    assert "--fence takes the place of --statement" in done.stderr
