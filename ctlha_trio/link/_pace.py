"""How much bulk data is handed to the stream at once."""

import math

import attrs

from ctlha_trio.wire import FRAGMENT_SIZE_MAX

FRAGMENTS_MAX = 2
"""Each turn of the writer costs both sides much the same, whatever it sends. Measured with plain TCP on loopback, 1 MiB
took 0.43 ms of the sender's processor with one fragment in each turn, and 0.38 ms with two, as with four: with those
a fragment has left the processor's nearest cache between its checksum and its way out."""
TURN_S = 0.001
"""That a turn should take at most: a message that is accepted meanwhile waits for its end."""
TALK_BYTES = FRAGMENT_SIZE_MAX // 4
"""Of a fragment while messages pass, which wait behind some four of them on their way there and back. Over TLS the
slowest hundredth of them beside pushes is back after 0.8 ms so, and after 1.1 ms with twice of it."""
TALK_S = 0.01
"""After a message another is to be expected: several round trips beside bulk data."""


@attrs.define(eq=False)
class Pace:
    """One small fragment at a time while messages pass; ``FRAGMENTS_MAX`` while there is only bulk data.

    These only as long as the path takes them within ``TURN_S``.
    """

    _size: int = attrs.field(default=1, init=False)
    """Fragments of a turn without messages."""
    _messages: int = attrs.field(default=0, init=False)
    """Counted by the last turn, both ways."""
    _talked_s: float = attrs.field(default=-math.inf, init=False)
    _is_talking: bool = attrs.field(default=False, init=False)

    def begin_turn(self, messages: int, now: float) -> int:
        """How many fragments may be written now, if ``messages`` were sent and received so far."""
        if messages != self._messages:
            self._messages, self._talked_s = messages, now
        self._is_talking = now - self._talked_s < TALK_S
        return 1 if self._is_talking else self._size

    @property
    def fragment_bytes(self) -> int:
        """The most that a fragment of this turn carries."""
        return TALK_BYTES if self._is_talking else FRAGMENT_SIZE_MAX

    def end_turn(self, fragments: int, took_s: float) -> bool:
        """So many were sent, at least one. Whether others are to run before the next turn, if it carries transfers.

        Pushes with a message are the messages that pass.
        """
        self._size = FRAGMENTS_MAX if took_s * FRAGMENTS_MAX <= TURN_S * fragments else 1
        return self._is_talking
