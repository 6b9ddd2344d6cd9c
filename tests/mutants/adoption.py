"""An arbiter is believed, and adopted by both nodes, only if what it holds is of their line and their past."""

import attrs

from ctlha_trio.cli import _adopt_together, _knowledge
from ctlha_trio.cli._knowledge import Knowledge
from ctlha_trio.pair import Metadata, Record
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
    "pair/test_pair_lines::"
    "test_what_an_older_copy_of_the_peer_tells_of_the_old_line_does_not_replace_what_is_known_of_the_later_one",
    "assert ordered == []",
)
def forgets_the_later_line_when_it_is_told_of_its_own(patch: Patch) -> None:
    plain = Step.hear

    def hear(self: Step, word: KnownRecord) -> None:
        disk = self.state.persisting or self.state.metadata
        if disk.heard is not None and word.lineage == disk.lineage:
            self.change(persisting=attrs.evolve(disk, heard=None))
        plain(self, word)

    patch.setattr(Step, "hear", hear)


@mutant(
    47,
    "pair/test_pair_lines::test_a_node_that_is_told_of_the_line_begun_from_its_own_stops_and_remembers_it",
    "assert any(isinstance(each, act.Persist)",
    serves=False,
)
def does_not_hear_from_which_lines_another_was_begun(patch: Patch) -> None:
    plain = Step.hear
    patch.setattr(Step, "hear", lambda self, word: plain(self, attrs.evolve(word, ancestors=())))


@mutant(
    47,
    f"{ADOPTION}::test_who_knows_of_a_later_line_remembers_what_is_told_of_that_one",
    "assert _knowledge.hear(",
)
def forgets_the_later_line_when_it_is_told_of_its_own_at_adoption(patch: Patch) -> None:
    plain = _knowledge.hear

    def hear(metadata: Metadata, told: Knowledge) -> Metadata:
        heard = plain(attrs.evolve(metadata, heard=None), told)
        return metadata if heard.heard is None else heard

    patch.setattr(_knowledge, "hear", hear)
