"""Comparing a whole copy, offline, with what the demo wrote."""

from pathlib import Path

from ctlha_trio._errors import DamagedBlockError
from ctlha_trio.cli._demo_content import Content
from ctlha_trio.cli._demo_report import DemoViolation
from ctlha_trio.store import read_volume


def compare_copy(content: Content, name: str, volume: Path) -> None:
    """Compare the volume of a node that ended. ``DemoViolation`` names the copy and the first block that differs.

    ``StoreError`` or ``ConfigError`` if the copy cannot be read.
    """
    differing: list[int] = []
    view = memoryview(content.volume)
    try:
        for start, data in read_volume(str(volume), size_bytes=len(content.volume)):
            if view[start : start + len(data)] != data:
                differing += _differing_blocks(content, start, data)
    except DamagedBlockError as error:
        raise DemoViolation(f"the copy of node {name} is damaged: {error}") from error
    blocks = sorted(set(differing))  # a block may lie across two pieces
    if blocks:
        where = content.describe_block(blocks[0])
        raise DemoViolation(
            f"the copy of node {name} differs from the file in {len(blocks)} of {content.blocks} blocks, first {where}"
        )


def _differing_blocks(content: Content, start: int, data: bytes) -> list[int]:
    first, last = start // content.unit_bytes, (start + len(data) - 1) // content.unit_bytes
    differing = []
    for block in range(first, last + 1):
        begin = max(start, content.offset_of(block))
        end = min(start + len(data), content.offset_of(block) + content.size_of(block))
        if content.volume[begin:end] != data[begin - start : end - start]:
            differing.append(block)
    return differing
