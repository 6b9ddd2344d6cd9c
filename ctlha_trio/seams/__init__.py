"""What a node gets from outside: clock, entropy, disk, transport, arbiter."""

from ctlha_trio.seams._types import (
    Arbiter as Arbiter,
    Buffer as Buffer,
    Clock as Clock,
    Disk as Disk,
    DiskFile as DiskFile,
    Entropy as Entropy,
    Listener as Listener,
    Seams as Seams,
    Stream as Stream,
    SwapAnswer as SwapAnswer,
    SwapOutcome as SwapOutcome,
    Transport as Transport,
    Versioned as Versioned,
)
