"""The records of an open store, in memory and on the disk."""

import attrs

from ctlha_trio.pair import CarriedRecord, Records, with_record
from ctlha_trio.store._record_copies import RECORDS_AREAS, RecordTable, area_offset, encode_table
from ctlha_trio.store._watched_file import WatchedFile


@attrs.define(eq=False, repr=False)
class RecordKeeper:
    """Everything here is called while nothing else is being written.

    ``RecordsFullError`` for more records than a copy carries, before anything is written.
    """

    _file: WatchedFile
    _area: int
    """Which says so; the other one may be older, or damaged."""
    _table: RecordTable
    _is_settled: bool = attrs.field(default=False, init=False)
    """What an earlier process has left unflushed is durable."""

    @property
    def records(self) -> Records:
        """As last found or made durable."""
        return self._table.records

    async def put(self, record: CarriedRecord) -> None:
        """Make one record durable, or that it is gone."""
        await self.replace(with_record(self._table.records, record))

    async def replace(self, records: Records) -> None:
        """Make these records, and no others, durable."""
        table = RecordTable(self._table.generation + 1, records)
        content = encode_table(table)
        if not self._is_settled:
            # It may be all that holds if what is written now is torn.
            await self._file.flush()
            self._is_settled = True
        for step in range(1, RECORDS_AREAS + 1):
            # The one that counts is written last: until then a cut that tears the other leaves it.
            await self._file.write_through([(area_offset((self._area + step) % RECORDS_AREAS), content)])
        self._table = table
