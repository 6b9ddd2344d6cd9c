"""Whether what clients were told can be true of blocks that hold one value each: linearizability, block by block."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ctlha_trio._errors import InvalidError
from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.testing._history.linearizability_clusters import decide_unique, find_impossible_read
from ctlha_trio.testing._history.linearizability_records import NOT_EXECUTED, ZEROS, ClientOperation, Verdict
from ctlha_trio.testing._history.linearizability_search import STEPS_MAX, SearchEnd, search_order


def check_linearizability(operations: Iterable[ClientOperation], *, steps_max: int = STEPS_MAX) -> Verdict:
    """Check whether each block's operations have an order that explains every answer.

    Each must take effect at one moment between its call and its return. A write of unknown outcome may also never take
    effect, one that was said not to have been executed must not; a read that was not answered says nothing. Blocks are
    independent of each other, so that a write on several of them may be seen on some first.

    A compare-and-write that is done found what it expected at that moment, and one that miscompared something else.

    Where every write of a block has a value of its own, which is not zero, and none compares, the answer takes time in
    the order of n log n. Elsewhere orders are searched, with at most ``steps_max`` steps for a block. ``InvalidError``
    for times that are none, such as a return before the call.
    """
    blocks: dict[int, list[ClientOperation]] = defaultdict(list)
    for operation in operations:
        if not operation.called <= operation.returned:
            raise InvalidError(f"no operation was called at {operation.called} and over at {operation.returned}")
        blocks[operation.block].append(operation)
    ends = {block: _decide(block, each, steps_max) for block, each in sorted(blocks.items())}
    return Verdict(
        violations=tuple(end.violation for end in ends.values() if end.violation),
        undecided=tuple(block for block, end in ends.items() if not end.decided),
        steps=sum(end.steps for end in ends.values()),
    )


def _decide(block: int, operations: Sequence[ClientOperation], steps_max: int) -> SearchEnd:
    writes = [each for each in operations if each.kind is not OperationKind.READ]
    reads = [each for each in operations if each.kind is OperationKind.READ and each.outcome is Outcome.DONE]
    values = {ZEROS} | {write.value for write in writes}
    compares = any(each.kind is OperationKind.COMPARE_AND_WRITE for each in writes)
    if len(values) == len(writes) + 1 and not compares:
        return SearchEnd(0, violation=decide_unique(block, writes, reads))
    return _search(writes, reads, steps_max)


def _search(writes: Sequence[ClientOperation], reads: Sequence[ClientOperation], steps_max: int) -> SearchEnd:
    changing = [write for write in writes if write.outcome not in NOT_EXECUTED]
    possible = {ZEROS} | {write.value for write in changing}
    by_value = {write.value: write for write in writes}
    for read in reads:
        if read.value not in possible:
            return SearchEnd(0, violation=find_impossible_read(by_value.get(read.value), read))
    miscompares = [write for write in writes if write.outcome is Outcome.MISCOMPARE]
    return search_order([*changing, *miscompares, *reads], steps_max)
