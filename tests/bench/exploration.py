"""How many states the pair core has within a bound, and that nothing is wrong in any of them.

Run it: ``python tests/bench/exploration.py`` for the table of the documentation, which takes some minutes of one
processor, or ``python tests/bench/exploration.py writes=2 cuts=1 [cold=1] [states_max=2000000]`` for one bound.
"""

import sys

from ctlha_trio.testing import Bound, explore

BOUNDS = (
    Bound(writes=2, reads=1),
    Bound(writes=1, reads=2),
    Bound(writes=1, handovers=1, lost_replies=1),
    Bound(writes=1, reads=1, handovers=1),
    Bound(reads=1, cuts=1),
    Bound(reads=1, crashes=1),
    Bound(writes=1, cuts=1),
    Bound(writes=1, crashes=1),
    Bound(writes=1, refusals=1, cuts=1),
    Bound(writes=1, lost_replies=1, cuts=1),
    Bound(writes=2, cuts=1),
    Bound(writes=1, lost_replies=1, crashes=1),
    Bound(writes=2, lost_replies=1, cuts=1),
    Bound(writes=2, crashes=1),
)
"""Each fault alone, then pairs. A crash and a cut together take longer than all of these."""


def main(arguments: list[str]) -> None:
    """Print a line for each bound, and the way to what is wrong if anything is."""
    settings = {name: int(count) for name, _, count in (argument.partition("=") for argument in arguments)}
    options = {name: settings.pop(name) for name in ("cold", "states_max") if name in settings}
    for bound in [Bound(**settings)] if arguments else BOUNDS:
        found = explore(bound, cold=bool(options.get("cold")), states_max=options.get("states_max", 1 << 60))
        sys.stdout.write("\n".join((str(found), *found.trace, "")))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
