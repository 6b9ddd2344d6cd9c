"""The hello: its bytes, and who is refused."""

import attrs
import pytest
from hypothesis import given, strategies as st

from ctlha_trio._errors import InvalidError, RemoteProtocolError
from ctlha_trio.wire import (
    HELLO_SIZE_MAX,
    WORD_SIZE_MAX,
    Fault,
    Hello,
    KnownRecord,
    Refusal,
    ResourceState,
    agreed_version,
    decode_hello,
    decode_reason,
    decode_refusal,
    encode_hello,
    encode_reason,
    encode_refusal,
    judge_hello,
    session_id,
)

OWN = Hello(cluster="c", node="a", incarnation=1, session_half=2, resources=(ResourceState("volume", 3, 4),))
THEIRS = attrs.evolve(OWN, node="b", incarnation=5, session_half=6)

names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=60)
u64 = st.integers(0, 2**64 - 1)
hellos = st.builds(
    Hello,
    cluster=names,
    node=names,
    incarnation=u64,
    session_half=st.integers(1, 2**32 - 1),
    resources=st.lists(
        st.builds(
            ResourceState, names, u64, u64, u64, st.none() | st.builds(KnownRecord, names, u64, u64, st.booleans())
        ),
        max_size=6,
        unique_by=lambda state: state.name,
    ).map(tuple),
)


@given(hellos)
def test_a_hello_survives_the_way(hello: Hello) -> None:
    assert decode_hello(encode_hello(hello)) == hello


@given(st.binary(max_size=200))
def test_any_bytes_give_a_hello_or_a_remote_error(data: bytes) -> None:
    try:
        hello = decode_hello(data)
    except RemoteProtocolError as error:
        reason = error.reason
    else:
        assert encode_hello(hello) == data
        return
    assert reason == Fault.HELLO


def test_a_hello_cut_anywhere_is_refused() -> None:
    data = encode_hello(OWN)
    for size in range(len(data)):
        with pytest.raises(RemoteProtocolError):
            decode_hello(data[:size])
    with pytest.raises(RemoteProtocolError):
        decode_hello(data + b"\0")


def test_the_longest_hello_fits() -> None:
    knows = KnownRecord("l" * 255, 2**64 - 1, 2**64 - 1, leads=True)
    state = ResourceState("", 2**64 - 1, 2**64 - 1, 2**64 - 1, knows)
    resources = tuple(attrs.evolve(state, name=f"{number}" * 255) for number in range(6))
    hello = attrs.evolve(OWN, cluster="c" * 255, node="n" * 255, resources=resources)
    assert len(encode_hello(hello)) <= HELLO_SIZE_MAX
    assert decode_hello(encode_hello(hello)) == hello


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128])
def test_a_name_that_cannot_be_sent_is_the_callers_fault(name: str) -> None:
    with pytest.raises(InvalidError):
        encode_hello(attrs.evolve(OWN, node=name))


@pytest.mark.parametrize(
    "hello",
    [
        attrs.evolve(OWN, session_half=0),
        attrs.evolve(OWN, version_min=0),
        attrs.evolve(OWN, version_min=3, version_max=2),
        attrs.evolve(OWN, node="a\nb"),
        attrs.evolve(OWN, resources=(ResourceState("v", 1, 1), ResourceState("v", 2, 2))),
    ],
)
def test_a_hello_that_makes_no_sense_is_refused(hello: Hello) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_hello(encode_hello(hello))
    assert caught.value.reason == Fault.HELLO


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({}, None),
        ({"node": "a"}, Refusal.SAME_NODE),
        ({"cluster": "d"}, Refusal.FOREIGN_CLUSTER),
        ({"node": "z"}, Refusal.WRONG_PEER),
        ({"version_min": 3, "version_max": 4}, Refusal.VERSION),
        ({"version_min": 2, "version_max": 3}, None),
        ({"version_min": 1, "version_max": 1}, None),
        ({"version_min": 1, "version_max": 9}, None),
        ({"resources": ()}, Refusal.RESOURCE),
        ({"resources": (ResourceState("other", 3, 4),)}, Refusal.RESOURCE),
        ({"resources": (ResourceState("volume", 1, 1),)}, None),
        ({"resources": (ResourceState("volume", 3, 4, 4096),)}, Refusal.SIZE),
    ],
)
def test_who_is_refused(change: dict[str, object], refusal: Refusal | None) -> None:
    theirs = attrs.evolve(THEIRS, **change)  # type: ignore[arg-type]
    assert judge_hello(OWN, theirs, peer="b", resource="volume") is refusal


