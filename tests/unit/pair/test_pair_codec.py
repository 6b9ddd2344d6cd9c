"""The slots of the pair's channel: what was encoded comes back, and nothing that was not can do harm."""

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from ctlha_trio._errors import LocalProtocolError, RemoteProtocolError
from ctlha_trio.pair import (
    RECORDS_BYTES_MAX,
    SETTING_NAME_MAX,
    SETTING_VALUE_MAX,
    SLOT_BYTES,
    WRITE_BYTES_MAX,
    ZEROING,
    ComponentsReady,
    DataFault,
    DataFaultTold,
    Grant,
    Kept,
    OfDrivers,
    Operation,
    OperationKind,
    Outcome,
    Phase,
    Pushed,
    PushedMessage,
    ResyncLeft,
    Setting,
    Spoken,
    decode,
    encode,
    messages as msg,
)

OFFSET_MAX = 1 << 56
u64 = st.integers(0, 2**64 - 1)
digests = st.binary(min_size=32, max_size=32)
u32 = st.integers(0, 2**32 - 1)
offsets = st.integers(0, OFFSET_MAX)
sizes = st.integers(1, WRITE_BYTES_MAX)
proposals = st.text("0123456789abcdef", min_size=32, max_size=32)
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))

WRITES = st.builds(msg.MirrorWrite, epoch=u64, sequence=u64, previous=u64, settled=u64, offset=offsets, size=sizes)
ZEROES = st.builds(msg.MirrorZeroes, epoch=u64, sequence=u64, previous=u64, settled=u64, offset=offsets, size=sizes)
RECORDS = st.builds(
    msg.MirrorRecord, epoch=u64, sequence=u64, previous=u64, settled=u64, size=st.integers(1, RECORDS_BYTES_MAX)
)
NAMED = {"client": u64, "number": u64}
OPERATIONS = st.one_of(
    st.builds(Operation, st.sampled_from([OperationKind.WRITE]), **NAMED, offset=offsets, size=sizes),
    st.builds(Operation, st.sampled_from(sorted(ZEROING, key=str)), **NAMED, offset=offsets, size=sizes),
    st.builds(
        Operation,
        st.sampled_from([OperationKind.COMPARE_AND_WRITE]),
        **NAMED,
        offset=offsets,
        size=st.integers(1, WRITE_BYTES_MAX // 2),
    ),
    st.builds(Operation, st.sampled_from([OperationKind.PUT_RECORD]), **NAMED, offset=st.just(0), size=st.just(0)),
)
TIMES = {OperationKind.WRITE: 1, OperationKind.COMPARE_AND_WRITE: 2}


@st.composite
def proposed(draw: st.DrawFn) -> msg.Propose:
    operation = draw(OPERATIONS)
    size = operation.size * TIMES.get(operation.kind, 0)
    if operation.kind is OperationKind.PUT_RECORD:
        size = draw(st.integers(1, RECORDS_BYTES_MAX))
    return msg.Propose(draw(u64), draw(u64), operation, size)


ASSIGNS = st.builds(msg.Assigned, epoch=u64, number=u64, sequence=u64, previous=u64, settled=u64)
NO_EFFECT = [outcome for outcome in Outcome if outcome not in {Outcome.DONE, Outcome.UNKNOWN}]
COPIES = st.builds(msg.CopyData, epoch=u64, sequence=u64, offset=offsets, size=sizes)
REPAIRS = st.builds(msg.RepairData, epoch=u64, sequence=u64, offset=offsets, size=sizes)
BY_KIND: dict[type, st.SearchStrategy[Spoken]] = {
    msg.Standing: st.builds(
        msg.Standing,
        epoch=u64,
        revision=u64,
        phase=st.sampled_from(Phase),
        partner=u64,
        lineage=st.text("0123456789abcdef", max_size=32),
        leads=st.booleans(),
    ),
    msg.Resumed: st.builds(msg.Resumed, epoch=u64, last_sequence=u64),
    msg.MirrorWrite: st.builds(Pushed, WRITES, u32),
    msg.MirrorZeroes: st.builds(Pushed, ZEROES, u32),
    msg.Propose: st.builds(Pushed, proposed(), u32),
    msg.Assigned: st.builds(Pushed, ASSIGNS, u32),
    msg.Completed: st.builds(msg.Completed, epoch=u64, number=u64),
    msg.Unexecuted: st.builds(
        msg.Unexecuted, epoch=u64, number=u64, outcome=st.sampled_from(NO_EFFECT), miscompare_at=u32
    ),
    Kept: st.builds(Kept, epoch=u64, number=u64),
    msg.Applied: st.builds(msg.Applied, epoch=u64, sequence=u64),
    msg.PermitRequest: st.builds(msg.PermitRequest, epoch=u64, number=u64),
    msg.Permit: st.builds(msg.Permit, epoch=u64, number=u64),
    msg.SettledAsked: st.builds(msg.SettledAsked, epoch=u64, sequence=u64),
    msg.Settled: st.builds(msg.Settled, epoch=u64, sequence=u64),
    msg.InDoubt: st.builds(msg.InDoubt, epoch=u64),
    msg.ResyncStart: st.builds(msg.ResyncStart, epoch=u64, proposal=proposals, base_epoch=u64),
    msg.ResyncReady: st.builds(msg.ResyncReady, epoch=u64, base_epoch=u64),
    msg.OwnRange: st.builds(
        msg.OwnRange, epoch=u64, offset=st.integers(0, 1 << 56), size=st.integers(min_value=1, max_value=1 << 56)
    ),
    msg.ResyncBase: st.builds(msg.ResyncBase, epoch=u64, base_epoch=u64),
    msg.Compare: st.builds(msg.Compare, epoch=u64, sequence=u64, offset=offsets, size=sizes, digest=digests),
    msg.Compared: st.builds(msg.Compared, epoch=u64, sequence=u64, equal=st.booleans()),
    msg.CopyData: st.builds(Pushed, COPIES, u32),
    msg.Fetch: st.builds(msg.Fetch, epoch=u64, sequence=u64, offset=offsets, size=sizes),
    msg.RepairData: st.builds(Pushed, REPAIRS, u32),
    msg.Damaged: st.builds(msg.Damaged, epoch=u64, sequence=u64, offset=offsets, size=sizes),
    msg.Seal: st.builds(Pushed, st.builds(msg.Seal, epoch=u64, size=st.integers(0, RECORDS_BYTES_MAX)), u32),
    msg.MirrorRecord: st.builds(Pushed, RECORDS, u32),
    msg.RecordsDiffer: st.builds(msg.RecordsDiffer, epoch=u64, attempt=u64),
    msg.Sealed: st.builds(msg.Sealed, epoch=u64),
    msg.Admitted: st.builds(msg.Admitted, epoch=u64, revision=u64, proposal=proposals),
    msg.Joined: st.builds(msg.Joined, epoch=u64),
    msg.HandoverPrepare: st.builds(msg.HandoverPrepare, epoch=u64, attempt=u64, proposal=proposals, digest=digests),
    msg.HandoverReady: st.builds(Pushed, st.builds(msg.HandoverReady, epoch=u64, attempt=u64), u32),
    msg.HandoverDone: st.builds(msg.HandoverDone, epoch=u64, revision=u64, proposal=proposals),
    msg.Refused: st.builds(msg.Refused, epoch=u64, stale_epoch=u64),
    ComponentsReady: st.builds(ComponentsReady, ready=st.booleans(), taken_s=u32, hold_down_s=u32),
    ResyncLeft: st.builds(ResyncLeft, epoch=u64, left_bytes=u64, bytes_per_s=u64, blocked=st.booleans()),
    Setting: st.builds(
        Setting,
        name=st.text(PRINTABLE, min_size=1, max_size=SETTING_NAME_MAX),
        value=st.text(PRINTABLE, max_size=SETTING_VALUE_MAX),
    ),
    DataFaultTold: st.one_of(
        st.builds(
            DataFaultTold,
            epoch=u64,
            fault=st.just(DataFault.BLOCKS_LOST),
            is_so=st.booleans(),
            offset=offsets,
            size=st.integers(1, 1 << 56),
        ),
        st.builds(
            DataFaultTold,
            epoch=u64,
            fault=st.sampled_from([fault for fault in DataFault if fault is not DataFault.BLOCKS_LOST]),
            is_so=st.booleans(),
            offset=st.just(0),
            size=st.just(0),
        ),
    ),
    Grant: st.builds(Grant, epoch=u64, key=st.binary(min_size=16, max_size=16), size=u32),
}
SPOKEN = st.one_of(*BY_KIND.values())


def test_every_message_of_the_pair_is_tried_here() -> None:
    assert {*msg.Message.__args__, *OfDrivers.__args__} == set(BY_KIND)


@pytest.mark.parametrize("kind", BY_KIND, ids=lambda kind: kind.__name__)
def test_a_message_comes_back_as_it_was_encoded(kind: type) -> None:
    @given(BY_KIND[kind])
    @settings(max_examples=25, deadline=None)
    def check(spoken: Spoken) -> None:
        slot = encode(spoken)
        assert len(slot) == SLOT_BYTES
        assert decode(slot) == spoken

    check()


def test_an_offer_that_does_not_say_from_where_the_source_counts_is_that_of_a_version_before() -> None:
    offer = b"\x07" + (9).to_bytes(8, "little") + b"ab" * 16
    assert encode(msg.ResyncStart(9, "ab" * 16)) == offer.ljust(SLOT_BYTES, b"\0")
    assert decode(offer.ljust(SLOT_BYTES, b"\0")) == msg.ResyncStart(9, "ab" * 16, base_epoch=0)


@given(st.binary(min_size=SLOT_BYTES, max_size=SLOT_BYTES))
def test_garbage_is_a_message_or_refused(slot: bytes) -> None:
    try:
        spoken = decode(slot)
    except RemoteProtocolError:
        return
    assert encode(spoken) == slot


@given(SPOKEN, st.integers(0, SLOT_BYTES - 1), st.integers(1, 255))
@settings(max_examples=250, deadline=None)
def test_a_changed_byte_is_another_message_or_refused(spoken: Spoken, place: int, change: int) -> None:
    slot = bytearray(encode(spoken))
    slot[place] ^= change
    try:
        changed = decode(bytes(slot))
    except RemoteProtocolError:
        return
    assert changed != spoken


@given(SPOKEN)
def test_the_last_byte_is_reserved(spoken: Spoken) -> None:
    with pytest.raises(RemoteProtocolError, match="reserved"):
        decode(encode(spoken)[:-1] + b"\x01")


@pytest.mark.parametrize("size", [0, 1, SLOT_BYTES - 1, SLOT_BYTES + 1])
def test_a_slot_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(b"\x04" * size)


@pytest.mark.parametrize("kind", [0, 37, 255])
def test_a_kind_that_does_not_exist_is_refused(kind: int) -> None:
    with pytest.raises(RemoteProtocolError, match="unknown-type"):
        decode(bytes([kind]) + bytes(SLOT_BYTES - 1))


@pytest.mark.parametrize("phase", [0, 15, 255])
def test_a_phase_that_does_not_exist_is_refused(phase: int) -> None:
    slot = bytearray(encode(msg.Standing(1, 1, Phase.ALONE, 0)))
    slot[17] = phase
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(bytes(slot))


@pytest.mark.parametrize("proposal", ["g" * 32, "\0" * 32, "-" + "1" * 31, " " * 31 + "1"])
def test_a_proposal_that_is_no_number_is_refused(proposal: str) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(encode(msg.Admitted(2, 2, proposal)))
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(encode(msg.ResyncStart(2, proposal)))


@pytest.mark.parametrize(
    ("fault", "offset", "size"), [(1, 0, 0), (1, 1 << 57, 1), (2, 0, 1), (3, 1, 0), (4, 4096, 4096)]
)
def test_a_fault_of_the_data_has_a_place_if_it_is_of_blocks(fault: int, offset: int, size: int) -> None:
    with pytest.raises(RemoteProtocolError, match="out-of-range"):
        decode(encode(DataFaultTold(1, DataFault(fault), True, offset, size)))


@pytest.mark.parametrize("fault", [0, 5, 255])
def test_a_fault_of_the_data_that_does_not_exist_is_refused(fault: int) -> None:
    slot = bytearray(encode(DataFaultTold(1, DataFault.DISK_FAILING, True, 0, 0)))
    slot[9] = fault
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(bytes(slot))


@pytest.mark.parametrize(
    ("place", "what"), [(1, b"\0name"), (1, b"na\nme"), (1, b"\xffname"), (1, bytes(40)), (41, b"va\0lue")]
)
def test_a_setting_that_is_no_text_is_refused(place: int, what: bytes) -> None:
    slot = bytearray(encode(Setting("name", "value")))
    slot[place : place + len(what)] = what
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(bytes(slot))


@pytest.mark.parametrize("truth", [2, 255])
def test_a_truth_value_is_0_or_1(truth: int) -> None:
    slot = bytearray(encode(msg.Compared(1, 1, equal=True)))
    slot[17] = truth
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(bytes(slot))


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 0), (0, WRITE_BYTES_MAX + 1), (0, 2**32 - 1), (OFFSET_MAX + 1, 1), (2**64 - 1, 1)]
)
def test_a_range_that_no_volume_has_is_refused(offset: int, size: int) -> None:
    for spoken in (
        Pushed(msg.MirrorWrite(1, 1, 0, 1, offset, size), 0),
        Pushed(msg.MirrorZeroes(1, 1, 0, 1, offset, size), 0),
        Pushed(msg.CopyData(1, 1, offset, size), 0),
        Pushed(msg.RepairData(1, 1, offset, size), 0),
        msg.Compare(1, 1, offset, size, bytes(32)),
        msg.Fetch(1, 1, offset, size),
        msg.Damaged(1, 1, offset, size),
    ):
        with pytest.raises(RemoteProtocolError, match="out-of-range"):
            decode(encode(spoken))


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, OFFSET_MAX + 1), (OFFSET_MAX + 1, 1), (2**64 - 1, 1)])
def test_an_own_range_that_no_volume_has_is_refused(offset: int, size: int) -> None:
    """One of many blocks: it may be as large as a volume, and no larger."""
    decode(encode(msg.OwnRange(1, OFFSET_MAX, OFFSET_MAX)))
    with pytest.raises(RemoteProtocolError, match="out-of-range"):
        decode(encode(msg.OwnRange(1, offset, size)))


