"""How many states the pair core has within a bound, and that nothing is wrong in any of them.

Run it: ``python tests/bench/exploration.py`` for the table of the documentation, which takes some minutes of one
processor, ``python tests/bench/exploration.py largest`` for the largest bound that takes less than five, ``first`` for
the one that was set first, or ``python tests/bench/exploration.py writes=2 cuts=1 [cold=1] [states_max=2000000]``.
"""

import argparse
import resource
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
    Bound(writes=1, cuts=1, forces=1),
    Bound(writes=1, crashes=1),
    Bound(writes=1, refusals=1, cuts=1),
    Bound(writes=1, lost_replies=1, cuts=1),
    Bound(writes=2, cuts=1),
    Bound(writes=1, lost_replies=1, crashes=1),
    Bound(writes=2, lost_replies=1, cuts=1),
    Bound(writes=2, crashes=1),
    Bound(writes=1, crashes=1, forces=1),
    Bound(crashes=1, cuts=1),
    Bound(writes=1, crashes=1, cuts=1),
)
"""Each fault alone, then pairs."""
NAMED = {
    "largest": Bound(writes=1, crashes=1, cuts=1),
    "first": Bound(writes=2, lost_replies=1, crashes=1, cuts=1),
}
"""A crash and a cut together: the one takes less than five minutes of a processor, the other perhaps half an hour."""
LEFT_OUT = (
    "more than one block; flushes; disks that fail or are put back; an arbiter that goes back or is another pair's; "
    "copies that a person makes anew or salvages; goodbyes; deadlines"
)


def left_out(bound: Bound) -> str:
    """What the search did not look at."""
    counts = attrs.asdict(bound)
    more = ", ".join(f"more than {count} {name}" for name, count in counts.items() if count)
    none = ", ".join(name for name, count in counts.items() if not count)
    return "; ".join(each for each in (more, f"any {none}" if none else "", LEFT_OUT) if each)


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
        f"states to look at, default: all; or one of {', '.join(NAMED)}. Default without any: each bound of the table",
    )
    given: list[str] = parser.parse_args(arguments).settings
    named = [NAMED[one] for one in given if one in NAMED]
    settings = {name: int(count) for name, _, count in (one.partition("=") for one in given if one not in NAMED)}
    options = {name: settings.pop(name) for name in ("cold", "states_max") if name in settings}
    for bound in named or ([Bound(**settings)] if given else BOUNDS):
        found = explore(bound, cold=bool(options.get("cold")), states_max=options.get("states_max", 1 << 60))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        lines = (f"{found}, {peak_mib:,} MiB at most", f"  left out: {left_out(bound)}", *found.trace, "")
        sys.stdout.write("\n".join(lines))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
