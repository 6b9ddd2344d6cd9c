"""An arbiter is believed, and adopted by both nodes, only if what it holds is of their line and their past."""

import attrs

from ctlha_trio.cli import _adopt_together, _knowledge
from ctlha_trio.cli._knowledge import Knowledge
from ctlha_trio.pair import Metadata, Phase, Record
from ctlha_trio.pair._step import Step
from ctlha_trio.wire import KnownRecord
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

ADOPTION = "cli/test_cli_adopt_together"


@mutant(42, f"{ADOPTION}::test_copies_of_different_lines_do_not_agree", "assert _knowledge.disagreement(")
def agrees_on_copies_of_different_lines(patch: Patch) -> None:
    plain = _knowledge.disagreement

    def overlook(one: Knowledge, other: Knowledge) -> str:
        return plain(one, attrs.evolve(other, lineage=one.lineage))

    patch.setattr(_knowledge, "disagreement", overlook)


@mutant(
    47, f"{ADOPTION}::test_a_record_that_neither_node_has_seen_is_not_written_over", "with pytest.raises(FailedError"
)
def writes_over_a_record_that_neither_node_has_seen(patch: Patch) -> None:
    plain = _adopt_together.agreed_record

    def overwrite(known: Metadata, found: Record | None, proposal: str) -> Record:
        return plain(known, None if found is None else attrs.evolve(found, epoch=0, lineage=known.lineage), proposal)

    patch.setattr(_adopt_together, "agreed_record", overwrite)


@mutant(
    47,
    "pair/test_pair_heard::test_what_the_arbiter_has_shown_outlives_the_process_of_who_does_not_count",
    "assert persisted(ordered) == [TOLD]",
)
def remembers_only_what_it_was_told(patch: Patch) -> None:
    plain = Step.hear

    def hear(self: Step, word: KnownRecord) -> None:
        if self.state.phase is not Phase.BOOTING:
            plain(self, word)

    patch.setattr(Step, "hear", hear)
