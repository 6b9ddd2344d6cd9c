"""What helps, for every reason that a verdict can have: one command, or one action where no command can."""

from typing import Final

from ctlha_trio.ha import Reason

REMEDIES: Final[dict[Reason, str]] = {
    Reason.BOOTING: "wait: the node asks the arbiter",
    Reason.ARBITER_SILENT: "bring the arbiter back, or the network to it: nobody changes who counts until it answers",
    Reason.PEER_LOST: "start the other node, {peer}, or mend the link to it",
    Reason.PEER_OUTDATED: "wait: node {peer} is connected, and its copy will be brought up to date",
    Reason.RESYNCING: "wait: the copy is being brought up to date",
    Reason.OUTDATED: "start node {peer}, whose copy counts; if it is lost for ever: "
    "ctlha force-primary {config} --abandon {peer}",
    Reason.WAITING_FOR_PEER: "start node {peer}; without it this node goes on alone in 3 s",
    Reason.CLAIMING: "wait: it ends with the arbiter's answer",
    Reason.STORE_FAILED: "look at the disk, then start the node again; if it is lost: ctlha replace {config} {node}",
    Reason.COPY_FAILED: "the only copy that counts is dead; to serve what node {peer} still has, on {peer}: "
    "ctlha force-primary <its node.toml> --abandon {node}",
    Reason.COPY_INCOMPLETE: "the record names a copy that is half overwritten; on node {peer}, whose copy is whole: "
    "ctlha force-primary <its node.toml> --abandon {node}",
    Reason.ARBITER_WENT_BACK: "restore the arbiter's newest data; if it is lost, stop both nodes, then: "
    "ctlha adopt-arbiter {config} --abandon {peer}",
    Reason.FOREIGN_RECORD: "the arbiter's record is of another pair: correct the [arbiter] of {config}",
    Reason.FOREIGN_LINEAGE: "correct the [arbiter] of {config}; if the copy of node {peer} is the right one, stop "
    "this node, then: ctlha resolve {config} --discard {node}",
    Reason.TWIN: "a copy of this node's folder runs elsewhere: end it, then start this node again",
    Reason.LEAVING: "start the node again: ctlha node {config}",
    Reason.HANDLER_FAILED: "see the node's log for the error, mend the program, and start the node again",
    Reason.COMPONENT_FAILED: "see the node's log for the component, mend it, and start the node again",
    Reason.RESYNC_BLOCKED: "blocks that are to be copied are damaged on the only copy that counts; write them anew, as "
    "the node's log names them, from a backup: the copy goes on by itself",
    Reason.MEDIUM_ERROR: "blocks are damaged on every copy that counts, and reads of them fail; write them anew, as "
    "the node's log names them, from a backup",
    Reason.DISK_FAILING: "the disk of node {node} loses block after block: stop it, put a new disk in place, then: "
    "ctlha replace {config} {node}",
    Reason.COPIES_DIFFER: "decide which copy is right; if that of node {node}, stop node {peer}, move its file away, "
    "then on {peer}: ctlha replace <its node.toml> {peer}; at the end: ctlha verify {config}",
}


def remedy_for(reason: str, *, config: str, node: str, peer: str) -> str:
    """What helps against a reason; empty for one that only a later version knows."""
    known = {each.value: text for each, text in REMEDIES.items()}
    return known.get(reason, "").format(config=config, node=node, peer=peer)
