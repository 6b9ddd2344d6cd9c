"""``ctlha force-primary`` in this process: what it shows, what it has a person say, and when it asks the node."""

import io
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from ctlha_trio._errors import FailedError, UnknownOutcomeError
from ctlha_trio.cli import _force, main
from ctlha_trio.cli._force import describe_plan
from ctlha_trio.cli._init import NewPair, create_pair, loopback_addresses
from ctlha_trio.door import FORCE_S
from ctlha_trio.pair import Copy
from ctlha_trio.seams import ThreadDisk, TrioClock
from ctlha_trio.store import BlockStore, rewrite_metadata

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


STATUS: dict[str, Any] = {
    "verdict": "at-risk",
    "reasons": ["outdated", "peer-lost"],
    "role": "outdated",
    "link": "unknown",
}
REFUSED = "node b cannot be forced while it is fnord"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    create_pair(tmp_path / "p", NewPair(size_bytes=4096, link_addresses=loopback_addresses(7900)))
    return tmp_path / "p" / "b" / "node.toml"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the node, which has that plan and does as it is asked, was asked for."""
    found: Asked = []

    async def force_plan_of(_: Path, abandon: str) -> dict[str, Any]:
        assert abandon == "a"
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
    steps = shown.index(" 1. a person says that node a is powered off")
    assert shown[0].split() == ["node", "b", "node", "a"], "both copies are shown"
    assert [line.partition(":")[0] for line in shown[:steps] if line.startswith(("later", "alone"))] == [
        "later     cannot be told from the copies",
        "alone     node b",
        "alone     node a",
    ]
    assert shown[steps:] == [
        " 1. a person says that node a is powered off",
        " 2. the decision is logged",
        "    durable on node b: a line in decisions.jsonl",
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


class Interrupted(io.BytesIO):
    """Ctrl-C instead of an answer."""

    def read1(self, _: int | None = -1) -> bytes:
        raise KeyboardInterrupt


def test_an_interrupt_instead_of_the_statement_changes_nothing(config: Path, asked: Asked) -> None:
    done = CliRunner().invoke(main, ["force-primary", str(config), "--abandon", "a"], input=Interrupted())
    assert (done.exit_code, asked) == (130, [])
    assert done.stdout.endswith(f"If it is so, write: {STATEMENT}\n: \n")
    assert done.stderr == "nothing was changed: the statement was not given\n"


def test_the_statement_may_come_with_the_command(config: Path, asked: Asked) -> None:
    assert force_primary(config, "--abandon", "a", "--statement", STATEMENT).exit_code == 0
    assert asked == [("a", 7, False, FORCE_S)]


@pytest.mark.parametrize("statement", ["", "yes", "b is powered off"])
def test_a_statement_about_something_else(config: Path, asked: Asked, statement: str) -> None:
    done = force_primary(config, "--abandon", "a", "--statement", statement)
    assert (done.exit_code, done.stdout, asked) == (2, "", [])
    assert done.stderr == "--statement: must be 'a is powered off'\n"


@pytest.mark.parametrize("options", [[], ["--fence"], ["--salvage"], ["--dry-run"]])
@pytest.mark.parametrize("node", ["c", "b"])
def test_only_the_other_node_can_be_abandoned(config: Path, asked: Asked, node: str, options: list[str]) -> None:
    """A wrong argument, of which no node is asked and nothing logged."""
    done = force_primary(config, "--abandon", node, *options)
    assert (done.exit_code, done.stdout, asked) == (2, "", [])
    assert done.stderr == f"--abandon: the other node is a, not {node}\n"
    assert not (config.parent / "decisions.jsonl").exists()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The status, to be changed, of a node that refuses."""
    status = dict(STATUS)

    async def force_plan_of(_: Path, __: str) -> dict[str, Any]:
        raise FailedError(REFUSED)

    async def status_of(_: Path) -> dict[str, Any]:
        return status

    monkeypatch.setattr(_force, "force_plan_of", force_plan_of)
    monkeypatch.setattr(_force, "status_of", status_of)
    return status


async def mark_copy(config: Path, copy: Copy) -> None:
    path = str(config.parent / "volume.img")
    store = await BlockStore.open(ThreadDisk(), path, size_bytes=4096, clock=TrioClock())
    store.close()
    metadata = store.metadata
    await rewrite_metadata(ThreadDisk(), path, attrs.evolve(metadata, copy=copy), expected=metadata)


@pytest.mark.parametrize("copy", Copy)
async def test_a_refusal_names_the_salvage_where_the_copy_is_not_whole(
    config: Path, refused: dict[str, Any], copy: Copy
) -> None:
    """And only there, and while the other node is lost: one that is there can bring the copy up to date."""
    await mark_copy(config, copy)
    salvage = (
        f"{REFUSED}; if node a is lost for ever, stop this node, then: ctlha force-primary {config} --abandon a "
        "--salvage\n"
    )
    look = f"{REFUSED}; see how the node stands, and what helps: ctlha status {config}\n"
    done = await trio.to_thread.run_sync(force_primary, config, "--abandon", "a")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (look if copy in {Copy.MEMBER, Copy.SEALED} else salvage)
    refused["link"] = "online"
    done = await trio.to_thread.run_sync(force_primary, config, "--abandon", "a")
    assert done.stderr == f"{REFUSED}\n"


async def test_a_node_that_has_stopped_for_another_reason_is_sent_to_that(
    config: Path, refused: dict[str, Any]
) -> None:
    """A salvage goes by the arbiter's record, which is what may be wrong."""
    await mark_copy(config, Copy.RESYNCING)
    refused.update(verdict="stopped", reasons=["arbiter-went-back"], role="none")
    done = await trio.to_thread.run_sync(force_primary, config, "--abandon", "a")
    assert done.stderr == f"{REFUSED}; see how the node stands, and what helps: ctlha status {config}\n"


def test_a_refusal_is_told_as_it_was_where_the_file_cannot_be_read(config: Path, refused: dict[str, Any]) -> None:
    (config.parent / "volume.img").unlink()
    assert "--salvage" not in force_primary(config, "--abandon", "a").stderr


@pytest.mark.parametrize(
    ("stands", "says"),
    [
        ({"verdict": "degraded", "role": "primary"}, "node b serves already, as primary: there is nothing to force"),
        ({"verdict": "protected", "role": "secondary"}, "node b serves already, as secondary: there is nothing to"),
        ({"role": "secondary", "reasons": ["peer-lost", "claiming"]}, "node b is about to serve by itself"),
        (
            {"role": "secondary", "reasons": ["arbiter-refuses", "claiming"]},
            "node b serves by itself, unforced, as soon as the arbiter takes the change: the arbiter is read",
        ),
        (
            {"role": "primary", "reasons": ["claiming", "arbiter-silent"]},
            "node b serves by itself, unforced, as soon as the arbiter takes the change: bring the arbiter",
        ),
        ({"verdict": "degraded", "reasons": ["resyncing"]}, "node b is being brought up to date by node a"),
        ({"verdict": "degraded", "reasons": ["resync-blocked"]}, "node b is being brought up to date by node a"),
    ],
)
async def test_a_node_that_needs_no_force_says_so_without_names_of_the_inside(
    config: Path, refused: dict[str, Any], stands: dict[str, Any], says: str
) -> None:
    await mark_copy(config, Copy.RESYNCING)
    refused.update(stands)
    done = await trio.to_thread.run_sync(force_primary, config, "--abandon", "a")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(says)
    assert "fnord" not in done.stderr
    assert "--salvage" not in done.stderr


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
    assert done.stderr.endswith(f"; if it does not run, start it: ctlha node {config}\n")


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
