import json
import struct
from typing import Any

import attrs
import pytest
from crc32c import crc32c

from ctlha_trio._errors import ConfigError, InvalidError, StoreError
from ctlha_trio.pair import Copy, Metadata
from ctlha_trio.store._slots import (
    EPOCH_MAX,
    PAYLOAD_BYTES_MAX,
    SLOT_BYTES,
    Flaw,
    Slot,
    choose_slot,
    decode_slot,
    encode_metadata,
    encode_slot,
    new_slots,
)
from ctlha_trio.wire import KnownRecord

OLD = Metadata(
    cluster="cluster",
    node="a",
    resource="volume",
    lineage="lineage",
    arbiter="arbiter",
    epoch=7,
    revision=9,
    primary="b",
    members=("a", "b"),
    copy=Copy.MEMBER,
)
SIZE_BYTES = 1 << 20
HEARD = KnownRecord("lineage", 9, 11, leads=True)
NEW = attrs.evolve(OLD, epoch=8, members=("a",), primary="a", proposed=("f" * 32,), heard=HEARD)


def slot(metadata: Metadata, generation: int) -> bytes:
    return encode_slot(encode_metadata(metadata, SIZE_BYTES), generation)


def resealed(raw: bytes, slot_format: int) -> bytes:
    """The slot as another format would have written it, with a good checksum."""
    raw = raw[:8] + struct.pack("<I", slot_format) + raw[12:24] + bytes(4) + raw[28:]
    return raw[:24] + struct.pack("<I", crc32c(raw)) + raw[28:]


@pytest.mark.parametrize("copy", Copy)
def test_metadata_comes_back(copy: Copy) -> None:
    metadata = attrs.evolve(OLD, copy=copy, node="knöten ☃", epoch=EPOCH_MAX)
    raw = slot(metadata, 2**64 - 1)
    assert len(raw) == SLOT_BYTES
    assert decode_slot(raw) == Slot(2**64 - 1, metadata, SIZE_BYTES)


def test_every_changed_byte_is_noticed() -> None:
    raw = slot(OLD, 5)
    for at in range(SLOT_BYTES):
        damaged = raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]
        assert decode_slot(damaged) is (Flaw.FOREIGN if at < 8 else Flaw.DAMAGED)


@pytest.mark.parametrize("epoch", [-1, EPOCH_MAX + 1])
def test_epoch_that_fits_nowhere_else_in_the_file_is_refused(epoch: int) -> None:
    with pytest.raises(InvalidError, match="is not between 0 and"):
        encode_metadata(attrs.evolve(OLD, epoch=epoch), SIZE_BYTES)


def test_metadata_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidError, match="does not fit"):
        encode_metadata(attrs.evolve(OLD, lineage="x" * PAYLOAD_BYTES_MAX), SIZE_BYTES)


@pytest.mark.parametrize(
    "changes",
    [{"epoch": "7"}, {"revision": None}, {"node": 1}, {"members": (1,)}, {"ancestors": (1,)}, {"in_doubt": "7"}],
)
def test_metadata_of_wrong_types_is_never_written(changes: dict[str, Any]) -> None:
    with pytest.raises((InvalidError, StoreError)):
        encode_metadata(attrs.evolve(OLD, **changes), SIZE_BYTES)


@pytest.mark.parametrize("size_bytes", ["7", 7.0, True])
def test_a_size_that_is_no_number_is_never_written(size_bytes: Any) -> None:
    with pytest.raises(StoreError, match="wrong type"):
        encode_metadata(OLD, size_bytes)


@pytest.mark.parametrize("depth", [2, 900, 1490, 1900])
@pytest.mark.parametrize("field", ["copy", "heard", "members", "epoch"])
def test_a_slot_of_brackets_makes_no_sense_however_deep_they_are(field: str, depth: int) -> None:
    """Nobody follows them, not even to show them: how deep an interpreter can differs between its versions."""
    fields = json.loads(encode_metadata(OLD, None))
    payload = json.dumps({**fields, field: "?"}).replace('"?"', "[" * depth + "]" * depth)[:PAYLOAD_BYTES_MAX]
    with pytest.raises(StoreError, match="metadata slot is whole but") as caught:
        decode_slot(encode_slot(payload.encode(), 1))
    assert len(str(caught.value)) < 200


