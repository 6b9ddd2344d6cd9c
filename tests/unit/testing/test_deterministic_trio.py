import re
from pathlib import Path
from random import Random
from typing import cast

import pytest
import trio

import ctlha_trio
from ctlha_trio.testing._pairs import deterministic_trio
from ctlha_trio.testing._pairs.deterministic_trio import SHUFFLER, SWITCH, run_from_seed, scheduler, scheduling_from

TASKS = 20


def order_of_tasks(seed: int) -> list[int]:
    order: list[int] = []

    async def note(number: int) -> None:
        await trio.lowlevel.checkpoint()
        order.append(number)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(note, number)

    run_from_seed(seed, run)
    return order


def test_trio_still_has_the_switch_and_the_source_that_this_rests_on() -> None:
    assert scheduler().__dict__[SWITCH] in {True, False}
    assert isinstance(scheduler().__dict__[SHUFFLER], Random)


def test_the_order_of_tasks_is_that_of_the_seed() -> None:
    orders = [order_of_tasks(seed) for seed in (1, 2, 3)]
    assert [order_of_tasks(seed) for seed in (1, 2, 3)] == orders
    assert len({tuple(order) for order in orders}) == len(orders)
    assert all(sorted(order) == list(range(TASKS)) for order in orders)


def test_time_is_virtual_and_begins_at_zero() -> None:
    async def sleep() -> tuple[float, float]:
        began_s = trio.current_time()
        await trio.sleep(80_000.0)
        return began_s, trio.current_time()

    assert run_from_seed(1, sleep) == (0.0, 80_000.0)


def test_everything_is_put_back_afterwards() -> None:
    was = scheduler().__dict__[SWITCH], scheduler().__dict__[SHUFFLER].getstate()
    with pytest.raises(KeyError), scheduling_from(1):
        raise KeyError
    assert (scheduler().__dict__[SWITCH], scheduler().__dict__[SHUFFLER].getstate()) == was


def test_what_is_no_seed_is_refused() -> None:
    with pytest.raises(TypeError, match="the seed is 'x': give a whole number"):
        order_of_tasks(cast("int", "x"))


@pytest.mark.parametrize("name", [SWITCH, SHUFFLER])
def test_a_trio_without_them_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(scheduler(), name)
    with pytest.raises(RuntimeError, match="that can be seeded"), scheduling_from(1):
        pytest.fail("the block was entered")


def test_a_trio_without_that_module_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deterministic_trio, "scheduler", lambda: None)
    with pytest.raises(RuntimeError, match="that can be seeded"), scheduling_from(1):
        pytest.fail("the block was entered")


TOUCHES = re.compile(rf"{SWITCH}|_core\._run|trio\._core|\bSWITCH\b|\bSHUFFLER\b|\b_run\.{SHUFFLER}\b|\bscheduler\(\)")
"""The switch, the module that it is in, or the shuffler, by its own name or by those that they have here."""


def test_no_other_module_touches_them() -> None:
    files = [*Path(ctlha_trio.__file__).parent.rglob("*.py"), *Path(__file__).parents[2].rglob("*.py")]
    touching = {file for file in files if TOUCHES.search(file.read_text(encoding="utf-8"))}
    assert touching == {Path(deterministic_trio.__file__), Path(__file__)}
