"""Bugs put into the drivers, each of which the runs of whole nodes must find: what they check, they can see."""

import re
from collections.abc import Callable
from contextlib import suppress

import attrs
import pytest
import trio

from ctlha_trio._errors import StoreError
from ctlha_trio.ha import _disk_work, _pair_driver
from ctlha_trio.ha._disk_watch import DiskWatch
from ctlha_trio.ha._disk_work import DiskWork
from ctlha_trio.ha._pair_driver import PairDriver
from ctlha_trio.ha._timers import Timers
from ctlha_trio.pair import Metadata, Phase, SwapOutcome, _service as service, actions, events
from ctlha_trio.store._watched_file import WatchedFile
from ctlha_trio.testing._drivers.runs import run_driver_seed

SEEDS_MAX = 40
"""So many are run until one finds the bug. The first is one that did when this was written, which saves time."""

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_the_flush(patch: pytest.MonkeyPatch) -> None:
    async def forget(_: WatchedFile) -> None:
        await trio.lowlevel.checkpoint()

    patch.setattr(WatchedFile, "flush", forget)


def swallow_the_errors_of_the_disk(patch: pytest.MonkeyPatch) -> None:
    def write(work: DiskWork, sequence: int, offset: int, data: bytes) -> None:
        async def store() -> None:
            with suppress(StoreError):
                await work._store.write(offset, data)
            work._feed(events.Stored(sequence))

        work._nursery.start_soon(store)

    patch.setattr(DiskWork, "write", write)
    patch.setattr(PairDriver, "_store_failed", lambda *_: None)


def serve_before_the_epoch_is_durable(patch: pytest.MonkeyPatch) -> None:
    persist = DiskWork.persist

    def hurry(work: DiskWork, metadata: Metadata) -> None:
        persist(work, metadata)
        work._feed(events.Persisted(metadata))

    patch.setattr(DiskWork, "persist", hurry)


def take_an_unknown_swap_for_a_refused_one(patch: pytest.MonkeyPatch) -> None:
    feed = PairDriver.feed

    def misread(driver: PairDriver, event: events.Event) -> None:
        if isinstance(event, events.Swapped) and event.outcome is SwapOutcome.UNKNOWN:
            event = attrs.evolve(event, outcome=SwapOutcome.REFUSED)
        feed(driver, event)

    patch.setattr(PairDriver, "feed", misread)


def never_copy_what_differs(patch: pytest.MonkeyPatch) -> None:
    def compare(driver: PairDriver, action: actions.CompareRange) -> None:
        driver.feed(events.RangeCompared(action.session, action.sequence, equal=True))

    patch.setattr(PairDriver, "_compare", compare)


def answer_a_read_with_what_was_read_before(patch: pytest.MonkeyPatch) -> None:
    read = DiskWork.read
    seen: dict[int, bytes] = {}

    def remember(work: DiskWork, offset: int, size: int, done: Callable[[bytes], None]) -> None:
        read(work, offset, size, lambda data: done(seen.setdefault(offset, data).ljust(size, b"\0")[:size]))

    patch.setattr(DiskWork, "read", remember)


def take_a_suspended_machine_for_a_hung_disk(patch: pytest.MonkeyPatch) -> None:
    def look(watch: DiskWatch, passed_s: float) -> None:
        call_s = watch._oldest_call_s()
        watch._seen_s = 0.0 if call_s is None else watch._clock.now() - call_s

    patch.setattr(DiskWatch, "_look", look)


def ask_the_arbiter_at_each_write(patch: pytest.MonkeyPatch) -> None:
    write = DiskWork.write

    def ask(work: DiskWork, sequence: int, offset: int, data: bytes) -> None:
        driver = work._feed.__self__  # type: ignore[attr-defined]
        driver._arbiter.call(actions.ReadRecord())
        write(work, sequence, offset, data)

    patch.setattr(DiskWork, "write", ask)


def answer_while_nobody_follows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(service, "_ENDING", service._ENDING | {Phase.SUSPENDED})


def never_go_on_alone(patch: pytest.MonkeyPatch) -> None:
    start = Timers.set

    def forget_claims(timers: Timers, timer: events.Timer, delay_s: float) -> None:
        if timer is not events.Timer.CLAIM:
            start(timers, timer, delay_s)

    patch.setattr(Timers, "set", forget_claims)


def believe_an_arbiter_that_went_back(patch: pytest.MonkeyPatch) -> None:
    feed = PairDriver.feed

    def overlook(driver: PairDriver, event: events.Event) -> None:
        if isinstance(event, events.RecordRead) and event.revision < driver.state.revision:
            event = events.ReadFailed()
        feed(driver, event)

    patch.setattr(PairDriver, "feed", overlook)


def write_no_zeroes_for_the_primary(patch: pytest.MonkeyPatch) -> None:
    carry_out = PairDriver._carry_out

    def skip(driver: PairDriver, action: actions.Action) -> None:
        if isinstance(action, actions.StoreZeroes):
            driver.feed(events.Stored(action.sequence))
        else:
            carry_out(driver, action)

    patch.setattr(PairDriver, "_carry_out", skip)


def find_everything_as_expected(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_pair_driver, "first_difference", lambda *_: None)


def tell_a_place_that_does_not_differ(patch: pytest.MonkeyPatch) -> None:
    plain = _disk_work.first_difference

    def mistake(found: bytes, expected: bytes) -> int | None:
        return None if plain(found, expected) is None else len(found) - 1

    patch.setattr(_pair_driver, "first_difference", mistake)


def keep_the_records_of_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DiskWork, "replace_records", lambda *_: None)


@pytest.mark.parametrize(
    ("plant", "first_seed", "found"),
    [
        (acknowledge_before_the_flush, 1000, r"^I2: .* not durable"),
        (swallow_the_errors_of_the_disk, 1000, r"^I2: .* not durable"),
        (serve_before_the_epoch_is_durable, 1000, r"^I2: .* its disk is still in"),
        (take_an_unknown_swap_for_a_refused_one, 1007, r"^I2: .* not durable"),
        (never_copy_what_differs, 1000, r"^I(7|10): "),
        (answer_a_read_with_what_was_read_before, 1000, r"^I3: "),
        (take_a_suspended_machine_for_a_hung_disk, 2007, r"^node . stopped: store-failed"),
        (ask_the_arbiter_at_each_write, 1000, r"^I11: "),
        (answer_while_nobody_follows, 1018, r"^I8: "),
        (never_go_on_alone, 1006, r"^I12: "),
        (write_no_zeroes_for_the_primary, 1000, r"^I2: .* not durable"),
        (keep_the_records_of_before, 1000, r"^I(2|3|7|10): "),
        (find_everything_as_expected, 1000, r"^I3: "),
        (tell_a_place_that_does_not_differ, 1000, r"^I3: "),
        (believe_an_arbiter_that_went_back, 1046, r"^I15: "),
    ],
)
def test_a_planted_bug_is_found(plant: Plant, first_seed: int, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    seeds = range(first_seed, first_seed + SEEDS_MAX)
    failures = (report.failure for report in map(run_driver_seed, seeds) if report.failure)
    failure = next(failures, "")
    assert re.match(found, failure), failure or f"{SEEDS_MAX} seeds did not find it"
