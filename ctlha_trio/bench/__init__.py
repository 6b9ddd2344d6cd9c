"""The link measured as its users have it, beside bare sockets in the same run: what ``ctlha bench`` does."""

from ctlha_trio.bench._figures import (
    Comparison as Comparison,
    Figure as Figure,
    Results as Results,
    Spread as Spread,
    Unit as Unit,
)
from ctlha_trio.bench._measuring import Measuring as Measuring, open_measuring as open_measuring
from ctlha_trio.bench._node import (
    MESSAGE_BYTES as MESSAGE_BYTES,
    Side as Side,
    open_measured_node as open_measured_node,
)
from ctlha_trio.bench._processes import TwoProcesses as TwoProcesses, open_two_processes as open_two_processes
from ctlha_trio.bench._serving import serve_benchmark as serve_benchmark
from ctlha_trio.bench._workloads import (
    Bench as Bench,
    Carrier as Carrier,
    Progress as Progress,
    Sizes as Sizes,
    Values as Values,
    Workload as Workload,
    link_bench as link_bench,
    run_rounds as run_rounds,
)
