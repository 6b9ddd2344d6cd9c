"""What helps, for every reason, note and obstacle that there is: one command, or one action where no command can."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar

from ctlha_trio.ha import Note, Reason
from ctlha_trio.pair import Obstacle, Setback

Named = TypeVar("Named", bound=Enum)

ITSELF: Final = "only the file itself, never a copy from before, whose old data may be served unnoticed"
"""Behind the advice to put a volume's file back: nothing tells an older one of the same epoch from the newest."""

REMEDIES: Final[dict[Reason, str]] = {
    Reason.BOOTING: "wait: the node asks the arbiter",
    Reason.ARBITER_SILENT: "bring the arbiter back, or the network to it: the node's log says what it met. Nobody "
    "changes who counts until it answers. If the log says that the pair's data is not there any more, and it is lost, "
    "stop both nodes, then on both: ctlha adopt-arbiter <its node.toml>",
    Reason.ARBITER_REFUSES: "the arbiter is read and takes no change: the node's log says what it lacks, such as space "
    "on its disk, or the right to write; it goes on by itself when that is mended",
    Reason.PEER_LOST: "start the other node, {peer}; if it runs, see there what keeps it away: ctlha status <its "
    "node.toml>; if nothing but the link does, mend that",
    Reason.PEER_OUTDATED: "wait: node {peer} is connected, and its copy will be brought up to date",
    Reason.RESYNCING: "wait: the copy is being brought up to date",
    Reason.OUTDATED: "start node {peer}, whose copy counts; if it is lost for ever, and copy-not-whole does not stand "
    "here too: ctlha force-primary {config} --abandon {peer}",
    Reason.WAITING_FOR_PEER: "start node {peer}; without it this node goes on alone in 3 s",
    Reason.CLAIMING: "who counts is being changed, and the arbiter has not taken that yet. Until it has, clients "
    "wait here, and may be sent from one node to the other; what they were told is done stays done. If arbiter-silent "
    "or arbiter-refuses stands here too, do first what that says. The rest goes by itself: ctlha status --watch "
    "{config}",
    Reason.DISK_HANGS: "wait: when the disk answers the node goes on by itself; if it does not, look at the disk and "
    "at what it hangs on",
    Reason.STORE_FAILED: "the disk or the file of this copy has failed, and this node serves no clients. See the "
    "node's log for what failed, and look at the disk, then stop this node, and start it again. If the file was cut "
    "short, put the whole file back before. If its copy is lost, and node {peer} has one that counts, stop this node, "
    "move away what lies there, then: ctlha replace {config} {node}",
    Reason.COPY_FAILED: "the record names this copy, which is dead, so it is not served. Start node {peer}, which "
    "brings it up to date if its own counts. If {peer} does not serve, on {peer}: ctlha force-primary <its node.toml> "
    "--abandon {node}; to serve what is left here, stop this node, then: ctlha force-primary {config} --abandon "
    "{peer} --salvage",
    Reason.COPY_WENT_BACK: "the backing file is not the one that the record names, so its data is not served. If two "
    "processes had this node's identity (twin), delete neither file; to keep this one, stop both nodes, then: ctlha "
    "adopt-arbiter {config} --abandon {peer}; else it is an older copy: put the newest file back, but no other copy "
    "from before: one of the record's epoch is served unnoticed, with old data. Or start node {peer}, which brings "
    "this copy up to date if its own counts. If the newest file is lost and {peer} does not serve, what was "
    "acknowledged since is lost. Where outdated stands here too, do as it says. Else stop both nodes, and see which "
    "copy is the later one, which is the one to keep: ctlha adopt-arbiter {config} --abandon {peer} --dry-run; if "
    "that of {node}, or if {peer} is lost for ever: ctlha adopt-arbiter {config} --abandon {peer}; if that of {peer}, "
    "start only {peer}, which is outdated, and do as that says there",
    Reason.COPY_INCOMPLETE: "the record names this copy, which is half overwritten, so it is not served. Start node "
    "{peer}, which brings it up to date. If {peer} does not serve, on {peer}: ctlha force-primary <its node.toml> "
    "--abandon {node}; if that copy is lost, stop this node, then: ctlha force-primary {config} --abandon {peer} "
    "--salvage",
    Reason.COPY_NOT_WHOLE: "this copy is empty, half overwritten, discarded, or of a disk that had failed. By itself "
    "it is of no use until its resync has ended: start node {peer}, which brings it up to date. If {peer} is lost for "
    "ever, stop this node, then: ctlha force-primary {config} --abandon {peer} --salvage",
    Reason.ARBITER_WENT_BACK: "the arbiter shows an older record than this node knows, or another one of the same "
    "epoch, as after a restore from an old copy. This node serves no clients, so that nothing acknowledged is "
    "overwritten. If the arbiter's newest data can be restored, do that, then stop the nodes that say so, and start "
    "them again. If it cannot, or if one stops so again, stop both nodes, then on both: ctlha adopt-arbiter <its "
    "node.toml>, which prints both copies. If they do not agree, and it says of nothing else that helps, choose which "
    "copy is to be the volume. It is that of the higher epoch there, unless both have served alone. On its node: "
    "ctlha adopt-arbiter <its node.toml> --abandon <the other node>",
    Reason.FOREIGN_RECORD: "the arbiter's record is of another pair: correct the [arbiter] of {config}",
    Reason.FOREIGN_LINEAGE: "correct the [arbiter] of {config}; if the copy of node {peer} is the right one, stop "
    "this node, then: ctlha resolve {config} --discard {node}",
    Reason.TWIN: "another process runs, or has run, with this node's identity, from a copy of its folder. Each of the "
    "two files may hold what only it has acknowledged: stop both, and delete neither before it is clear which one is "
    "right. The logs of decisions in both folders tell, and what clients keep on the volume. If it is that of the "
    "other process, start only that one again. If it is this one, stop node {peer} too, then: ctlha adopt-arbiter "
    "{config} --abandon {peer}; where that finds nothing wrong with the arbiter, start this node alone. If it is "
    "outdated then, force it, as outdated says of a {peer} that is lost. A copy that no client ever used is only "
    "stopped and deleted",
    Reason.LEAVING: "start the node again: ctlha node {config}",
    Reason.HANDLER_FAILED: "see the node's log for the error, mend the program, and start the node again",
    Reason.COMPONENT_FAILED: "see the node's log for the component, and mend it: it is asked again by itself, every "
    "quarter of a minute at the latest",
    Reason.COMPONENT_RAISED: "see the node's log for the error and where it was raised, and mend the program; the "
    "component is asked again by itself, but only a node that is started again runs the mended one: do that once node "
    "{peer} is a member",
    Reason.COMPONENT_ERROR: "see the node's log for the component, and mend it; it is never started again by this "
    "process: once node {peer} is a member, start the node again",
    Reason.COMPONENT_WAITS: "wait: each component that may not start yet is told of above, with why, and with its own "
    "estimate if it has one. It is asked again by itself. If it waits for what node {peer} does not let go of, and "
    "that one is a member, give the role back: ctlha switchover {config}",
    Reason.COMPONENT_NEEDS_FENCE: "a component does not start before node {peer} is known to be fenced, as told "
    "above. With [fence] in {config} this node sees to that by itself once it serves alone; without, stop this node, "
    "add that, then: ctlha node {config}",
    Reason.COMPONENT_NOT_RELEASED: "this node has given up the role, and a component of it may still hold what it "
    "had, as told above. It is asked again by itself. If node {peer} waits for that, stop this node, or switch its "
    "power off, then start it again: ctlha node {config}",
    Reason.COMPONENT_STARTING: "wait: the components are being started beside node {peer}",
    Reason.PEER_COMPONENTS: "wait: the components of node {peer} are being started; if it stays, on {peer}: "
    "ctlha status <its node.toml>",
    Reason.LINK_FLAPS: "mend the link between the nodes, which was lost too often; node {peer} is kept up to date, and "
    "becomes a member once the link has held for a while, at most half a minute",
    Reason.PEER_RESTARTS: "see the log of node {peer} for why it ended and started again, too often; it is kept up to "
    "date, and becomes a member once it has run for a while, at most half a minute",
    Reason.RESYNC_BLOCKED: "blocks that are to be copied could not be read on the only copy that counts. The node "
    "that serves reads them again by itself, a place every quarter of a minute: see to its disk and the way to it, "
    "and wait. If it stays, read there what its log names, through its data.sock. Write anew, from a backup, only "
    "what cannot be read: what a backup has may be older. The copy goes on by itself",
    Reason.MEDIUM_ERROR: "blocks could not be read on any copy that counts: clients get an error for these, and are "
    "served all else. Read them first: ctlha verify does at the primary, if both nodes are members, or a client of "
    "data.sock. Write anew, from a backup, only what still cannot be read, as the verification or the node's log "
    "names it: what a backup has may be older. If this reason stays, more are: ctlha verify names them, or takes it "
    "away",
    Reason.FILE_GONE: "the file of this copy was removed or replaced, and the copy ends with the process of node "
    "{node}: do not stop it yet. If the file was only moved, move it back. If node {peer} is a member, and neither "
    "arbiter-silent nor peer-disk-failing is told here too, stop this node, move away what lies there, then: ctlha "
    "replace {config} {node}. If not, mend that first; start {peer} and let it become a member, or, before this node "
    "is stopped, save the copy as its log says",
    Reason.DISK_FAILING: "the disk of node {node} loses block after block: stop it, put a new disk in place, then: "
    "ctlha replace {config} {node}",
    Reason.PEER_DISK_FAILING: "the disk of node {peer} loses block after block, or the file of its copy is gone: do as "
    "that node says, on {peer}: ctlha status <its node.toml>",
    Reason.COPIES_DIFFER: "decide which copy is right; if that of node {node}, stop node {peer}, move its file away, "
    "then on {peer}: ctlha replace <its node.toml> {peer}",
}

