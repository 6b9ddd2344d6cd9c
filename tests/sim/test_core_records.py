"""Records of two simulated cores: the role goes nowhere where they are not the same."""

import attrs
import pytest

from ctlha_trio.pair import Phase, _handover as handover, events as ev
from ctlha_trio.testing._core.volume import PLACES
from ctlha_trio.testing._core.world import CoreWorld


def hand_over_to_other_records() -> Phase:
    """In a calm world, to a secondary whose records are not those of the primary; where the primary then is."""
    world = CoreWorld(0, ())
    world.heal()
    primary = next(node for node in world.pair.nodes.values() if node.state and node.state.phase is Phase.MIRRORING)
    world.pair.nodes[primary.peer].records = dict.fromkeys(PLACES, 1)
    world.request(primary, ev.HandoverAsked())
    world.go_on_until(
        lambda: primary.state is not None and primary.state.phase is not Phase.HANDING_OVER, 60.0, "the handover hangs"
    )
    assert primary.state is not None
    return primary.state.phase


def test_the_role_does_not_go_where_the_records_differ() -> None:
    assert hand_over_to_other_records() is Phase.MIRRORING


def test_a_handover_without_a_comparison_of_the_records_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = handover.records_compared
    monkeypatch.setattr(handover, "records_compared", lambda step, event: plain(step, attrs.evolve(event, equal=True)))
    with pytest.raises(AssertionError, match="I2"):
        hand_over_to_other_records()
