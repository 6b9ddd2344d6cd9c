"""Simulation, fault injection and checks: shipped, documented, part of the product."""

from ctlha_trio.testing._core_log import TIMELINE_HEADER as TIMELINE_HEADER, EventLine as EventLine
from ctlha_trio.testing._core_runs import SeedReport as SeedReport, run_seed as run_seed, run_seeds as run_seeds
from ctlha_trio.testing._core_totals import Coverage as Coverage, Totals as Totals
from ctlha_trio.testing._memory_pair import MemoryPair as MemoryPair, open_pair as open_pair
from ctlha_trio.testing._power_disk import (
    CallKind as CallKind,
    DiskCall as DiskCall,
    Moment as Moment,
    PowerCut as PowerCut,
    PowerDisk as PowerDisk,
)
from ctlha_trio.testing._power_medium import Kept as Kept, Loss as Loss
from ctlha_trio.testing._transport_suite import (
    TRANSPORT_CHECKS as TRANSPORT_CHECKS,
    PairFactory as PairFactory,
    TransportPair as TransportPair,
)
