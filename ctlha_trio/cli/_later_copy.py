"""Which of two copies is the later one, as far as they say it themselves, and what each has acknowledged alone.

Nothing is guessed. What a person chooses by is shown where the copies do not tell; a machine's clock, and the revisions
of an arbiter that went back, tell nothing.
"""

from collections.abc import Iterator

from ctlha_trio.cli._copy_view import CopyView, sum_of
from ctlha_trio.pair import Copy


def later_copy(one: CopyView, other: CopyView) -> tuple[str, str]:
    """The node whose copy is the later one, and by what; no node, and why, where they do not tell."""
    for each in (one, other):
        if each.is_given_up:
            return "", f"that of node {each.node} was given up, and does not tell what it was before"
    for earlier, later in ((one, other), (other, one)):
        if earlier.lineage in later.ancestors:
            return later.node, f"somebody has begun its line from that of node {earlier.node}"
    if one.lineage != other.lineage:
        return "", "they are of different lines, and neither says that it was begun from the other"
    if one.is_alone and other.is_alone:
        return "", f"both have served alone, {_in_epochs(one, other)}, and neither has all that was acknowledged"
    if one.epoch != other.epoch:
        later = max(one, other, key=lambda each: each.epoch)
        return later.node, f"it was used in epoch {later.epoch}, the other one last in {min(one.epoch, other.epoch)}"
    if (one.primary, one.members) != (other.primary, other.members):
        return "", f"they know two different records of epoch {one.epoch}"
    counting = [each.node for each in (one, other) if each.is_member]
    if len(counting) == 1:
        return counting[0], f"the record of epoch {one.epoch}, which both know, names it alone"
    return "", f"both know the same record of epoch {one.epoch}, and neither has acknowledged anything alone since"


def describe_later(one: CopyView, other: CopyView) -> Iterator[str]:
    """What can be told, then what each of the two has acknowledged without the other."""
    node, why = later_copy(one, other)
    later = next((each for each in (one, other) if each.node == node), None)
    if later is None:
        yield f"later     cannot be told from the copies: {why}; this is what each holds"
    else:
        whole = "" if Copy(later.copy).is_whole else f"; but it is {later.copy}, no state that the volume ever had"
        yield f"later     node {node}: {why}{whole}"
    for each, its_peer in ((one, other), (other, one)):
        yield f"alone     node {each.node}: {_alone(each, its_peer.node)}"


def _in_epochs(one: CopyView, other: CopyView) -> str:
    if one.epoch == other.epoch:
        return f"each in an epoch {one.epoch} of its own"
    return f"node {one.node} in epoch {one.epoch} and node {other.node} in epoch {other.epoch}"


def _alone(view: CopyView, peer: str) -> str:
    if view.is_given_up:
        return (
            "was given up, for its disk had failed, or a person has discarded it or made it anew; what it had "
            f"acknowledged without node {peer} until then is not told"
        )
    if not view.is_alone and not Copy(view.copy).is_whole:
        return f"is being overwritten; what it had acknowledged without node {peer} until then is not told"
    if not view.is_alone:
        return f"has acknowledged nothing without node {peer} since epoch {view.epoch} began"
    if view.marked_from is None:
        return f"has served alone in epoch {view.epoch}; what was written to it then is not marked"
    written = (*view.marks, *view.open_ranges)
    if not written:
        return f"has served alone in epoch {view.epoch}, and nothing was written to it since epoch {view.marked_from}"
    return (
        f"has served alone in epoch {view.epoch}; what was written to it since epoch {view.marked_from}, "
        f"within {sum_of(written)}, node {peer} may lack; last {view.written_at}, by the clock of its machine"
    )
