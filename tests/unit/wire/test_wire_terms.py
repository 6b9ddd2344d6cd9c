"""The terms of a session: their bytes, and who cannot keep those of the other."""

import attrs
import pytest
from hypothesis import given, strategies as st

from ctlha_trio._errors import RemoteProtocolError
from ctlha_trio.wire import (
    FRAGMENT_SIZE_MAX,
    FRAGMENT_SIZE_MIN,
    MANDATORY,
    OWN_TERMS,
    Fault,
    Feature,
    Refusal,
    Terms,
    agree_terms,
    decode_terms,
    encode_terms,
    judge_terms,
)

terms = st.builds(Terms, st.integers(0, 2**64 - 1), st.integers(FRAGMENT_SIZE_MIN, 2**32 - 1))
UNKNOWN_OPTIONAL, UNKNOWN_MANDATORY = 1 << 31, 1 << 63


@given(terms)
def test_terms_survive_the_way(one: Terms) -> None:
    assert decode_terms(encode_terms(one)) == one


@given(terms, terms)
def test_both_sides_come_to_the_same(one: Terms, other: Terms) -> None:
    assert judge_terms(one, other) is judge_terms(other, one)
    assert agree_terms(one, other) == agree_terms(other, one)


@pytest.mark.parametrize(
    ("features", "refusal"),
    [
        (0, None),
        (UNKNOWN_OPTIONAL, None),
        (OWN_TERMS.features | UNKNOWN_OPTIONAL, None),
        (OWN_TERMS.features | UNKNOWN_MANDATORY, Refusal.FEATURE),
        (1 << 32, Refusal.FEATURE),
    ],
)
def test_who_demands_what_is_unknown_is_refused(features: int, refusal: Refusal | None) -> None:
    assert judge_terms(OWN_TERMS, attrs.evolve(OWN_TERMS, features=features)) is refusal


def test_who_does_not_do_what_is_demanded_is_refused() -> None:
    assert judge_terms(attrs.evolve(OWN_TERMS, features=UNKNOWN_MANDATORY), OWN_TERMS) is Refusal.FEATURE


def test_both_do_what_both_can_and_send_what_both_take() -> None:
    agreed = agree_terms(OWN_TERMS, Terms(OWN_TERMS.features | UNKNOWN_OPTIONAL, FRAGMENT_SIZE_MAX - 1))
    assert agreed == Terms(OWN_TERMS.features, FRAGMENT_SIZE_MAX - 1)
    assert agreed.has(Feature.HEARTBEAT_LATENESS)
    assert not agree_terms(OWN_TERMS, Terms(UNKNOWN_OPTIONAL, 1 << 30)).has(Feature.HEARTBEAT_LATENESS)
    assert agree_terms(OWN_TERMS, Terms(0, 1 << 30)).fragment_size == FRAGMENT_SIZE_MAX


@pytest.mark.parametrize("fragment_size", [0, 1, FRAGMENT_SIZE_MIN - 1])
def test_who_takes_next_to_nothing_at_once_is_refused(fragment_size: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_terms(encode_terms(Terms(0, fragment_size)))
    assert caught.value.reason == Fault.TERMS


def test_every_feature_is_in_one_half() -> None:
    assert not Feature.HEARTBEAT_LATENESS & MANDATORY, "the other side may be of a version that has none"