NOTE_REMEDIES: Final[dict[Note, str]] = {
    Note.SHARED_FAILURE_DOMAIN: "the arbiter dies with one of the nodes: for more than a trial keep it elsewhere",
    Note.LINK_FLAPS: "mend the link between the nodes: each further loss makes the peer wait longer to be a member",
    Note.PEER_RESTARTS: "see the log of node {peer} for why it ended and started again: each further time it waits "
    "longer to be a member",
    Note.LOOP_STALLED: "see the node's log for how long; the process or the machine was stopped, or busy: free the "
    "machine of other load, and the program of handlers that compute",
    Note.GIVE_BACK_WAITS: "wait: the role goes to node {peer} after the hold-down; at once: ctlha switchover {config}",
    Note.GIVE_BACK_BACKED_OFF: "node {peer} lost the role again, or did not take it: see its log; at once: "
    "ctlha switchover {config}",
    Note.SETTINGS_DIFFER: "make the settings that differ the same in both configurations, then stop each node whose "
    "own was changed, and start it again: ctlha node <its node.toml>",
    Note.FENCE_OWED: "how the fence of node {peer} ended is not known, and it is asked for again when this node "
    "starts; at once: ctlha force-primary {config} --abandon {peer} --fence; to take it back, stop this node, and "
    "remove owed-fence.json from its folder",
}

