"""A real etcd with users and passwords, as its operator treats it while the nodes of a pair run."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.etcd_server import EtcdMember, run_etcdctl, started_etcd
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, made_pair

pytestmark = pytest.mark.slow

FOUND_AGAIN_S = 12.0
"""For both nodes to say what they find at an etcd that is ready: within 5 s a call that it holds up for its token ends,
and the next one; more than twice that on a busy machine."""
ROOT = ("--user", "root:of-root")

Control = Callable[..., None]
"""Gives the etcd a command of ``etcdctl``."""


@pytest.fixture
def member(etcd_program: str, tmp_path: Path) -> Iterator[EtcdMember]:
    with started_etcd(etcd_program, tmp_path / "etcd") as (member,):
        yield member


@pytest.fixture
def control(etcdctl_program: str, member: EtcdMember) -> Control:
    """With authentication on, and a user for the nodes."""
    asked = partial(run_etcdctl, etcdctl_program, "--endpoints", member.endpoint)
    asked("user", "add", "root:of-root")
    asked("user", "grant-role", "root", "root")
    asked("role", "add", "pairs")
    asked("role", "grant-permission", "pairs", "readwrite", "--prefix", "/ctlha/")
    asked("user", "add", "node:of-node")
    asked("user", "grant-role", "node", "pairs")
    asked("auth", "enable")
    return partial(asked, *ROOT)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    write_credentials(path, "node:of-node")
    return path


def write_credentials(path: Path, line: str) -> None:
    path.touch(mode=0o600)
    path.write_text(f"{line}\n")


async def test_nodes_that_run_find_a_restored_etcd(
    member: EtcdMember, control: Control, credentials: Path, etcdctl_program: str, tmp_path: Path
) -> None:
    """Its log begins anew, and it waits with tokens of a longer one: with all that was there, then with older data."""

    async def restore(snapshot: Path) -> None:
        member.kill()
        for node in NODES:
            await pair.wait_for(node, verdict="degraded", reasons=["arbiter-silent"])
        shutil.rmtree(tmp_path / "etcd")
        member.restore(etcdctl_program, snapshot)
        member.start()
        await trio.to_thread.run_sync(member.wait_ready)

    arbiter = ("--arbiter", member.endpoint, "--arbiter-credentials", str(credentials))
    async with made_pair(tmp_path / "pair", *arbiter) as pair:
        await pair.start_protected()
        control("snapshot", "save", str(tmp_path / "old.db"))
        victim = await pair.primary()
        await pair.kill(victim)
        await pair.wait_for(OTHER[victim], verdict="degraded", reasons=["peer-lost"])
        await pair.start(victim)
        await pair.wait_protected()
        control("snapshot", "save", str(tmp_path / "new.db"))
        await restore(tmp_path / "new.db")
        for node in NODES:
            await pair.wait_for(node, within_s=FOUND_AGAIN_S, verdict="protected")
        await restore(tmp_path / "old.db")
        for node in NODES:
            await pair.wait_for(node, within_s=FOUND_AGAIN_S, verdict="stopped", reasons=["arbiter-went-back"])


def change_password(control: Control, credentials: Path) -> None:
    write_credentials(credentials, "node:changed")
    control("user", "passwd", "node", "--interactive=false", entered="changed\n")


def change_user(control: Control, credentials: Path) -> None:
    control("user", "add", "other:of-other")
    control("user", "grant-role", "other", "pairs")
    write_credentials(credentials, "other:of-other")
    control("user", "delete", "node")


@pytest.mark.parametrize("change", [change_password, change_user])
async def test_nodes_that_run_go_over_to_other_credentials(
    member: EtcdMember,
    control: Control,
    credentials: Path,
    tmp_path: Path,
    change: Callable[[Control, Path], None],
) -> None:
    """In the file first: the nodes read it when etcd declines what they have, and have no trouble with it."""
    arbiter = ("--arbiter", member.endpoint, "--arbiter-credentials", str(credentials))
    async with made_pair(tmp_path / "pair", *arbiter) as pair:
        await pair.start_protected()
        change(control, credentials)
        victim = await pair.primary()
        await pair.kill(victim)
        await pair.wait_for(OTHER[victim], verdict="degraded", reasons=["peer-lost"])
        await pair.start(victim)
        await pair.wait_protected()
        for node in NODES:
            assert "the arbiter: " not in pair.log(node)
