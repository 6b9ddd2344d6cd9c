"""What components that run on one node at a time wait for, and what they are not known to have let go of."""

from collections.abc import Callable
from typing import Final

import attrs

from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.ha._component_faults import FIRST_RETRY_S, retry_wait_s
from ctlha_trio.ha._left_steps import LeftSteps
from ctlha_trio.ha._peer_fence import PeerFence
from ctlha_trio.ha._status import ComponentWait, Reason
from ctlha_trio.ha._take_over import NeedsFence, NotYet, Released, StartAnswer, TakeOverComponent, Yes
from ctlha_trio.pair import PairState, Phase, Record
from ctlha_trio.seams import Clock

ASK_AGAIN_MIN_S: Final = 0.1
"""However soon a component says that it may start: nobody asks in a circle."""
SERVING: Final = frozenset({Phase.ALONE, Phase.ADMITTING, Phase.MIRRORING})
"""What runs on one node at a time is started in these phases only: in all others who serves is being decided."""
NOT_SERVING: Final = NotYet("who serves is being decided", FIRST_RETRY_S)
CHANGED: Final = NotYet("the record has changed since it was asked", 0.0)


def serving_record(state: PairState) -> Record | None:
    """The record by which the node serves; None while it does not."""
    return state.record if state.phase in SERVING else None


@attrs.frozen
class _Wait:
    """Until it is asked again."""

    answer: NotYet | NeedsFence | None
    """None: whether it has let go is asked, not whether it may start."""
    times: int
    """In a row."""
    since_s: float
    again_s: float


@attrs.define(eq=False)
class TakeOvers:
    """Of the components of one node."""

    _clock: Clock
    _serving: Callable[[], Record | None]
    _tell: Callable[[str, str, str], None]
    """Writes what, its outcome and why into the log of decisions."""
    fence: PeerFence
    steps: LeftSteps
    _waits: dict[TakeOverComponent, _Wait] = attrs.field(factory=dict, init=False)
    _held: dict[TakeOverComponent, str] = attrs.field(factory=dict, init=False)
    """Started here since it last proved to have let go; why it is not known to have, once it was to."""

    def __attrs_post_init__(self) -> None:
        self.fence.on_end = self._fence_ended

    # Whether it may start.

    def question(self) -> Record | None:
        """What to ask a component about; None while this node does not serve."""
        record = self._serving()
        return None if record is None else self.fence.shown(record)

    def answered(self, component: TakeOverComponent, shown: Record | None, answer: StartAnswer) -> str | None:
        """Why it is not to be started at once; None if it is. A yes to another record than the one of now is none."""
        if shown is None or shown != self.question():
            answer = NOT_SERVING if self._serving() is None else CHANGED
        elif component in self._held:
            # It is asked to run here again, not to let go.
            self._held[component] = ""
        if isinstance(answer, Yes):
            self._waits.pop(component, None)
            self._held[component] = ""
            return None
        if isinstance(answer, NeedsFence) and (record := self._serving()) is not None:
            self.fence.ask(record)
        self._wait(component, answer)
        return answer.reason

    # Whether it has let go.

    def holds(self, component: ctl_ha_component) -> bool:
        """Whether it was started here, and has not proved since that it has let go."""
        return component in self._held

    def released(self, component: TakeOverComponent, answer: Released) -> None:
        """It has answered. Only PROOF is one."""
        if answer is Released.PROOF:
            self.forget_wait(component)
            del self._held[component]
            self._tell("release", "done", component.name)
        else:
            self.not_released(component, "it does not know whether it has let go")
            self._wait(component, None)

    def not_released(self, component: ctl_ha_component, why: str) -> None:
        """It was to let go and has not said that it has. Told once, until it has or runs here again."""
        if isinstance(component, TakeOverComponent) and component in self._held:
            if not self._held[component]:
                self._tell("release", "unknown", f"{component.name}: {why}")
            self._held[component] = why

    # When to ask again.

    def due(self, now_s: float) -> list[ctl_ha_component]:
        """Those that are to be asked again now."""
        return [component for component, wait in self._waits.items() if wait.again_s <= now_s]

    @property
    def next_s(self) -> float:
        """When the next one is due; infinity if none will be."""
        return min((wait.again_s for wait in self._waits.values()), default=float("inf"))

    @property
    def start_waits(self) -> bool:
        """Whether one is to run here and may not yet."""
        return any(wait.answer is not None for wait in self._waits.values())

    def forget_wait(self, component: ctl_ha_component) -> None:
        """It is asked for something else, or has a fault, which says by itself when to ask again."""
        if isinstance(component, TakeOverComponent):
            self._waits.pop(component, None)

    def waits(self) -> tuple[ComponentWait, ...]:
        """For the status."""
        return (*self._start_waits(), *self._unreleased())

    def _start_waits(self) -> list[ComponentWait]:
        now_s, record, found = self._clock.now(), self._serving(), list[ComponentWait]()
        for component, wait in self._waits.items():
            match wait.answer:
                case NotYet(reason, estimate_s):
                    left_s = None if estimate_s is None else max(0.0, wait.since_s + estimate_s - now_s)
                    found.append(ComponentWait(component.name, Reason.COMPONENT_WAITS.value, reason, left_s))
                case NeedsFence(reason):
                    stand = "" if record is None else self.fence.stand(record)
                    why = f"{reason}; {stand}" if stand else reason
                    found.append(ComponentWait(component.name, Reason.COMPONENT_NEEDS_FENCE.value, why, None))
        return found

    def _unreleased(self) -> list[ComponentWait]:
        reason = Reason.COMPONENT_NOT_RELEASED.value
        return [ComponentWait(component.name, reason, why, None) for component, why in self._held.items() if why]

    def _wait(self, component: TakeOverComponent, answer: NotYet | NeedsFence | None) -> None:
        before, now_s = self._waits.get(component), self._clock.now()
        times = 1 if before is None else before.times + 1
        wait_s = retry_wait_s(times)
        if isinstance(answer, NotYet) and answer.estimate_s is not None:
            wait_s = max(answer.estimate_s, ASK_AGAIN_MIN_S)
        self._waits[component] = _Wait(answer, times, now_s, now_s + wait_s)

    def _fence_ended(self) -> None:
        """Whoever waits for a fence that was confirmed is asked at once."""
        record = self._serving()
        if record is None or self.fence.shown(record).fence != "confirmed":
            return
        for component, wait in self._waits.items():
            if isinstance(wait.answer, NeedsFence):
                self._waits[component] = attrs.evolve(wait, again_s=self._clock.now())
