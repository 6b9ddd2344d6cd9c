"""What a link has carried since it was made."""

import attrs

from ctlha_trio.wire import SessionCore


@attrs.frozen(kw_only=True)
class LinkStatistics:
    """Totals over all sessions."""

    sessions: int
    frames_in: int
    frames_out: int
    messages_in: int
    messages_out: int
    bytes_in: int
    """Received from the stream, headers included."""
    bytes_out: int
    """Given to the stream, headers included."""
    pushed_bytes_in: int
    """Data placed into memory here."""
    pushed_bytes_out: int
    pulled_bytes_in: int
    """Data that this side had asked for."""
    pulled_bytes_out: int
    denied_bytes_in: int
    """Data of pushes that this side denied, and of pulls that it had taken back: dropped."""
    denied_transfers_in: int
    """The peer's, with a key that was wrong or dead, without the right, out of range, or too many at once."""
    round_trip_s: float | None
    """Of the latest heartbeat that came back in the current session."""
    late_s: float | None
    """The most by which this side was late lately in the current session, with a heartbeat or a look for the peer's."""
    peer_late_last_s: float | None
    """By which the peer's latest heartbeat was late, as it said itself. None too if it does not say so."""
    peer_late_s: float | None
    """The most of it lately."""


@attrs.frozen(kw_only=True)
class Heartbeats:
    """The part of it that the heartbeats of the current session have told; None without one, or before the first."""

    round_trip_s: float | None = None
    late_s: float | None = None
    peer_late_last_s: float | None = None
    peer_late_s: float | None = None

    @classmethod
    def told(cls, core: SessionCore, now: float) -> "Heartbeats":
        """In that session, by ``now``."""
        return cls(
            round_trip_s=core.round_trip_s,
            late_s=core.own_lateness.most_s(now),
            peer_late_last_s=core.peer_lateness.last_s,
            peer_late_s=core.peer_lateness.most_s(now),
        )


@attrs.define(eq=False)
class LinkCounters:
    """The same, still counting."""

    sessions: int = 0
    frames_in: int = 0
    frames_out: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pushed_bytes_in: int = 0
    pushed_bytes_out: int = 0
    pulled_bytes_in: int = 0
    pulled_bytes_out: int = 0
    denied_bytes_in: int = 0
    denied_transfers_in: int = 0

    def snapshot(self, heartbeats: Heartbeats) -> LinkStatistics:
        """The totals as of now."""
        return LinkStatistics(**attrs.asdict(self), **attrs.asdict(heartbeats))
