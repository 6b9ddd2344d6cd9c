"""The replicated state machine of the pair: pure, no clock, no I/O, no bytes of data."""

from ctlha_trio.pair._metadata import Copy as Copy, Metadata as Metadata
from ctlha_trio.pair._record import Kind as Kind, NodeId as NodeId, Record as Record