OBSTACLE_REMEDIES: Final[dict[Obstacle, str]] = {
    Obstacle.NOT_PRIMARY: "ask the primary: on node {peer}, ctlha switchover <its node.toml>",
    Obstacle.CHANGE_UNDER_WAY: "wait until it is over: ctlha status --watch {config}",
    Obstacle.PEER_LOST: "start the other node, {peer}; if it runs, see there what keeps it away: ctlha status <its "
    "node.toml>; if nothing but the link does, mend that; then wait until both are in sync: ctlha status --watch "
    "{config}",
    Obstacle.PEER_OUTDATED: "wait until the copy of node {peer} is brought up to date: ctlha status --watch {config}",
    Obstacle.RESYNCING: "wait until the copy of node {peer} is up to date: ctlha status --watch {config}",
    Obstacle.PEER_NOT_READY: "try again in a second; if it stays: ctlha status on node {peer}",
    Obstacle.PEER_COMPONENTS: "wait until the components of node {peer} run; if it stays: ctlha status on node {peer}",
    Obstacle.VERSION_DIFFERS: "run the same version of ctlha-trio on both nodes, then: ctlha switchover {config}; to "
    "upgrade this node, only stop it: node {peer} goes on alone",
    Obstacle.ARBITER_SILENT: "bring the arbiter back, or the network to it, then: ctlha switchover {config}",
    Obstacle.ARBITER_REFUSES: "the node's log says what the arbiter lacks, such as space on its disk, or the right to "
    "write, or that it is silent; mend that, then: ctlha switchover {config}",
}

