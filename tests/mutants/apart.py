"""A copy that counted alone is made anew from one that has no part in that, for an arbiter that went back says so."""

import attrs

from ctlha_trio.pair import Copy, Metadata, Record, _admission as admission, _membership as membership, messages as msg
from ctlha_trio.pair._step import Step
from ctlha_trio.testing._core.apart_trials import a_copy_that_counted_alone_is_not_made_anew
from ctlha_trio.wire import KnownRecord
from tests.mutants.trouble import Patch, mutant


@mutant(trial=a_copy_that_counted_alone_is_not_made_anew)
def follows_whoever_counts_now_wherever_that_comes_from(patch: Patch) -> None:
    patch.setattr(Metadata, "counted_alone_since", lambda *_: False)


@mutant(trial=a_copy_that_counted_alone_is_not_made_anew)
def offers_its_copy_and_does_not_say_from_where_it_counts(patch: Patch) -> None:
    def offer_copy(step: Step, proposal: str) -> None:
        step.change(told_ranges=())
        step.send(msg.ResyncStart(step.state.epoch, proposal))

    patch.setattr(admission, "_offer_copy", offer_copy)


@mutant(trial=a_copy_that_counted_alone_is_not_made_anew)
def forgets_that_its_copy_is_apart(patch: Patch) -> None:
    patch.setattr(Step, "note_apart", lambda _: None)


@mutant(trial=a_copy_that_counted_alone_is_not_made_anew)
def remembers_a_later_record_in_place_of_that_its_copy_is_apart(patch: Patch) -> None:
    plain = Metadata.knows_of

    def knows_of(metadata: Metadata, word: KnownRecord) -> bool:
        return plain(attrs.evolve(metadata, copy=Copy.FAILED), word)

    patch.setattr(Metadata, "knows_of", knows_of)


@mutant(trial=a_copy_that_counted_alone_is_not_made_anew)
def takes_another_record_of_its_epoch_for_a_later_one(patch: Patch) -> None:
    """By the revision, which rises with whatever else an etcd keeps."""
    plain = membership._contradiction

    def contradiction(step: Step, record: Record, revision: int) -> str:
        problem = plain(step, record, revision)
        return "" if problem == "arbiter-went-back" and revision > step.state.metadata.revision else problem

    patch.setattr(membership, "_contradiction", contradiction)
