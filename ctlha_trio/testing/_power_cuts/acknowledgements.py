"""What must be durable at the moment at which a client is told that its write is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from ctlha_trio.pair import WRITING, Copy, Operation, OperationKind, Outcome, PairState, actions
from ctlha_trio.testing._history.block_content import BLOCK_BYTES, sectors_of
from ctlha_trio.testing._history.block_history import BlockHistory
from ctlha_trio.testing._pairs.action_watch import Ordered
from ctlha_trio.testing._pairs.memory_pair import MemoryPair

RECORD: Final = -1
"""In place of a block: the one record that clients put."""
KEY: Final = "key"


@attrs.define(eq=False)
class Acknowledgements:
    """Of both nodes."""

    _pair: MemoryPair
    _history: BlockHistory
    _problems: list[str]
    _by: dict[int, str] = attrs.field(factory=dict, init=False)
    """Under whom a node acknowledged in an epoch."""

    def ordered(self, ordered: Ordered) -> None:
        """A node is about to answer: a write that it calls done must be durable wherever the arbiter says."""
        if isinstance(ordered.action, actions.Answer) and ordered.operation is not None:
            self._answered(ordered.state, ordered.operation, ordered.data, ordered.action.outcome)

    def _answered(self, state: PairState, operation: Operation, data: bytes, outcome: Outcome) -> None:
        name, pair = state.me, self._pair
        if pair.disks[name].is_cut or outcome is not Outcome.DONE or operation.kind not in WRITING:
            return
        is_record = operation.kind is OperationKind.PUT_RECORD
        with noting(self._problems, f"answer of {name}"):
            for sector in sectors_of(RECORD if is_record else operation.offset // BLOCK_BYTES):
                self._history.done(operation.number, operation.kind, sector, operation.number)
        write = f"{name} acknowledged write {operation.number} in epoch {state.epoch}"
        for member in pair.record.members:
            found = pair.durable_copy(member)[operation.offset : operation.offset + operation.size]
            if is_record:
                found = pair.durable_records(member).get(KEY, b"")
            if found != data:
                self._problems.append(f"{write}: it is not durable on {member}")
        record = state.record
        assert record is not None, "a node that serves knows its record"
        for member in record.members:
            metadata = pair.durable_metadata(member)
            durable = metadata.epoch, metadata.primary, metadata.members, metadata.copy
            # A peer may have gone on meanwhile; then the arbiter's record has told above what counts.
            expected = record.epoch, record.primary, record.members, Copy.MEMBER
            if durable != expected and metadata.epoch <= record.epoch:
                self._problems.append(f"{write}: the disk of {member} is still in {durable}")
        if self._by.setdefault(state.epoch, record.primary) != record.primary:
            self._problems.append(f"{write}: so did a node under the other one")


@contextmanager
def noting(problems: list[str], where: str) -> Iterator[None]:
    """Note what an ``AssertionError`` says."""
    try:
        yield
    except AssertionError as error:
        problems.append(f"{where}: {error}")
