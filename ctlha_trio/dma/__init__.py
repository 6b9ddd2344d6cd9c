"""Direct memory access between the nodes: regions with random keys, pushes into them and pulls out of them."""

from ctlha_trio.dma._counters import TransferCounters as TransferCounters, TransferTotals as TransferTotals
from ctlha_trio.dma._dma import Dma as Dma
from ctlha_trio.dma._regions import Region as Region, Rights as Rights
from ctlha_trio.dma._ring import Ring as Ring
from ctlha_trio.link import (
    TRANSFERS_IN_FLIGHT_MAX as TRANSFERS_IN_FLIGHT_MAX,
    Transfer as Transfer,
    TransferPlaces as TransferPlaces,
)
