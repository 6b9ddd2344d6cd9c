"""Direct memory access between the nodes: regions with random keys, and pushes into them."""

from ctlha_trio.dma._dma import Dma as Dma
from ctlha_trio.dma._regions import Region as Region
from ctlha_trio.dma._ring import Ring as Ring