@pytest.mark.parametrize(
    "message",
    [msg.MirrorRecord(1, 1, 0, 1, 0), msg.MirrorRecord(1, 1, 0, 1, RECORDS_BYTES_MAX + 1), msg.Seal(1, 2**32 - 1)],
)
def test_records_of_a_size_that_cannot_be_are_refused(message: PushedMessage) -> None:
    with pytest.raises(RemoteProtocolError, match="out-of-range"):
        decode(encode(Pushed(message, 0)))


@pytest.mark.parametrize(
    "message",
    [
        msg.MirrorWrite(1, 1, 0, 1, 0, 512),
        msg.MirrorZeroes(1, 1, 0, 1, 0, 512),
        msg.CopyData(1, 1, 0, 512),
        msg.RepairData(1, 1, 0, 512),
    ],
)
def test_a_message_that_is_pushed_is_not_sent_without_its_place(message: PushedMessage) -> None:
    with pytest.raises(LocalProtocolError):
        encode(message)


def test_the_key_of_a_grant_shows_in_no_log() -> None:
    assert "key" not in repr(Grant(1, b"0123456789abcdef", 4096))
    assert attrs.fields(Grant).key.repr is False


PROPOSAL = msg.Propose(4, 1, Operation(OperationKind.WRITE, 1, 1, 0, 4096), 4096)


