"""The hooks of a component that runs on one node at a time: may it start here, and has it let go. Beside the header's.

As when it opens what both nodes reach, such as a pool on shared disks that the one imports which serves. No record at
an arbiter keeps the old owner of that from writing, so the component itself is asked, each time.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from math import isfinite

import attrs

from ctlha_trio._errors import InvalidError
from ctlha_trio._printable import printable
from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.pair import Record


@attrs.frozen
class Yes:
    """It is safe to start now, under the record that was shown. It counts for this one start."""


@attrs.frozen
class NotYet:
    """It is not safe, and will be without anybody's help."""

    reason: str = attrs.field(converter=printable)
    """For people, in one line."""
    estimate_s: float | None = None
    """Seconds after which to ask again; None if that is not known. ``InvalidError`` below 0, or for no number."""

    def __attrs_post_init__(self) -> None:
        if self.estimate_s is not None and not (isfinite(self.estimate_s) and self.estimate_s >= 0):
            raise InvalidError(f"an estimate of {self.estimate_s} s")


@attrs.frozen
class NeedsFence:
    """The other node may still hold what this component opens, and nothing less than a fence shows that it does not."""

    reason: str = attrs.field(converter=printable)
    """For people, in one line."""


StartAnswer = Yes | NotYet | NeedsFence


class Released(Enum):
    """Whether a component has let go of what it held while its node had the role."""

    PROOF = "proof"
    """It has, and whoever answers knows that."""
    UNKNOWN = "unknown"


may_start_t = Callable[[Record], Awaitable[StartAnswer]]
released_t = Callable[[], Awaitable[Released]]


@attrs.define(eq=False)
class TakeOverComponent(ctl_ha_component):
    """A component that runs only where the role is: on a node that serves, alone or beside a secondary."""

    may_start: may_start_t = attrs.field(kw_only=True)
    """Awaited before each start, with the arbiter's record by which this node serves. It changes nothing.

    ``fence`` is ``confirmed``, with the ``evidence``, too if this node has had the other one fenced in that epoch.
    """
    released: released_t = attrs.field(kw_only=True)
    """Awaited behind ``quiesce`` on the node that has given up the role, and again until it answers PROOF.

    It lets go of what ``quiesce`` has kept for another start.
    """


async def may_start(component: TakeOverComponent, record: Record) -> StartAnswer:
    """Ask whether it may be started; what it answers. ``TypeError`` for what is no answer, such as none."""
    answer: object = await component.may_start(record)
    if not isinstance(answer, Yes | NotYet | NeedsFence):
        raise TypeError(f"{component.name}: may_start answers Yes, NotYet or NeedsFence, not {answer!r}")
    return answer


async def released(component: TakeOverComponent) -> Released:
    """Ask whether it has let go; what it answers. ``TypeError`` for what is no answer."""
    answer: object = await component.released()
    if not isinstance(answer, Released):
        raise TypeError(f"{component.name}: released answers a Released, not {answer!r}")
    return answer
