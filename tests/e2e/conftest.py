"""Pairs whose nodes run: on loopback, and in networks of their own."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ctlha_trio.testing._processes.hand_pair import HandPair, made_pair
from ctlha_trio.testing._processes.networked_pair import Site, networked_pair, opened_site
from ctlha_trio.testing._processes.node_networks import missing_for_networks


@pytest.fixture
async def hand_pair(tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair with a SQLite arbiter; nothing runs."""
    async with made_pair(tmp_path / "pair") as pair:
        yield pair


@pytest.fixture
async def protected_pair(hand_pair: HandPair) -> HandPair:
    """A pair whose nodes run and are in sync."""
    await hand_pair.start_protected()
    return hand_pair


@pytest.fixture(scope="session")
def site(etcd_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Networks that one test after the other may cut, with an etcd that it may stop if it starts it again."""
    missing = missing_for_networks()
    if missing and os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    with opened_site(etcd_program, tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture
async def networked(site: Site, tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair whose nodes run, each in its network, and are in sync."""
    async with networked_pair(site, tmp_path / "pair") as pair:
        yield pair