@pytest.mark.parametrize(
    "changed",
    [
        attrs.evolve(PROPOSAL, operation=attrs.evolve(PROPOSAL.operation, kind=OperationKind.READ)),
        attrs.evolve(PROPOSAL, operation=attrs.evolve(PROPOSAL.operation, kind=OperationKind.REPAIR_HERE)),
        attrs.evolve(PROPOSAL, operation=attrs.evolve(PROPOSAL.operation, kind=OperationKind.UNMAP)),
        attrs.evolve(PROPOSAL, operation=attrs.evolve(PROPOSAL.operation, kind=OperationKind.COMPARE_AND_WRITE)),
        attrs.evolve(PROPOSAL, operation=attrs.evolve(PROPOSAL.operation, offset=OFFSET_MAX + 1)),
        attrs.evolve(PROPOSAL, operation=attrs.evolve(PROPOSAL.operation, size=0), size=0),
        attrs.evolve(PROPOSAL, size=4095),
        msg.Propose(4, 1, Operation(OperationKind.PUT_RECORD, 1, 1, 0, 0), 0),
        msg.Propose(4, 1, Operation(OperationKind.PUT_RECORD, 1, 1, 0, 0), RECORDS_BYTES_MAX + 1),
    ],
)
def test_what_cannot_be_proposed_is_refused(changed: msg.Propose) -> None:
    assert decode(encode(Pushed(PROPOSAL, 0))) == Pushed(PROPOSAL, 0)
    with pytest.raises(RemoteProtocolError):
        decode(encode(Pushed(changed, 0)))


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.UNKNOWN])
def test_an_end_without_effect_says_no_other_end(outcome: Outcome) -> None:
    with pytest.raises(RemoteProtocolError, match="no end without an effect"):
        decode(encode(msg.Unexecuted(4, 1, outcome, 0)))
