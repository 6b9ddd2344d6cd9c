"""What is on the disks of a pair that was just made."""

from ctlha_trio.pair import Copy, Metadata, Record

FIRST_REVISION = 1


def first_metadata(record: Record, node: str, arbiter: str) -> Metadata:
    """Of a member of the first record, which the arbiter of that identity holds at ``FIRST_REVISION``."""
    return Metadata(
        cluster=record.cluster,
        node=node,
        resource=record.resource,
        lineage=record.lineage,
        arbiter=arbiter,
        epoch=record.epoch,
        revision=FIRST_REVISION,
        primary=record.primary,
        members=record.members,
        copy=Copy.MEMBER,
    )