SETBACK_REMEDIES: Final[dict[Setback, str]] = {
    Setback.ARBITER_REFUSES: OBSTACLE_REMEDIES[Obstacle.ARBITER_REFUSES],
    Setback.RECORDS_DIFFER: "what node {peer} carries beside the volume is not whole: stop it, move its file away, "
    "then on {peer}: ctlha replace <its node.toml> {peer}",
    Setback.NOT_IN_TIME: "what was under way, or a disk, took too long; try again when there is less to do: "
    "ctlha switchover {config}",
    Setback.PEER_LOST: OBSTACLE_REMEDIES[Obstacle.PEER_LOST],
    Setback.NOT_LOGGED: "make room for the log of decisions, without which nothing is done that a person asks for, "
    "then: ctlha switchover {config}",
}
VERIFY_THERE: Final = "node {peer} is the primary: there, ctlha verify <its node.toml>"
VERIFY_IN_SYNC: Final = (
    "wait until this copy is up to date: ctlha status --watch {config}; then, if node {peer} is the primary, there: "
    "ctlha verify <its node.toml>"
)
START_IT: Final = "if it does not run, start it: ctlha node {config}"
"""Where the node does not answer a command that it has to carry out."""
ASK_AGAIN: Final = "the node runs: ask again once others that ask have left"
"""Where it does not take the connection; one that asks nothing keeps its place for no longer than seconds."""
SEE_STATUS: Final = "see how the node stands, and what helps: ctlha status {config}"
"""Where no name of the closed lists fits, or one of a later version is told."""


def remedy_for(reason: str, *, config: str, node: str, peer: str) -> str:
    """What helps against a reason; empty for one that only a later version knows."""
    return _remedy(REMEDIES, reason, config=config, node=node, peer=peer)


def note_remedy_for(note: str, *, config: str, node: str, peer: str) -> str:
    """What can be done about a note, likewise."""
    return _remedy(NOTE_REMEDIES, note, config=config, node=node, peer=peer)


def obstacle_remedy_for(obstacle: str, *, config: str, node: str, peer: str) -> str:
    """What clears an obstacle to a switchover, likewise."""
    return _remedy(OBSTACLE_REMEDIES, obstacle, config=config, node=node, peer=peer)


def setback_remedy_for(setback: str, *, config: str, node: str, peer: str) -> str:
    """What helps after a switchover that was given up, likewise."""
    return _remedy(SETBACK_REMEDIES, setback, config=config, node=node, peer=peer)


def _remedy(remedies: Mapping[Named, str], name: str, **names: str) -> str:
    known = {each.value: text for each, text in remedies.items()}
    return known.get(name, "").format(**names)