def test_a_size_that_is_not_known_is_none() -> None:
    assert decode_slot(encode_slot(encode_metadata(OLD, None), 4)) == Slot(4, OLD, None)


@pytest.mark.parametrize("payload", [b"", b"7", b"[]", b"{}", b'{"members": 3}', b"\xff", b"[" * 4000])
def test_whole_slot_without_sense_is_a_store_error(payload: bytes) -> None:
    with pytest.raises(StoreError, match="makes no sense"):
        decode_slot(encode_slot(payload, 1))


@pytest.mark.parametrize("newer", [0, 1])
def test_higher_generation_counts(newer: int) -> None:
    slots = [slot(OLD, 4), slot(OLD, 4)]
    slots[newer] = slot(NEW, 5)
    assert choose_slot("file", b"".join(slots)) == (newer, Slot(5, NEW, SIZE_BYTES))


@pytest.mark.parametrize("broken", [bytes(SLOT_BYTES), slot(NEW, 9)[:60].ljust(SLOT_BYTES, b"\0"), b"x" * SLOT_BYTES])
def test_one_slot_is_enough(broken: bytes) -> None:
    assert choose_slot("file", slot(OLD, 4) + broken) == (0, Slot(4, OLD, SIZE_BYTES))
    assert choose_slot("file", broken + slot(OLD, 4)) == (1, Slot(4, OLD, SIZE_BYTES))


def test_both_damaged_says_so() -> None:
    torn = slot(NEW, 9)[:60].ljust(SLOT_BYTES, b"\0")
    with pytest.raises(StoreError, match="file: both metadata slots are damaged"):
        choose_slot("file", torn + torn)
    with pytest.raises(StoreError, match="file: both metadata slots are damaged"):
        choose_slot("file", bytes(SLOT_BYTES) + torn)


def test_two_slots_of_one_generation_are_not_guessed_about() -> None:
    with pytest.raises(StoreError, match="both metadata slots claim generation 4"):
        choose_slot("file", slot(OLD, 4) + slot(NEW, 4))


def test_file_of_somebody_else() -> None:
    with pytest.raises(ConfigError, match=r"file: volume\.file: is not a ctlha volume"):
        choose_slot("file", b"x" * (2 * SLOT_BYTES))


@pytest.mark.parametrize("slot_format", [1, 4, 7])
def test_other_format_is_never_passed_over_for_what_it_replaced(slot_format: int) -> None:
    other = resealed(slot(NEW, 5), slot_format)
    assert decode_slot(other) is Flaw.OTHER_FORMAT
    for head in (slot(OLD, 4) + other, other + slot(OLD, 4)):
        with pytest.raises(ConfigError, match=rf"has format {slot_format}; this version knows 5 and 6"):
            choose_slot("file", head)


def test_new_file_survives_the_loss_of_either_slot() -> None:
    head = new_slots(OLD, SIZE_BYTES)
    assert len(head) == 2 * SLOT_BYTES
    for lost in (0, SLOT_BYTES):
        damaged = head[:lost] + bytes(SLOT_BYTES) + head[lost + SLOT_BYTES : 2 * SLOT_BYTES]
        assert choose_slot("file", damaged)[1].metadata == OLD


def test_any_mixture_of_sectors_is_the_old_slot_the_new_one_or_damaged() -> None:
    old = slot(attrs.evolve(OLD, lineage="o" * 3500), 3)
    new = slot(attrs.evolve(OLD, lineage="n" * 3500), 5)
    found = set()
    for mixture in range(2 ** (SLOT_BYTES // 512)):
        raw = b"".join(
            (new if mixture >> sector & 1 else old)[sector * 512 : (sector + 1) * 512]
            for sector in range(SLOT_BYTES // 512)
        )
        decoded = decode_slot(raw)
        assert decoded is Flaw.DAMAGED or raw in (old, new)
        found.add(decoded.generation if isinstance(decoded, Slot) else decoded)
    assert found == {3, 5, Flaw.DAMAGED}
