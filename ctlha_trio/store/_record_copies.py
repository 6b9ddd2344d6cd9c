"""The records that a copy carries beside the volume: two areas with the whole table each. Bytes to records, no I/O.

Both areas are written at each change, one behind the other and each flushed, so that a power cut leaves one whole and
decay of one later brings nothing old back: the table of the higher generation counts, and only between the two writes
do they differ.
"""

import struct
from typing import Final

import attrs
from crc32c import crc32c

from ctlha_trio._errors import RecordsFullError, RemoteProtocolError, StoreError
from ctlha_trio.pair import RECORDS_BYTES_MAX, Records, decode_records, encode_records
from ctlha_trio.store._layout import PAGE_BYTES, RECORDS_AREA_BYTES, RECORDS_OFFSET

RECORDS_AREAS: Final = 2

_MAGIC: Final = b"ctlharec"
_HEADER: Final = struct.Struct("<8sQII")
"""Magic, generation, size of the table, CRC32C over all else."""


@attrs.frozen
class RecordTable:
    """What an area says."""

    generation: int
    """Rises by one with each change."""
    records: Records


def area_offset(area: int) -> int:
    """Where an area begins in the file."""
    return RECORDS_OFFSET + area * RECORDS_AREA_BYTES


def encode_table(table: RecordTable) -> bytes:
    """As much of an area as the table needs, in whole pages. ``RecordsFullError`` for what ``decode_table`` refuses."""
    body = encode_records(table.records)
    if len(body) > RECORDS_BYTES_MAX:
        raise RecordsFullError(f"{len(table.records)} records take {len(body)} bytes, of {RECORDS_BYTES_MAX}")
    header = _MAGIC, table.generation, len(body)
    content = _HEADER.pack(*header, crc32c(body, crc32c(_HEADER.pack(*header, 0)))) + body
    return content.ljust(-(-len(content) // PAGE_BYTES) * PAGE_BYTES, b"\0")


def decode_table(raw: bytes) -> RecordTable | None:
    """What an area says; None if it cannot be believed. ``StoreError`` if it is whole but makes no sense."""
    magic, generation, size, checksum = _HEADER.unpack_from(raw)
    body = raw[_HEADER.size : _HEADER.size + size]
    if magic != _MAGIC or size > RECORDS_BYTES_MAX:
        return None
    if checksum != crc32c(body, crc32c(_HEADER.pack(magic, generation, size, 0))):
        return None
    try:
        return RecordTable(generation, decode_records(body))
    except RemoteProtocolError as error:
        raise StoreError(f"a table of records is whole but makes no sense: {error}") from error


def choose_table(path: str, raw: bytes) -> tuple[int, RecordTable]:
    """The area that counts, and its table. ``raw`` holds both. ``StoreError`` if neither can be believed."""
    areas = [raw[area * RECORDS_AREA_BYTES : (area + 1) * RECORDS_AREA_BYTES] for area in range(RECORDS_AREAS)]
    valid = [(area, table) for area, table in enumerate(map(decode_table, areas)) if table is not None]
    if not valid:
        raise StoreError(f"{path}: both tables of records are damaged")
    return max(valid, key=lambda choice: choice[1].generation)


def new_record_areas() -> bytes:
    """Both areas of a new file, without records."""
    return encode_table(RecordTable(1, {})).ljust(RECORDS_AREA_BYTES, b"\0") * RECORDS_AREAS


def records_in(content: bytes) -> Records:
    """The records in a whole backing file. For tests and tools. ``StoreError`` if no table can be believed."""
    return choose_table("the file", content[RECORDS_OFFSET:])[1].records
