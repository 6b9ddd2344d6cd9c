"""The third vote: one record per resource, read and compare-and-swap, over engines that differ.

``_codec`` is the record's text, ``_memory`` the arbiter of simulations, ``_sqlite`` that of two nodes on one machine,
``_etcd`` that of real deployments: over ``_etcd_transactions``, what is asked, and ``_etcd_gateway``, how.
"""

from ctlha_trio.arbiter._codec import (
    decode_record as decode_record,
    encode_record as encode_record,
)
from ctlha_trio.arbiter._etcd import (
    CreatedRecord as CreatedRecord,
    EtcdArbiter as EtcdArbiter,
    create_etcd_record as create_etcd_record,
    remove_etcd_record as remove_etcd_record,
)
from ctlha_trio.arbiter._etcd_access import (
    EtcdAccess as EtcdAccess,
    contradictions as contradictions,
    parse_endpoint as parse_endpoint,
)
from ctlha_trio.arbiter._memory import MemoryArbiter as MemoryArbiter, SwapFault as SwapFault
from ctlha_trio.arbiter._sqlite import (
    SqliteArbiter as SqliteArbiter,
    create_sqlite_arbiter as create_sqlite_arbiter,
)
