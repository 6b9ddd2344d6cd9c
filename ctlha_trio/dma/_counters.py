"""What transfers of one consumer have moved, whichever of the two nodes began them."""

from typing import Final

import attrs

from ctlha_trio._vocabulary import ctl_ha_status
from ctlha_trio.link import Transfer
from ctlha_trio.wire import Denial

_DENIALS: Final = frozenset(Denial)


@attrs.frozen(kw_only=True)
class TransferTotals:
    """Of one consumer, since the node started."""

    pushed_bytes_in: int
    """Placed by the other node into memory that was registered for this consumer."""
    pushed_bytes_out: int
    """Of this node's pushes, what the other one has confirmed; of the pair's own, what was handed to the link."""
    pulled_bytes_in: int
    """What has come of this node's pulls, once they have ended."""
    pulled_bytes_out: int
    """Copied for the other node out of memory that was registered for this consumer."""
    denied_transfers: int
    """This node's, that the other one denied. None of the pair's: that would be a fault, and end the session."""
    failed_transfers: int
    """This node's, that ended without success otherwise: with the session, cancelled, or not in time. None of the
    pair's, which ends none of them: what is lost with the session is begun anew in the next, if it is still wanted."""


@attrs.define(eq=False)
class TransferCounters:
    """The same, still counting."""

    pushed_bytes_in: int = 0
    pushed_bytes_out: int = 0
    pulled_bytes_in: int = 0
    pulled_bytes_out: int = 0
    denied_transfers: int = 0
    failed_transfers: int = 0

    def ended(self, transfer: Transfer, *, pushed: bool) -> None:
        """A push of this node's has ended, or a pull."""
        moved = transfer.size - transfer.left_bytes
        if pushed:
            self.pushed_bytes_out += moved
        else:
            self.pulled_bytes_in += moved
        if transfer.status is not ctl_ha_status.CTL_HA_STATUS_SUCCESS:
            if transfer.reason in _DENIALS:
                self.denied_transfers += 1
            else:
                self.failed_transfers += 1

    def totals(self) -> TransferTotals:
        """As of now."""
        return TransferTotals(**attrs.asdict(self))
