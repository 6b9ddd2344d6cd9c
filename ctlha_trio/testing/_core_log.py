"""The last events of a simulated pair, in columns, for whoever reads a failure."""

import attrs

from ctlha_trio.pair import Phase, actions as act, events as ev


@attrs.frozen
class EventLine:
    """One step of one node. Put into words only when somebody asks."""

    node: str
    before: Phase
    after: Phase
    epoch: int
    event: ev.Event
    ordered: tuple[act.Action, ...]

    def __str__(self) -> str:
        """As columns."""
        ordered = ", ".join(type(action).__name__ for action in self.ordered)
        phases = f"{self.before.name:>12} -> {self.after.name:12}"
        return f"{self.node} {phases} e{self.epoch:<3} {_brief(self.event)} => {ordered}"


def _brief(event: ev.Event) -> str:
    match event:
        case ev.RecordRead():
            record = event.record
            return f"RecordRead e{record.epoch} {record.primary} {record.members} r{event.revision}"
        case ev.Persisted():
            return f"Persisted e{event.metadata.epoch} {event.metadata.copy.value}"
        case ev.Received():
            return str(event.message)
        case _:
            return str(event)
