"""The clients of the tests with real faults find nodes that lie."""

from pathlib import Path

import pytest
import trio

from ctlha_trio.testing._hand_pair import START_S, HandPair
from ctlha_trio.testing._outside_clients import outside_clients

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("script", ["forging_node.py", "eager_node.py"])
async def test_a_node_that_lies_is_found(hand_pair: HandPair, script: str) -> None:
    await hand_pair.start_protected((str(Path(__file__).parent / script),))
    contradiction = pytest.RaisesExc(AssertionError, match=r"^block \d+: ")
    with pytest.RaisesGroup(contradiction, flatten_subgroups=True), trio.fail_after(START_S):
        async with outside_clients(hand_pair):
            await trio.sleep_forever()
