"""What a node gets from outside: clock, entropy, disk, transport, arbiter."""

from ctlha_trio.pair import SwapOutcome as SwapOutcome
from ctlha_trio.seams._acquire import acquire as acquire
from ctlha_trio.seams._address import (
    format_address as format_address,
    is_loopback as is_loopback,
    parse_address as parse_address,
)
from ctlha_trio.seams._buffers import byte_view as byte_view
from ctlha_trio.seams._certificates import make_context as make_context
from ctlha_trio.seams._clock import TrioClock as TrioClock
from ctlha_trio.seams._command_fencer import CommandFencer as CommandFencer
from ctlha_trio.seams._folders import sync_folder as sync_folder
from ctlha_trio.seams._identity import (
    Pin as Pin,
    describe_key as describe_key,
    load_key as load_key,
    make_key as make_key,
    parse_pin as parse_pin,
)
from ctlha_trio.seams._key_files import read_key_file as read_key_file
from ctlha_trio.seams._memory_network import (
    MemoryListener as MemoryListener,
    MemoryNetwork as MemoryNetwork,
    MemoryTransport as MemoryTransport,
)
from ctlha_trio.seams._regular_files import (
    is_regular as is_regular,
    is_there as is_there,
    open_regular as open_regular,
)
from ctlha_trio.seams._run_in_thread import (
    is_lack_of_threads as is_lack_of_threads,
    run_in_thread as run_in_thread,
    start_thread as start_thread,
)
from ctlha_trio.seams._tcp import SocketListener as SocketListener, TcpTransport as TcpTransport
from ctlha_trio.seams._thread_disk import ThreadDisk as ThreadDisk, ThreadDiskFile as ThreadDiskFile
from ctlha_trio.seams._tls import MAX_PINS as MAX_PINS, TlsTransport as TlsTransport
from ctlha_trio.seams._types import (
    Arbiter as Arbiter,
    Buffer as Buffer,
    Clock as Clock,
    Disk as Disk,
    DiskFile as DiskFile,
    Entropy as Entropy,
    FenceAnswer as FenceAnswer,
    FenceOutcome as FenceOutcome,
    Fencer as Fencer,
    Listener as Listener,
    PromptFile as PromptFile,
    Seams as Seams,
    Stream as Stream,
    SwapAnswer as SwapAnswer,
    Transport as Transport,
    Versioned as Versioned,
)
