"""Reads that the core orders of this node's own disk, each under the permit that it needs."""

from collections.abc import Callable

import attrs
import trio

from ctlha_trio._errors import DamagedBlockError, StoreError
from ctlha_trio.ha._permits import PermittedReads
from ctlha_trio.pair import MEMBERS, Operation, OperationKind, PairState, actions, encode_records
from ctlha_trio.pair.messages import PermitRequest
from ctlha_trio.seams import Clock
from ctlha_trio.store import BlockStore, first_run


@attrs.define(eq=False)
class LocalReads:
    """Each in a task of its own."""

    _store: BlockStore
    _nursery: trio.Nursery
    _state: Callable[[], PairState]
    _failed: Callable[[StoreError], None]
    permits: PermittedReads

    @classmethod
    def make(  # noqa: PLR0917 (the parts of the driver that it stands between)
        cls,
        clock: Clock,
        store: BlockStore,
        nursery: trio.Nursery,
        state: Callable[[], PairState],
        ask: Callable[[PermitRequest], None],
        failed: Callable[[StoreError], None],
    ) -> "LocalReads":
        """``ask`` says it to the peer, ``failed`` is told of a store that is dead."""

        def epoch_to_ask() -> int:
            now = state()
            return now.epoch if now.session and now.phase in MEMBERS else 0

        return cls(store, nursery, state, failed, PermittedReads(clock, ask, epoch_to_ask))

    def fetch(
        self, action: actions.FetchRead, done: Callable[[bytes], None], damaged: Callable[[int, int], None]
    ) -> None:
        """Then ``done`` with the data, or ``damaged`` with the offset and size of the first damaged blocks.

        If the core still waits for it: a read that begins anew has another number.
        """

        def is_wanted() -> bool:
            return any(flight.fetch == action.fetch for flight in self._state().flights)

        async def fetch() -> bytes:
            return await self._read(action.operation)

        async def work() -> None:
            try:
                data = await (self.permits.read(action.epoch, fetch, is_wanted) if action.epoch else fetch())
            except DamagedBlockError as error:
                if is_wanted():
                    damaged(*first_run(error.offsets, self._store.size_bytes))
            except StoreError as error:
                self._failed(error)
            else:
                if data is not None and is_wanted():
                    done(data)

        self._nursery.start_soon(work)

    async def _read(self, operation: Operation) -> bytes:
        if operation.kind is OperationKind.READ_RECORDS:
            await trio.lowlevel.checkpoint()
            return encode_records(self._store.records)
        return await self._store.read(operation.offset, operation.size)
