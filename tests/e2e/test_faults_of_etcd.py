"""An etcd of one member and of three, real ones, killed and stopped while clients outside ask both nodes all the time.

The arbiter is not asked for a write: a pair whose nodes have each other is served on whatever becomes of it. What
needs it meanwhile, such as a failover, has to wait for the next leader, and its first swap may have been taken by
nobody, by the old leader or by the next one.
"""

import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._processes.etcd_server import EtcdMember, leader_of, started_etcd
from ctlha_trio.testing._processes.hand_pair import OTHER, HandPair, made_pair
from ctlha_trio.testing._processes.outside_clients import OutsideClients, outside_clients

pytestmark = pytest.mark.slow

UNDISTURBED_S = 2.0
UNSERVED_S = 0.5
"""For the next acknowledged write of a pair that has lost nothing but its arbiter, on a busy machine."""
ELECTED_S = 15.0
"""For a failover that meets an election: up to 2.5 s for the next leader, up to 3 s for a swap to be given up as
unknown and as long for a read that meets the same, then the swap that counts; twice that on a busy machine."""
IN_DOUBT = "whether the arbiter took the swap to epoch"
HALTS = [signal.SIGKILL, signal.SIGSTOP]


@pytest.fixture(scope="module")
def three_members(etcd_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[EtcdMember]]:
    """A cluster for one test after the other; each leaves all members running."""
    with started_etcd(etcd_program, tmp_path_factory.mktemp("three"), members=3) as members:
        yield members


@pytest.fixture
async def pair(three_members: Sequence[EtcdMember], tmp_path: Path) -> AsyncIterator[HandPair]:
    """A pair whose nodes run and are in sync, with its record in the cluster. The leader is asked first."""
    leader = await trio.to_thread.run_sync(leader_of, three_members)
    endpoints = [leader.endpoint, *(member.endpoint for member in three_members if member is not leader)]
    async with made_pair(tmp_path / "pair", "--arbiter", ",".join(endpoints)) as made:
        await made.start_protected()
        yield made


async def bring_back(member: EtcdMember, halt: signal.Signals) -> None:
    if halt is signal.SIGSTOP:
        member.send_signal(signal.SIGCONT)
    else:
        member.start()
        await trio.to_thread.run_sync(member.wait_ready)


def end(member: EtcdMember, halt: signal.Signals) -> None:
    if halt is signal.SIGSTOP:
        member.send_signal(halt)
    else:
        member.kill()


async def fail_over(pair: HandPair, clients: OutsideClients) -> None:
    """The primary dies, the other one serves, the dead one comes back."""
    victim = await pair.primary()
    await pair.kill(victim)
    await clients.wait_served(OTHER[victim], within_s=ELECTED_S)
    await pair.start(victim)
    await pair.wait_protected()


@pytest.mark.parametrize("halt", HALTS)
async def test_the_leader_fails_and_nobody_needs_it(
    pair: HandPair, three_members: Sequence[EtcdMember], halt: signal.Signals
) -> None:
    """Clients notice nothing, and the pair is protected again as soon as there is a leader, whoever comes back."""
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        leader = await trio.to_thread.run_sync(leader_of, three_members)
        primary = await pair.primary()
        end(leader, halt)
        for _ in range(3):
            await clients.wait_served(primary, within_s=UNDISTURBED_S)
        await pair.wait_protected()
        await fail_over(pair, clients)
        await bring_back(leader, halt)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


@pytest.mark.parametrize("halt", HALTS)
async def test_the_leader_and_the_primary_fail_at_the_same_moment(
    pair: HandPair, three_members: Sequence[EtcdMember], halt: signal.Signals
) -> None:
    """The failover meets the election. A leader that was stopped finds the swap in what it had not read yet."""
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        leader = await trio.to_thread.run_sync(leader_of, three_members)
        victim = await pair.primary()
        end(leader, halt)
        await pair.kill(victim)
        await clients.wait_served(OTHER[victim], within_s=ELECTED_S)
        await bring_back(leader, halt)
        await clients.wait_served(OTHER[victim], within_s=UNDISTURBED_S)
        await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def test_without_a_majority_a_swap_is_in_doubt_until_there_is_one(
    pair: HandPair, three_members: Sequence[EtcdMember]
) -> None:
    """What is continued finds the swap in what it had not read yet; the node repeats it; it is taken once."""
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        leader = await trio.to_thread.run_sync(leader_of, three_members)
        stopped = [leader, next(member for member in three_members if member is not leader)]
        victim = await pair.primary()
        survivor = OTHER[victim]
        for member in stopped:
            member.send_signal(signal.SIGSTOP)
        await pair.kill(victim)
        await pair.wait_logged(survivor, IN_DOUBT)
        with pytest.raises(trio.TooSlowError):
            await clients.wait_served(survivor, within_s=UNSERVED_S)
        for member in stopped:
            member.send_signal(signal.SIGCONT)
        await clients.wait_served(survivor, within_s=ELECTED_S)
        await pair.start(victim)
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


async def test_the_secondary_fails_while_the_leader_is_stopped(
    pair: HandPair, three_members: Sequence[EtcdMember]
) -> None:
    """The primary acknowledges nothing until the record says that it is alone."""
    async with outside_clients(pair) as clients:
        await clients.wait_served()
        leader = await trio.to_thread.run_sync(leader_of, three_members)
        primary = await pair.primary()
        leader.send_signal(signal.SIGSTOP)
        await pair.kill(OTHER[primary])
        await clients.wait_served(primary, within_s=ELECTED_S)
        leader.send_signal(signal.SIGCONT)
        await pair.start(OTHER[primary])
        await pair.wait_protected()
        await clients.wait_served()
    await clients.compare_copies()


@pytest.mark.parametrize("halt", HALTS)
async def test_the_only_member_fails_and_comes_back(etcd_program: str, tmp_path: Path, halt: signal.Signals) -> None:
    """Served on without it; a failover that needs it waits for it. A stopped one may have got the swap, a dead not."""
    with started_etcd(etcd_program, tmp_path / "etcd") as (member,):
        async with made_pair(tmp_path / "pair", "--arbiter", member.endpoint) as pair:
            await pair.start_protected()
            async with outside_clients(pair) as clients:
                await clients.wait_served()
                victim = await pair.primary()
                survivor = OTHER[victim]
                end(member, halt)
                await clients.wait_served(victim, within_s=UNDISTURBED_S)
                await pair.kill(victim)
                if halt is signal.SIGSTOP:
                    await pair.wait_logged(survivor, IN_DOUBT)
                await pair.wait_for(survivor, verdict="at-risk", reasons=["arbiter-silent", "peer-lost", "claiming"])
                with pytest.raises(trio.TooSlowError):
                    await clients.wait_served(survivor, within_s=UNSERVED_S)
                await bring_back(member, halt)
                await clients.wait_served(survivor, within_s=ELECTED_S)
                await pair.start(victim)
                await pair.wait_protected()
                await clients.wait_served()
            await clients.compare_copies()
