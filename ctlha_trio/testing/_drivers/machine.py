"""What one node runs on, whichever process of it."""

import attrs

from ctlha_trio.testing._drivers.arbiter import ArbiterTrouble
from ctlha_trio.testing._drivers.chance import Latency
from ctlha_trio.testing._drivers.clock import NodeClock
from ctlha_trio.testing._drivers.disk import DiskTrouble
from ctlha_trio.testing._drivers.gate import Gate


@attrs.define(eq=False)
class Machine:
    """All of it but its power, which is its disk's."""

    gate: Gate
    clock: NodeClock
    disk: DiskTrouble
    arbiter: ArbiterTrouble
    struck: bool = False
    """Its disk has failed under the process that runs now."""
    sealed_damage: bool = False
    """Its copy, which does not count, has held since then what no write has left there."""
    entries_to_mend: bool = False
    """Its next process finds no page of entries that belongs elsewhere."""
    disk_latency: Latency = attrs.field(kw_only=True)
    arbiter_latency: Latency = attrs.field(kw_only=True)
