"""The parts of a pair's life in which a power cut must lose nothing, each as a preparation and the part itself."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

import attrs

from ctlha_trio._errors import DisconnectError, FailedError
from ctlha_trio.pair import Copy, OperationKind
from ctlha_trio.store import image
from ctlha_trio.testing._pairs.pair_view import VOLUME
from ctlha_trio.testing._power.disk import PowerDisk
from ctlha_trio.testing._power_cuts.trial import SIZE_BYTES, Act, PowerTrial

_EARLY_S: Final = 0.0022
"""After the first write was begun: some are durable on one node, some on both, some on none."""

_DURING_RETURN_S: Final = (0.012, 0.03)
"""After the returning node got its power: while a range is copied, which holds them up; while it is admitted."""

_SLOW_LINK_S: Final = 0.03
"""Longer than a write takes on either disk."""

_DURING_RESYNC_S: Final = (0.012, 0.02, 0.04)
"""Likewise, while everything is copied to a disk that holds nothing."""

_DECAYED: Final = 20 * 1024
"""Where a block begins that nobody has written, and that is not in one unit of marks with what clients write."""
_CLIENTS_DECAYED: Final = 20
"""What clients take for a block there: a part of it."""


@attrs.frozen
class PowerScenario:
    """``prepare`` runs undisturbed; in ``act`` the power fails. Node a is primary when ``act`` begins."""

    name: str
    prepare: Act
    act: Act


async def _nothing(trial: PowerTrial) -> None:
    trial.arm()


def _start_clients(trial: PowerTrial) -> None:
    """Two blocks rewritten by one client each, one by two at once."""
    trial.write(0, 2)
    trial.write(1, 2)
    trial.write(2)
    trial.write(2)


async def _write(trial: PowerTrial) -> None:
    _start_clients(trial)
    await trial.clients_done()


async def _write_once(trial: PowerTrial) -> None:
    for block in (0, 1, 2, 40):
        trial.write(block, gives_up=True)
    await trial.clients_done()


async def _put(trial: PowerTrial) -> None:
    """First while no extent is open: a start after that recovers nothing, and flushes nothing."""
    trial.put()
    await trial.clients_done()
    trial.put()
    trial.write(0)
    await trial.clients_done()


async def _go_alone(trial: PowerTrial) -> None:
    _start_clients(trial)
    await trial.pause(_EARLY_S)
    trial.pair.crash("b")
    await trial.clients_done()


async def _take_over(trial: PowerTrial) -> None:
    _start_clients(trial)
    await trial.pause(_EARLY_S)
    trial.pair.crash("a")
    await trial.clients_done()


async def _slow_link(trial: PowerTrial) -> None:
    """What a writes is durable there before b hears of it."""
    trial.pair.slow("a", network_s=_SLOW_LINK_S)
    trial.arm()


async def _stop_secondary(trial: PowerTrial) -> None:
    """Leave a alone, with blocks that differ from a copy that ended cleanly and has no marks of its own."""
    await trial.pair.stop("b")
    await trial.pair.wait_alone("a")
    trial.write(1)
    trial.write(40)
    await trial.clients_done()
    trial.arm()


async def _return_stopped(trial: PowerTrial) -> None:
    trial.write(0, 2)
    await trial.power_on("b")
    await trial.pair.wait_protected()
    await trial.clients_done()


async def _lose_secondary(trial: PowerTrial) -> None:
    """Leave a alone, with blocks that differ from the other copy."""
    trial.write(1)
    trial.write(3)
    trial.put()
    await trial.pause(_EARLY_S)
    trial.pair.crash("b")
    await trial.clients_done()
    trial.write(4)
    trial.put()
    await trial.clients_done()
    trial.arm()


async def _return(trial: PowerTrial) -> None:
    trial.write(0, 2)
    for after_s in _DURING_RETURN_S:
        trial.write(4, after_s=after_s)
        trial.write(5, after_s=after_s)
    await trial.power_on("b", trial.pair.disks["b"].outcomes()[-1])
    await trial.pair.wait_protected()
    trial.write(4)
    await trial.clients_done()


async def _resync(trial: PowerTrial) -> None:
    trial.write(0, 2)
    for after_s in _DURING_RESYNC_S:
        trial.write(4, after_s=after_s)
        trial.write(40, after_s=after_s)
    await trial.power_on("b")
    await trial.pair.wait_protected()
    trial.write(4)
    await trial.clients_done()


async def _replace_secondary(trial: PowerTrial) -> None:
    """Leave a alone, and b with a disk that holds nothing: everything is copied to it."""
    await _lose_secondary(trial)
    metadata = attrs.evolve(trial.pair.durable_metadata("b"), copy=Copy.FAILED)
    await trial.replace_disk("b", PowerDisk({VOLUME: image(metadata, SIZE_BYTES)}))


async def _hand_over(trial: PowerTrial) -> None:
    _start_clients(trial)
    await trial.pause(_EARLY_S)
    try:
        await trial.pair.ask("a", lambda node: node.switchover())
    except (DisconnectError, FailedError):
        # A handover that a power cut ends is given up, or completed by whoever is left.
        await trial.pair.wait_protected()
    await trial.clients_done()


def _decay(trial: PowerTrial, name: str) -> None:
    """In two sectors, so that a repair can be torn. What the store was asked before is of no account."""
    for at in (_DECAYED, _DECAYED + 2048):
        trial.pair.decay(name, at)
    trial.keep_journal()
    trial.arm()


async def _meet(trial: PowerTrial, name: str) -> None:
    """A client reads of the block that has decayed; what it hears is of no account."""
    with suppress(DisconnectError):
        await trial.pair.ask(
            name, lambda node: node.submit(OperationKind.READ, client=0, number=0, offset=_DECAYED, size=1024)
        )


async def _decay_here(trial: PowerTrial) -> None:
    _decay(trial, "a")


async def _decay_there(trial: PowerTrial) -> None:
    _decay(trial, "b")


async def _repair_here(trial: PowerTrial) -> None:
    await _repair(trial, "a")


async def _repair_there(trial: PowerTrial) -> None:
    await _repair(trial, "b")


async def _repair(trial: PowerTrial, name: str) -> None:
    """A client of that node meets what it has lost, others write beside it, and at last a part of it."""
    trial.write(0)
    await trial.clients_done()
    trial.write(1)
    await _meet(trial, name)
    trial.write(2)
    trial.write(_CLIENTS_DECAYED)
    await trial.clients_done()


async def _lose(trial: PowerTrial) -> None:
    """Nobody has the block any more: it stays damaged."""
    trial.write(0)
    await trial.pause(_EARLY_S)
    trial.pair.crash("b")
    await trial.clients_done()
    await _meet(trial, "a")
    trial.write(1)
    await trial.clients_done()


POWER_SCENARIOS: Mapping[str, PowerScenario] = MappingProxyType(
    {
        scenario.name: scenario
        for scenario in (
            PowerScenario("write", _nothing, _write),
            PowerScenario("write, slow link", _slow_link, _write_once),
            PowerScenario("put", _nothing, _put),
            PowerScenario("go-alone", _nothing, _go_alone),
            PowerScenario("take-over", _nothing, _take_over),
            PowerScenario("return", _lose_secondary, _return),
            PowerScenario("return, stopped", _stop_secondary, _return_stopped),
            PowerScenario("resync", _replace_secondary, _resync),
            PowerScenario("handover", _nothing, _hand_over),
            PowerScenario("repair", _decay_here, _repair_here),
            PowerScenario("repair, there", _decay_there, _repair_there),
            PowerScenario("lost", _decay_here, _lose),
        )
    }
)
