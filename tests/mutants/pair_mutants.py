"""Rules of the protocol taken out of the core, one at a time, and the trouble in which the simulated pair notices each.

A mutant lives here only and patches functions of the pair's modules. ``found_by`` names the checks that must find it,
``tests/sim/test_core_mutants.py`` runs it in the simulated pair, ``tests/sim/test_explore_mutants.py`` some of them in
the exploration. One that survives all its seeds shows that the world has become too weak, in its faults or in what it
demands.

Some rules have no mutant, for other rules do their work in all but the rarest runs, or in all. Messages of another
epoch cannot come in a session whose operations were drained at each change of the epoch. A permit of another session
or epoch is as good as one of this: who promised it keeps it by the clock. Nor does a look at the permit before the read
do what the one after it does not. An unknown swap taken as lost makes a node wait and claim on the same revision, where
only one of the two swaps can win. A push out of the order of the sequences shows after two
flaps in a row. A comparison that a source asked for before it restarted must bear the number of one that it asks for
after. A source that crashed behind an admission of which its disk does not know is outdated, and its target, which has
everything, goes on. A source that moves on in the session with its target needs another hand at the record, and then
stops. Marks from before the last admission outlive it by an instant, in which a node must crash; so must one between
the order to mark everything and its end. Clients of the simulated pair write whole blocks, and few flaps meet a repair.
A comparison hardly ever ends just when its node claims. ``test_pair_core``, ``test_pair_guards``, ``test_pair_resync``,
``test_pair_repair`` and ``test_pair_operations`` hold the core to these rules.
"""

from typing import Final

from tests.mutants import (
    admission,
    apart,
    arbitration,
    claims,
    comparisons,
    force,
    going_alone,
    handover,
    hangs,
    marks,
    operations,
    proposals,
    reads,
    records,
    repair,
    resync,
    service,
    sessions,
)
from tests.mutants.trouble import MUTANTS, Patch, Trouble

__all__ = ["MUTANTS", "SUBJECTS", "Patch", "Trouble"]

SUBJECTS: Final = (
    admission,
    apart,
    arbitration,
    claims,
    comparisons,
    force,
    going_alone,
    handover,
    hangs,
    marks,
    operations,
    proposals,
    reads,
    records,
    repair,
    resync,
    service,
    sessions,
)
"""The modules that enter them, by what the rules are about."""
