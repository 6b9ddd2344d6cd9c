"""How many states the pair core has within a bound, and that nothing is wrong in any of them.

Run it: ``python tests/bench/exploration.py`` for the table of the documentation, which takes some minutes of one
processor, or ``python tests/bench/exploration.py writes=2 cuts=1 [cold=1] [states_max=2000000]`` for one bound.
"""

import argparse
import sys

import attrs

from ctlha_trio.testing import Bound, explore

BOUNDS = (
    Bound(writes=2, reads=1),
    Bound(proposals=1, writes=1),
    Bound(proposals=1, reads=1),
    Bound(proposals=1, handovers=1),
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
    parser = argparse.ArgumentParser(
        prog="python tests/bench/exploration.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ", ".join(field.name for field in attrs.fields(Bound))
    parser.add_argument(
        "settings",
        metavar="NAME=COUNT",
        nargs="*",
        help=f"how often each may happen, 0 by default: {names}; cold=1 begins with two nodes that boot; states_max: "
        "states to look at, default: all. Default without any: each bound of the table",
    )
    given: list[str] = parser.parse_args(arguments).settings
    settings = {name: int(count) for name, _, count in (one.partition("=") for one in given)}
    options = {name: settings.pop(name) for name in ("cold", "states_max") if name in settings}
    for bound in [Bound(**settings)] if given else BOUNDS:
        found = explore(bound, cold=bool(options.get("cold")), states_max=options.get("states_max", 1 << 60))
        sys.stdout.write("\n".join((str(found), *found.trace, "")))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
