"""What comes again and again is told when it changes, then rarely."""

from ctlha_trio._repeats import KINDS_MAX, REPEAT_S, Repeats


def test_what_stays_as_it_is_is_told_once_then_rarely_with_its_count() -> None:
    repeats = Repeats()
    assert repeats.came(0.0, "full") == "full"
    assert [repeats.came(now_s, "full") for now_s in (1.0, REPEAT_S - 1.0)] == [None, None]
    assert repeats.came(REPEAT_S, "full") == "full, 2 times since it was last said"
    assert repeats.came(REPEAT_S + 1.0, "full") is None


def test_another_text_is_told_at_once_and_without_the_count_of_the_one_before() -> None:
    repeats = Repeats()
    repeats.came(0.0, "full")
    repeats.came(1.0, "full")
    assert repeats.came(2.0, "locked") == "locked"
    assert repeats.came(3.0, "full") == "full"


def test_kinds_are_told_apart_and_one_that_has_ended_is_told_anew() -> None:
    repeats = Repeats()
    assert [repeats.came(0.0, "full", kind=kind) for kind in "ab"] == ["full", "full"]
    repeats.ended("a")
    assert [repeats.came(1.0, "full", kind=kind) for kind in "ab"] == ["full", None]
    repeats.forget()
    assert [repeats.came(2.0, "full", kind=kind) for kind in "ab"] == ["full", "full"]


def test_so_many_kinds_are_remembered_and_no_more() -> None:
    repeats = Repeats()
    for kind in range(KINDS_MAX):
        repeats.came(0.0, "full", kind=kind)
    assert repeats.came(0.0, "full", kind=0) is None
    repeats.came(0.0, "full", kind=KINDS_MAX)
    assert repeats.came(0.0, "full", kind=0) == "full"