@pytest.mark.parametrize(("newest", "agreed"), [(1, 1), (2, 2), (9, 2)])
def test_both_sides_agree_on_the_newest_version_that_both_speak(newest: int, agreed: int) -> None:
    theirs = attrs.evolve(THEIRS, version_max=newest)
    assert agreed_version(OWN, theirs) == agreed_version(theirs, OWN) == agreed


def test_a_session_is_made_of_both_halves() -> None:
    one = session_id(dialler_half=1, acceptor_half=2)
    assert one != session_id(dialler_half=2, acceptor_half=1)
    assert one != session_id(dialler_half=1, acceptor_half=3)
    assert session_id(dialler_half=2**32 - 1, acceptor_half=2**32 - 1) == 2**64 - 1


WORDS_OF_VERSION_1 = {
    *("same-node", "foreign-cluster", "wrong-peer", "version", "resource", "size", "simultaneous", "malformed"),
    *("stopping", "disk-hangs", "twin"),
}


@pytest.mark.parametrize("refusal", Refusal)
def test_version_1_is_told_words_that_it_knows(refusal: Refusal) -> None:
    word, own = decode_refusal(encode_refusal(refusal, OWN, version=1))
    assert own == OWN
    assert word in WORDS_OF_VERSION_1
    assert word == refusal or refusal not in WORDS_OF_VERSION_1
    assert decode_refusal(encode_refusal(refusal, version=2)) == (refusal, None)


def test_a_word_that_a_later_version_may_know_is_a_refusal() -> None:
    assert decode_refusal(b"because-of-the-moon") == ("because-of-the-moon", None)
    assert decode_refusal(b"x" * WORD_SIZE_MAX + b"\0" + encode_hello(OWN)) == ("x" * WORD_SIZE_MAX, OWN)


def test_reasons_are_words_for_refusals_and_one_line_for_goodbyes() -> None:
    for refusal in Refusal:
        assert decode_refusal(encode_refusal(refusal)) == (refusal, None)
        assert decode_refusal(encode_refusal(refusal, OWN)) == (refusal, OWN)
    no_words = (b"", b"x" * (WORD_SIZE_MAX + 1), b"two lines", b"slow\n", b"\x1b[2J", b"Slow", b"-", b"\xff")
    for data in (*no_words, b"stopping\0", b"stopping\0" + encode_hello(OWN)[:-1]):
        with pytest.raises(RemoteProtocolError):
            decode_refusal(data)
    assert decode_reason(encode_reason("store failed")) == "store failed"
    assert decode_reason(encode_reason("é" * 200)) == "é" * 128
    for data in (b"\xff", b"two\nlines", b"\x1b[2J"):
        with pytest.raises(RemoteProtocolError):
            decode_reason(data)


@pytest.mark.parametrize(
    ("reason", "heard"),
    [
        ("maintenance\nrack 5", "maintenance?rack 5"),
        ("\x1b[2J", "?[2J"),
        ("x\ud800", "x?"),
        ("\u2028", "?"),
        ("\0" * 300, "?" * 256),
        ("", ""),
    ],
)
def test_whatever_a_goodbye_is_for_it_can_be_sent(reason: str, heard: str) -> None:
    assert decode_reason(encode_reason(reason)) == heard
