"""Two volumes on the same two machines: a pair of nodes for each, whose roles have nothing to do with each other."""

from pathlib import Path

import pytest

from ctlha_trio.testing._processes.etcd_server import started_etcd
from ctlha_trio.testing._processes.hand_pair import OTHER, made_pair, run_ctlha
from ctlha_trio.testing._processes.outside_clients import outside_clients

pytestmark = pytest.mark.slow


async def test_the_roles_of_two_volumes_move_each_by_itself(etcd_program: str, tmp_path: Path) -> None:
    """One is handed over and fails over; the other one, with its record in the same etcd, stays where it is."""
    with started_etcd(etcd_program, tmp_path / "etcd") as (etcd,):
        async with (
            made_pair(tmp_path / "one", "--arbiter", etcd.endpoint) as one,
            made_pair(tmp_path / "two", "--arbiter", etcd.endpoint) as two,
        ):
            await one.start_protected()
            await two.start_protected()
            first, stays = await one.primary(), await two.primary()
            epoch = await two.epoch(stays)
            async with outside_clients(two) as clients:
                await clients.wait_served()
                handed = await run_ctlha("switchover", one.config(first))
                assert handed.code == 0, handed.err
                await one.wait_for(OTHER[first], role="primary", verdict="protected")
                await one.kill(OTHER[first])
                await one.wait_for(first, role="primary", verdict="degraded")
                await clients.wait_served(stays)
                assert (await two.primary(), await two.epoch(stays)) == (stays, epoch)
                handed = await run_ctlha("switchover", two.config(stays))
                assert handed.code == 0, handed.err
                await two.wait_for(OTHER[stays], role="primary", verdict="protected")
                assert await one.primary() == first
                await clients.wait_served()
            await clients.compare_copies()
