"""What a test that uses a pair in a wrong way is told: what is wrong, and what to do."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from trio.testing import MockClock

from ctlha_trio._errors import InvalidError
from ctlha_trio._vocabulary import ctl_ha_channel
from ctlha_trio.ha import ChannelConfig
from ctlha_trio.testing import MemoryPair, PowerDisk, open_mirrors, open_pair

CTL = ctl_ha_channel.CTL_HA_CHAN_CTL
HELPS = {
    open_pair: r"async with ctlha_pair\(\) as pair, or without pytest open_pair\(\)",
    open_mirrors: r"async with ctlha_mirrors\(\) as mirrors, or without pytest open_mirrors\(\)",
}


@pytest.mark.parametrize("opener", HELPS)
def test_a_pair_that_is_not_open_says_how_it_is_opened(opener: Any) -> None:
    """The fixture taken for the pair, and the call of it without an ``async with``."""
    for taken in (opener, opener()):
        with pytest.raises(AttributeError, match=f"no 'crash' before it is open: {HELPS[opener]}"):
            taken.crash("a")
        with pytest.raises(TypeError, match=f"opened by a plain with: {HELPS[opener]}"), taken:
            pass


@pytest.mark.parametrize("opener", HELPS)
async def test_a_fixture_that_is_not_called_says_so(opener: Any) -> None:
    with pytest.raises(TypeError, match=f"opened without being called: {HELPS[opener]}"):
        async with opener:
            pass


@pytest.mark.parametrize("opener", HELPS)
async def test_a_pair_that_is_awaited_or_opened_twice_says_so(opener: Any, autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError, match=f"awaited: {HELPS[opener]}"):
        await opener()
    opening = opener()
    async with opening:
        pass
    with pytest.raises(RuntimeError, match=f"opened a second time: {HELPS[opener]}"):
        async with opening:
            pass


def test_a_pair_that_is_opened_where_trio_does_not_run_says_so() -> None:
    async def opens() -> None:
        async with open_pair():
            pass

    with pytest.raises(RuntimeError, match="with anyio the backend of the test must be trio"):
        asyncio.run(opens())


async def test_a_question_that_is_no_async_function_is_refused(autojump_clock: MockClock) -> None:
    wrong: Any = lambda node: node.status().role  # noqa: E731 (of any type)
    other: Any = "flush"
    async with open_pair() as pair:
        with pytest.raises(TypeError, match=r"not async, it returns 'primary': ask pair\.nodes\['a'\] for that"):
            await pair.ask("a", wrong)
        with pytest.raises(TypeError, match="the question is 'flush': give the function"):
            await pair.ask("a", other)


async def test_what_opens_a_pair_is_as_a_function_otherwise() -> None:
    assert open_pair.__name__ == "open_pair"
    assert open_pair.__doc__ is not None
    assert not hasattr(open_pair(), "crash")


async def test_a_condition_that_is_async_is_refused_at_once(autojump_clock: MockClock) -> None:
    async def condition() -> bool:
        return False

    wrong: list[Any] = [condition, lambda: condition()]  # noqa: PLW0108 (what a user writes)
    async with open_pair(start=False) as pair:
        for one in wrong:
            with pytest.raises(TypeError, match="the condition is async: it must be a plain function"):
                await pair.wait_until(one)


async def test_a_condition_that_was_asked_already_is_refused_at_once(autojump_clock: MockClock) -> None:
    wrong: Any = False
    async with open_pair(start=False) as pair:
        with pytest.raises(TypeError, match="the condition is False: give the function"):
            await pair.wait_until(wrong)


async def make_none(_: object) -> list[object]:
    return []


@pytest.mark.parametrize("opener", HELPS)
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"components": 3}, "the components are 3: give the function that makes them for a node"),
        ({"components": [3]}, r"the components are \[3\]: give the function"),
        ({"components": lambda _: 3}, "the function that makes components returned 3: a list, empty if there are"),
        ({"components": lambda _: None}, "the function that makes components returned None: a list"),
        ({"components": lambda _: [3]}, "among the components is 3: each must be a ctl_ha_component"),
        ({"components": make_none}, "the function that makes components is async: it must be a plain one"),
        ({"channels": 5}, "channels is 5: give a dict"),
        ({"channels": {CTL: 1}}, "CTL_HA_CHAN_CTL has 1: give a ChannelConfig"),
        ({"seed": "x"}, "the seed is 'x': give a whole number"),
        ({"seed": None}, "the seed is None: give a whole number"),
    ],
)
async def test_options_that_are_none_are_refused(
    opener: Any, options: dict[str, Any], told: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(TypeError, match=told):
        async with opener(**options):
            pass


@pytest.mark.parametrize("number", ["x", ctl_ha_channel.CTL_HA_CHAN_NONE, ctl_ha_channel.CTL_HA_CHAN_MAX])
@pytest.mark.parametrize("start", [True, False])
async def test_the_size_of_no_channel_is_refused(number: Any, start: bool, autojump_clock: MockClock) -> None:
    with pytest.raises(InvalidError, match=r"channels have sizes, but .* is none of them: .*CTL.*, .*ZFS.*"):
        async with open_pair(channels={number: ChannelConfig()}, start=start):
            pass


@pytest.mark.parametrize("follow", ["follow_notices", "follow_records"])
async def test_who_follows_a_node_is_called(follow: str, autojump_clock: MockClock) -> None:
    async with open_pair() as pair:
        with pytest.raises(TypeError, match="who follows is None: give a function"):
            getattr(pair.nodes["a"], follow)(None)


async def test_disk_calls_by_no_node_are_refused() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="disk_call_s is 5: give a dict"):
        async with open_pair(disk_call_s=wrong):
            pass


@pytest.mark.parametrize("opener", HELPS)
def test_an_option_without_its_name_is_refused_at_once(opener: Any) -> None:
    with pytest.raises(TypeError, match="5 is given without a name: name each option, such as seed=1"):
        opener(5)


LOOKS: list[Callable[[MemoryPair], object]] = [
    lambda pair: pair.disks["c"],
    lambda pair: pair.nodes["c"],
    lambda pair: pair.arbiters["c"],
    lambda pair: pair.failures["c"],
    lambda pair: pair.disk_call_s["c"],
]


@pytest.mark.parametrize("look", LOOKS)
async def test_a_node_that_there_is_not_is_answered_with_those_that_are(
    look: Callable[[MemoryPair], object], autojump_clock: MockClock
) -> None:
    async with open_pair(start=False) as pair:
        with pytest.raises(InvalidError, match="no node 'c': the pair has a and b"):
            look(pair)


async def test_a_node_that_has_not_failed_has_no_failure(autojump_clock: MockClock) -> None:
    async with open_pair(start=False) as pair:
        with pytest.raises(KeyError, match="nothing of node a"):
            pair.failures["a"]
        assert pair.failures.get("a") is None


def test_a_file_that_a_disk_does_not_have_is_answered_with_those_that_it_has() -> None:
    disk = PowerDisk({"volume": bytes(512)})
    for content in (disk.content, disk.durable_content):
        with pytest.raises(InvalidError, match="no file 'volum': the disk has 'volume'"):
            content("volum")
