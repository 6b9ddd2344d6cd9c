from typing import Any

import pytest
from trio.testing import MockClock

from ctlha_trio import InvalidError
from ctlha_trio.pair import FLIGHTS_LIMIT, OperationKind
from ctlha_trio.testing import open_pair


@pytest.mark.parametrize(
    "wrong", [{"client": 2**64}, {"client": -1}, {"client": True}, {"number": None}, {"number": 2**64}]
)
@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_client_or_number_that_cannot_be_one_takes_no_place(
    autojump_clock: MockClock, name: str, wrong: dict[str, Any]
) -> None:
    async with open_pair() as pair:
        node = pair.nodes[name]
        for _ in range(FLIGHTS_LIMIT + 1):
            with pytest.raises(InvalidError):
                await node.submit(
                    OperationKind.WRITE, **({"client": 1, "number": 1} | wrong), size=512, data=bytes(512)
                )
        for each in pair.nodes.values():
            await each.volume.write(0, b"y" * 512)
            await each.volume.flush()
            assert await each.volume.read(0, 512) == b"y" * 512
