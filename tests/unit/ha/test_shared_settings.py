"""What both configurations are to say alike: the nodes tell each other, and show what differs. Nothing else follows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio
from trio.testing import MockClock

from ctlha_trio._errors import InvalidError
from ctlha_trio.ha import DifferingSetting, NodeConfig
from ctlha_trio.ha._shared_settings import SharedSettings
from ctlha_trio.link import _handshake
from ctlha_trio.pair import Setting
from ctlha_trio.testing._pairs.memory_pair import MemoryPair, no_components
from ctlha_trio.testing._pairs.open_pair import opened
from ctlha_trio.wire import OWN_TERMS, Feature, Terms

HOLD_DOWN = "policy.hold_down_s"
OWN = {HOLD_DOWN: "60", "policy.preferred": "", "channels.ctl.slots": "64"}
LINE = f"the configurations differ: {HOLD_DOWN} is 60 here, and 30 at node b"


def made() -> SharedSettings:
    return SharedSettings(OWN, "b", lambda _: None)


# What is taken of a peer


def test_a_value_that_differs_is_shown_with_both_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    settings = made()
    for told in (Setting(HOLD_DOWN, "30"), Setting("channels.ctl.slots", "64"), Setting("policy.preferred", "a")):
        settings.take(told)
    assert settings.differing == (
        DifferingSetting(name=HOLD_DOWN, here="60", peer="30"),
        DifferingSetting(name="policy.preferred", here="", peer="a"),
    )
    assert caplog.messages == [
        LINE,
        "the configurations differ: policy.preferred is not set here, and a at node b",
    ]


def test_a_peer_that_tells_for_ever_fills_neither_memory_nor_log(caplog: pytest.LogCaptureFixture) -> None:
    settings = made()
    for number in range(1000):
        settings.take(Setting(HOLD_DOWN, str(number)))
        settings.take(Setting(f"unknown.{number}", "1"))
    assert settings.differing == (DifferingSetting(name=HOLD_DOWN, here="60", peer="0"),)
    assert settings._of_peer == {HOLD_DOWN: "0"}
    assert len(caplog.messages) == 1


def test_what_was_told_ends_with_the_session_and_is_logged_anew_in_the_next(caplog: pytest.LogCaptureFixture) -> None:
    settings = made()
    for _ in range(2):
        settings.session_began(None)
        settings.take(Setting(HOLD_DOWN, "30"))
        assert settings.differing
        settings.session_ended()
        assert settings.differing == ()
    assert caplog.messages == [LINE, LINE]


# Whole nodes


@attrs.define(eq=False)
class ConfiguredPair(MemoryPair):
    """A pair in which each node has a configuration of its own."""

    settings: dict[str, Mapping[str, str]] = attrs.field(factory=dict, kw_only=True)

    def config(self, name: str) -> NodeConfig:
        return attrs.evolve(super().config(name), settings=self.settings[name])


@asynccontextmanager
async def configured(**settings: Mapping[str, str]) -> AsyncIterator[ConfiguredPair]:
    def make(nursery: trio.Nursery) -> ConfiguredPair:
        return ConfiguredPair(1 << 20, Random(0), no_components, nursery, settings=settings)

    async with opened(make) as pair:
        yield pair


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if line.startswith("the configurations differ")]


async def test_both_nodes_show_and_log_it_and_serve_as_well_as_any(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with configured(a=OWN, b=OWN | {HOLD_DOWN: "30"}) as pair:
        for name, here, peer in (("a", "60", "30"), ("b", "30", "60")):
            status = pair.nodes[name].status()
            assert (status.verdict, status.reasons, status.notes) == ("protected", (), ("settings-differ",))
            assert status.differing_settings == (DifferingSetting(name=HOLD_DOWN, here=here, peer=peer),)
        assert sorted(told(caplog)) == [
            f"the configurations differ: {HOLD_DOWN} is 30 here, and 60 at node a",
            LINE,
        ]
        await trio.sleep(600.0)
        assert len(told(caplog)) == 2, "once a session"
        pair.settings["b"] = OWN
        await pair.stop("b")
        assert pair.nodes["a"].status().notes == ()
        await pair.restart("b")
        await pair.wait_protected()
        for node in pair.nodes.values():
            assert (node.status().notes, node.status().differing_settings) == ((), ())
        assert len(told(caplog)) == 2


async def test_configurations_that_agree_are_no_news(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with configured(a=OWN, b=OWN) as pair:
        assert [node.status().notes for node in pair.nodes.values()] == [(), ()]
        assert told(caplog) == []


async def test_of_what_only_one_of_two_versions_knows_nothing_is_said(autojump_clock: MockClock) -> None:
    async with configured(a=OWN, b=OWN | {"policy.of_tomorrow": "1"}) as pair:
        assert [node.status().notes for node in pair.nodes.values()] == [(), ()]


async def test_a_peer_that_does_not_state_that_it_hears_such_is_told_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the session over a message that it does not know."""
    before = Terms(OWN_TERMS.features & ~Feature.SETTINGS, OWN_TERMS.fragment_size)
    taken: list[Setting] = []
    monkeypatch.setattr(_handshake, "OWN_TERMS", before)
    monkeypatch.setattr(SharedSettings, "take", lambda _, setting: taken.append(setting))
    async with configured(a=OWN, b=OWN | {HOLD_DOWN: "30"}) as pair:
        assert [node.status().verdict for node in pair.nodes.values()] == ["protected"] * 2
        assert taken == []
        monkeypatch.setattr(_handshake, "OWN_TERMS", OWN_TERMS)
        await pair.stop("b")
        await pair.restart("b")
        await pair.wait_protected()
        assert len(taken) == 2 * len(OWN), "by both, as soon as both state it"


@pytest.mark.parametrize(
    ("name", "value"), [("", "1"), ("n" * 41, "1"), ("n", "v" * 81), ("n", "ä"), ("n\0", "1"), ("n", "two\nlines")]
)
async def test_what_cannot_be_told_is_no_setting(name: str, value: str, autojump_clock: MockClock) -> None:
    async with configured(a={}, b={}) as pair:
        with pytest.raises(InvalidError, match="cannot be told of the setting"):
            attrs.evolve(pair.config("a"), settings={name: value})
