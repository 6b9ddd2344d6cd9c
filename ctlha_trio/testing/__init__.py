"""Simulation, fault injection and checks: shipped, documented, part of the product."""

from ctlha_trio.testing._core.faults import CORE_FAULTS as CORE_FAULTS
from ctlha_trio.testing._core.log import TIMELINE_HEADER as TIMELINE_HEADER, EventLine as EventLine
from ctlha_trio.testing._core.runs import (
    CORE_COVERING_SEEDS as CORE_COVERING_SEEDS,
    SeedReport as SeedReport,
    run_seed as run_seed,
    run_seeds as run_seeds,
)
from ctlha_trio.testing._core.situations import CORE_SITUATIONS as CORE_SITUATIONS
from ctlha_trio.testing._core.totals import (
    NOT_OF_THE_PAIR as NOT_OF_THE_PAIR,
    Coverage as Coverage,
    Depth as Depth,
    Totals as Totals,
)
from ctlha_trio.testing._drivers.atlas import DRIVER_FAULTS as DRIVER_FAULTS
from ctlha_trio.testing._drivers.runs import (
    DRIVER_COVERING_SEEDS as DRIVER_COVERING_SEEDS,
    run_driver_seed as run_driver_seed,
)
from ctlha_trio.testing._explore.parts import Bound as Bound
from ctlha_trio.testing._explore.search import Exploration as Exploration, explore as explore
from ctlha_trio.testing._history.block_history import BlockHistory as BlockHistory
from ctlha_trio.testing._history.linearizability import check_linearizability as check_linearizability
from ctlha_trio.testing._history.linearizability_records import (
    ZEROS as ZEROS,
    ClientOperation as ClientOperation,
    Evidence as Evidence,
    Verdict as Verdict,
    Violation as Violation,
)
from ctlha_trio.testing._link.atlas import LINK_SITUATIONS as LINK_SITUATIONS
from ctlha_trio.testing._link.journal import LINK_TIMELINE_HEADER as LINK_TIMELINE_HEADER
from ctlha_trio.testing._link.runs import LINK_COVERING_SEEDS as LINK_COVERING_SEEDS, run_link_seed as run_link_seed
from ctlha_trio.testing._pairs.memory_pair import Components as Components, MemoryPair as MemoryPair
from ctlha_trio.testing._pairs.open_pair import (
    Mirrors as Mirrors,
    OpenMirrors as OpenMirrors,
    OpenPair as OpenPair,
    open_mirrors as open_mirrors,
    open_pair as open_pair,
)
from ctlha_trio.testing._power.disk import (
    CallKind as CallKind,
    DiskCall as DiskCall,
    Moment as Moment,
    PowerCut as PowerCut,
    PowerDisk as PowerDisk,
)
from ctlha_trio.testing._power.medium import Kept as Kept, Loss as Loss
from ctlha_trio.testing._seed_processes import map_seeds as map_seeds
from ctlha_trio.testing._suites.transport_parts import PairFactory as PairFactory, TransportPair as TransportPair
from ctlha_trio.testing._suites.transport_suite import TRANSPORT_CHECKS as TRANSPORT_CHECKS
