"""Bytes flipped in the backing files of a pair that runs: what clients read, and what ``ctlha verify`` makes of it."""

from pathlib import Path
from typing import Final

import trio

from ctlha_trio.pair import OperationKind, Outcome
from ctlha_trio.store import BLOCK_BYTES, Layout, read_volume
from ctlha_trio.testing._processes.hand_pair import NODES, OTHER, SIZE_BYTES, HandPair, run_ctlha

CONTENT: Final = bytes(range(1, 129)) * (SIZE_BYTES // 128)


def flip(volume: Path, offset: int) -> None:
    """One bit of the volume's byte there."""
    with volume.open("r+b") as file:
        file.seek(Layout(SIZE_BYTES).file_offset(offset))
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def volume_of(pair: HandPair, node: str) -> bytes:
    return b"".join(data for _, data in read_volume(str(pair.volume(node)), size_bytes=SIZE_BYTES))


async def test_flipped_bytes_are_repaired_by_reads_and_by_verify(protected_pair: HandPair) -> None:
    pair = protected_pair
    here = await pair.primary()
    there = OTHER[here]
    async with trio.open_nursery() as nursery:
        client = await pair.connect(here, 1, nursery)
        assert (await client.execute(OperationKind.WRITE, number=1, data=CONTENT)).outcome is Outcome.DONE
        flip(pair.volume(here), 5 * BLOCK_BYTES + 100)
        reply = await client.execute(OperationKind.READ, number=2, offset=5 * BLOCK_BYTES, size=BLOCK_BYTES)
        assert (reply.outcome, reply.data) == (Outcome.DONE, CONTENT[:BLOCK_BYTES])
        status = await pair.status(here)
        assert (status["verdict"], status["repaired_blocks"], status["verification"]) == ("protected", 1, None)

        flip(pair.volume(here), 9 * BLOCK_BYTES)
        flip(pair.volume(there), 200 * BLOCK_BYTES + 7)
        verified = await run_ctlha("verify", pair.config(here))
        assert (verified.code, verified.err) == (0, "")
        *found, end = verified.out.splitlines()
        assert sorted(found) == [
            f"repaired: {BLOCK_BYTES} bytes at {9 * BLOCK_BYTES} of node {here}, from the other copy",
            f"repaired: {BLOCK_BYTES} bytes at {200 * BLOCK_BYTES} of node {there}, from the other copy",
        ]
        assert end.startswith(f"compared {SIZE_BYTES} of {SIZE_BYTES} bytes in ")
        assert end.endswith(f"; {2 * BLOCK_BYTES} bytes were repaired; both copies are equal")

        for node in NODES:
            flip(pair.volume(node), 17 * BLOCK_BYTES)
        reply = await client.execute(OperationKind.READ, number=3, offset=17 * BLOCK_BYTES, size=512)
        assert (reply.outcome, bytes(reply.data)) == (Outcome.MEDIUM_ERROR, b"")
        verified = await run_ctlha("verify", pair.config(here))
        assert verified.code == 1
        assert f"unreadable: {BLOCK_BYTES} bytes at {17 * BLOCK_BYTES}: damaged on both copies" in verified.out
        for node in NODES:
            asked = await run_ctlha("status", pair.config(node))
            assert asked.out.startswith("degraded: medium-error\n")
            assert f"  {BLOCK_BYTES} bytes are damaged on every copy that counts\n" in asked.out
        whole = CONTENT[:BLOCK_BYTES]
        reply = await client.execute(OperationKind.WRITE, number=4, offset=17 * BLOCK_BYTES, data=whole)
        assert reply.outcome is Outcome.DONE
        await pair.wait_protected()
        client.close()
        nursery.cancel_scope.cancel()
    for node in NODES:
        await pair.end(node, 15)
    assert volume_of(pair, "a") == volume_of(pair, "b") == CONTENT


async def test_verify_says_what_it_would_do_and_who_can_do_it(hand_pair: HandPair) -> None:
    silent = await run_ctlha("verify", hand_pair.config("a"))
    assert (silent.code, silent.out) == (2, "")
    socket = hand_pair.config("a").parent / "status.sock"
    assert silent.err.splitlines() == [
        f"{hand_pair.config('a')}: {socket}: no node listens there: No such file or directory",
        f"  if it does not run, start it: ctlha node {hand_pair.config('a')}",
    ]
    await hand_pair.start_protected()
    primary = await hand_pair.primary()
    for options in ((), ("--dry-run",)):
        refused = await run_ctlha("verify", hand_pair.config(OTHER[primary]), *options)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.splitlines() == [
            "this node is not the primary of two members in sync",
            f"  node {primary} is the primary: there, ctlha verify <its node.toml>",
        ]
    shown = await run_ctlha("verify", hand_pair.config(primary), "--dry-run")
    assert shown.code == 0
    assert f"node {primary}: reads {SIZE_BYTES} bytes of its copy" in shown.out
    assert shown.out.endswith("nothing was read: --dry-run\n")
    assert (await hand_pair.status(primary))["verification"] is None
