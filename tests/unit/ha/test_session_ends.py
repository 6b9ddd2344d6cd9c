"""What the logs say of the end of a session: none ends without its reason on either side."""

import logging

import pytest
import trio
from trio.testing import MockClock

from ctlha_trio import DisconnectError, RemoteBuffer, ctl_ha_channel
from ctlha_trio.testing import MemoryPair, open_pair

SIZE_BYTES = 1 << 16
CHANNEL = ctl_ha_channel.CTL_HA_CHAN_CTL
WARNING, INFO = logging.WARNING, logging.INFO


def ends(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """What was logged of them, by its text, and forget it."""
    lines = [(record.levelno, record.getMessage()) for record in caplog.records if record.name.endswith("._inbox")]
    caplog.clear()
    return sorted(lines, key=lambda line: line[1])


async def until_the_next_session(pair: MemoryPair, before: int) -> None:
    with trio.fail_after(5):
        for node in pair.nodes.values():
            while node._link.session_id in {0, before}:  # noqa: ASYNC110 - of two nodes, in virtual time
                await trio.sleep(0.01)


async def test_both_log_why_one_drops_the_session(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with open_pair(size_bytes=SIZE_BYTES) as pair:
        link = pair.nodes["a"]._link
        before = link.session_id
        link.drop("the peer does not take its messages")
        await until_the_next_session(pair, before)
        assert caplog.text.count("suspended: session lost: closed") == 2, "for no goodbye was said"
        assert ends(caplog) == [
            (WARNING, "node a dropped the session: the peer does not take its messages"),
            (INFO, "the session with node b ended: the peer does not take its messages"),
        ]


async def test_both_log_which_fault_ends_the_session(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_pair(size_bytes=SIZE_BYTES) as pair:
        link = pair.nodes["a"]._link
        before, channel = link.session_id, link._channels[0x80]
        link.push_nowait(RemoteBuffer(bytes(16)), b"evil", channel, bytes(channel.slot_size))
        await until_the_next_session(pair, before)
        fault = "unknown-key: a push of 4 bytes at 0"
        assert ends(caplog) == [
            (WARNING, f"node b dropped the session: {fault}"),
            (INFO, f"the session with node a ended: {fault}"),
        ]


async def test_a_message_that_makes_no_sense_is_named_by_both_and_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_pair(size_bytes=SIZE_BYTES) as pair:
        link = pair.nodes["a"]._link
        before, channel = link.session_id, link._channels[0x80]
        channel.send_nowait(b"\xff" * channel.slot_size)
        await until_the_next_session(pair, before)
        told, found = ends(caplog)
        why = found[1].removeprefix("the session ends, for the peer broke the protocol: ")
        assert found == (logging.ERROR, f"the session ends, for the peer broke the protocol: {why}")
        assert told == (WARNING, f"node b dropped the session: {why}")


async def test_a_goodbye_is_logged_by_who_hears_it_and_told_to_its_consumers(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_pair(size_bytes=SIZE_BYTES) as pair:
        channels = [node.open_channel(CHANNEL) for node in pair.nodes.values()]
        await channels[1].wait_connected()
        pair.nodes["a"].stop("maintenance of rack 5")
        with pytest.raises(DisconnectError, match=r"ended: goodbye: maintenance of rack 5$"):
            await channels[1].receive()
        await pair.wait_alone("b")
        assert ends(caplog) == [
            (INFO, "node a said goodbye: maintenance of rack 5"),
            (INFO, "the session with node b ended: goodbye said here: maintenance of rack 5"),
        ]
