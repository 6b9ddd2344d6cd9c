"""A caller that is cancelled abandons the answer and not the step, wherever the step is at that moment."""

import trio

from ctlha_trio.seams import Buffer
from ctlha_trio.store import BlockStore
from ctlha_trio.store._commit_loop import CommitLoop
from ctlha_trio.store._queue import PersistStep, Step, StepQueue, WriteStep
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

BLOCKS = "store/test_store_blocks"


@mutant(
    50, f"{BLOCKS}::test_cancelled_writer_abandons_the_answer_and_not_the_step", "assert await store.read(BLOCK_BYTES"
)
def takes_back_a_step_that_nobody_waits_for(patch: Patch) -> None:
    plain = StepQueue.complete

    async def complete(queue: StepQueue, step: Step) -> None:
        try:
            await plain(queue, step)
        except trio.Cancelled:
            queue._queued = [each for each in queue._queued if each is not step]
            raise

    patch.setattr(StepQueue, "complete", complete)


@mutant(
    50, f"{BLOCKS}::test_cancelled_writer_abandons_the_answer_and_not_the_step", "assert await store.read(BLOCK_BYTES"
)
def writes_what_is_in_the_buffer_of_who_was_cancelled(patch: Patch) -> None:
    async def write(store: BlockStore, offset: int, data: Buffer, *, repairs: bool) -> None:
        await store._queue.complete(WriteStep(offset=offset, data=data, repairs=repairs))

    patch.setattr(BlockStore, "_write", write)


@mutant(50, f"{BLOCKS}::test_cancelled_persist_is_carried_out", "assert store.metadata == NEW")
def knows_of_metadata_only_if_somebody_waits_for_it(patch: Patch) -> None:
    """It is durable, and the process goes on with what was before."""
    complete, commit = StepQueue.complete, CommitLoop._commit_metadata
    abandoned: list[Step] = []

    async def wait(queue: StepQueue, step: Step) -> None:
        try:
            await complete(queue, step)
        except trio.Cancelled:
            abandoned.append(step)
            raise

    async def forget(loop: CommitLoop, step: PersistStep) -> None:
        before = loop.slot, loop._slot_index
        await commit(loop, step)
        if step in abandoned:
            loop.slot, loop._slot_index = before

    patch.setattr(StepQueue, "complete", wait)
    patch.setattr(CommitLoop, "_commit_metadata", forget)
