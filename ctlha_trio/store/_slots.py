"""The head of a backing file: two metadata slots that are written in turn. Bytes to metadata and back, no I/O.

A slot is 4 KiB: magic, format, generation, payload length and CRC32C, then the payload and zeros. The checksum covers
the whole slot with its own field as zero. These five fields keep their place in every format, so that a version knows
a slot of another one from a torn one and never falls back to what that one replaced.
"""

import json
import struct
from enum import Enum
from typing import Any

import attrs
from crc32c import crc32c

from ctlha_trio._errors import ConfigError, InvalidError, StoreError
from ctlha_trio._parsed_json import parse_json
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.wire import KnownRecord

SLOT_BYTES = 4096
"""One page: no disk in use writes less than 512 bytes at a time, and none needs more for so small a payload."""
SLOT_COUNT = 2
HEAD_BYTES = SLOT_COUNT * SLOT_BYTES
"""All slots, one behind the other, from the start of the file."""
SLOT_FORMAT = 6
UNSIZED_FORMAT = 5
"""Does not say how large the volume is. Such a slot is read; what follows it is of ``SLOT_FORMAT``."""
EPOCH_MAX = 2**64 - 2
"""What fits wherever the file names an epoch, beside one value that says none."""
_MAGIC = b"ctlhavol"
_HEADER = struct.Struct("<8sIQII")
PAYLOAD_BYTES_MAX = SLOT_BYTES - _HEADER.size
_COPIES = {copy.value: copy for copy in Copy}
"""Not by ``Copy`` itself: that shows what it does not know, which may be nested deeper than can be followed."""


@attrs.frozen
class Slot:
    """What one valid slot says."""

    generation: int
    """Rises by one with each persist; the higher of two valid slots counts."""
    metadata: Metadata
    size_bytes: int | None = None
    """That the volume was made with; None if whoever wrote the slot did not know."""


class Flaw(Enum):
    """Why a slot cannot be used."""

    FOREIGN = "foreign"
    """It does not begin with the magic: never written, or not ours."""
    DAMAGED = "damaged"
    """It begins like ours, but the checksum is wrong: torn by a power cut, or decayed."""
    OTHER_FORMAT = "other format"
    """It is whole and of a format that this version does not know."""


def encode_metadata(metadata: Metadata, size_bytes: int | None) -> bytes:
    """The payload of a slot. ``InvalidError`` if it does not fit into one, or its epoch not into the file.

    ``size_bytes``: as of ``Slot``.
    """
    if type(metadata.epoch) is int and not 0 <= metadata.epoch <= EPOCH_MAX:
        raise InvalidError(f"epoch {metadata.epoch} is not between 0 and {EPOCH_MAX}")
    fields = attrs.asdict(metadata, recurse=False)
    fields["size_bytes"] = size_bytes
    fields["copy"] = metadata.copy.value
    heard = metadata.heard
    fields["heard"] = None if heard is None else (heard.lineage, heard.epoch, heard.revision, heard.leads)
    payload = json.dumps(fields, sort_keys=True).encode("ascii")
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise InvalidError(f"metadata of {len(payload)} bytes does not fit into a slot of {PAYLOAD_BYTES_MAX}")
    if _decode_payload(payload, SLOT_FORMAT) != (metadata, size_bytes):
        raise InvalidError("metadata does not survive being written and read back")
    return payload


def encode_slot(payload: bytes, generation: int) -> bytes:
    """One whole slot."""
    body = payload.ljust(PAYLOAD_BYTES_MAX, b"\0")
    checksum = crc32c(body, crc32c(_HEADER.pack(_MAGIC, SLOT_FORMAT, generation, len(payload), 0)))
    return _HEADER.pack(_MAGIC, SLOT_FORMAT, generation, len(payload), checksum) + body


def decode_slot(raw: bytes) -> Slot | Flaw:
    """What a slot says, or why it says nothing. ``StoreError`` if it is whole but its payload makes no sense."""
    magic, slot_format, generation, payload_size, checksum = _HEADER.unpack_from(raw)
    if magic != _MAGIC:
        return Flaw.FOREIGN
    body = raw[_HEADER.size :]
    if checksum != crc32c(body, crc32c(_HEADER.pack(magic, slot_format, generation, payload_size, 0))):
        return Flaw.DAMAGED
    if slot_format not in {SLOT_FORMAT, UNSIZED_FORMAT}:
        return Flaw.OTHER_FORMAT
    return Slot(generation, *_decode_payload(body[:payload_size], slot_format))


def choose_slot(path: str, head: bytes) -> tuple[int, Slot]:
    """The index and content of the slot that counts. ``head`` holds both slots.

    One slot that cannot be read is what a power cut leaves. ``ConfigError`` if the file is not ours or of another
    format, ``StoreError`` if it is ours and no slot can be believed.
    """
    found = [decode_slot(head[index * SLOT_BYTES : (index + 1) * SLOT_BYTES]) for index in range(SLOT_COUNT)]
    if Flaw.OTHER_FORMAT in found:
        other = _HEADER.unpack_from(head, found.index(Flaw.OTHER_FORMAT) * SLOT_BYTES)[1]
        raise ConfigError(
            path, "volume.file", f"has format {other}; this version knows {UNSIZED_FORMAT} and {SLOT_FORMAT}"
        )
    valid = [(index, slot) for index, slot in enumerate(found) if isinstance(slot, Slot)]
    if not valid:
        if Flaw.DAMAGED in found:
            raise StoreError(f"{path}: both metadata slots are damaged")
        raise ConfigError(path, "volume.file", "is not a ctlha volume")
    if len({slot.generation for _, slot in valid}) < len(valid):
        raise StoreError(f"{path}: both metadata slots claim generation {valid[0][1].generation}")
    return max(valid, key=lambda choice: choice[1].generation)


def new_slots(metadata: Metadata, size_bytes: int) -> bytes:
    """The slots of a new file. Both are written, so that decay of one is survived."""
    payload = encode_metadata(metadata, size_bytes)
    return b"".join(encode_slot(payload, generation) for generation in range(1, SLOT_COUNT + 1))


def _decode_payload(payload: bytes, slot_format: int) -> tuple[Metadata, int | None]:
    """What a slot says of the copy, and the size of its volume."""
    try:
        fields: dict[str, Any] = parse_json(payload)
        size_bytes = None if slot_format == UNSIZED_FORMAT else fields.pop("size_bytes")
        fields["members"] = tuple(fields["members"])
        fields["proposed"] = tuple(fields["proposed"])
        fields["ancestors"] = tuple(fields["ancestors"])
        fields["copy"] = _COPIES[fields["copy"]]
        heard = fields["heard"]
        fields["heard"] = None if heard is None else KnownRecord(*heard)
        metadata = Metadata(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"metadata slot is whole but makes no sense: {error}") from error
    texts = (getattr(metadata, name) for name in ("cluster", "node", "resource", "lineage", "arbiter", "primary"))
    numbers = (metadata.epoch, metadata.revision, metadata.base_epoch, metadata.in_doubt)
    listed = (*metadata.members, *metadata.proposed, *metadata.ancestors)
    told = () if heard is None else tuple(heard)
    if (
        not all(type(text) is str for text in (*texts, *listed))
        or not all(type(number) is int for number in numbers)
        or (told and tuple(map(type, told)) != (str, int, int, bool))
        or not (size_bytes is None or type(size_bytes) is int)
    ):
        raise StoreError("metadata slot is whole but a field has the wrong type")
    return metadata, size_bytes
