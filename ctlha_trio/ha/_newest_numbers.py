"""What each client asked last of a node: who has turned to the other one does not wait for the older any more."""

from typing import Final

import attrs

from ctlha_trio.pair import Operation

CLIENTS_KNOWN: Final = 64
"""Of which the newest number is remembered, as many as a door knows."""


@attrs.define(eq=False)
class NewestNumbers:
    """Of what clients have asked one of the two nodes, and it has taken."""

    _newest: dict[int, int] = attrs.field(factory=dict, init=False)
    """By client; who asked last is last."""

    def note(self, operation: Operation) -> None:
        """Its client has asked for it there, and it counts."""
        newest = max(operation.number, self._newest.pop(operation.client, 0))
        self._newest[operation.client] = newest
        if len(self._newest) > CLIENTS_KNOWN:
            del self._newest[next(iter(self._newest))]

    def has_newer(self, operation: Operation) -> bool:
        """Whether something newer of its client counts there."""
        return operation.number < self._newest.get(operation.client, 0)
