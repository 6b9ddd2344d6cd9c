"""``ctlha`` whose nodes acknowledge every seventh write without doing it."""

from itertools import count

import trio

from ctlha_trio.cli import main
from ctlha_trio.ha import Answer, Node
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.seams import Buffer

EVERY = 7
"""So many that whenever a reader looks, the last write of some block is one of them."""

_submit = Node.submit
_writes = count(1)


async def submit(
    self: Node,
    kind: OperationKind,
    *,
    client: int,
    number: int,
    offset: int = 0,
    size: int = 0,
    data: Buffer = b"",
    key: str = "",
) -> Answer:
    if kind is OperationKind.WRITE and next(_writes) % EVERY == 0:
        await trio.lowlevel.checkpoint()
        return Answer(Outcome.DONE)
    return await _submit(self, kind, client=client, number=number, offset=offset, size=size, data=data, key=key)


Node.submit = submit  # type: ignore[method-assign]
main(prog_name="ctlha")
