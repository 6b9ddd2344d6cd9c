"""Which check must find each mutant: the kinds of violation, and for each mutant those that are its own."""

import re

I1, I2, I3, I4, I5 = "I1, I4", "I2", "I3", "I4", "I5"
I6, I7, I8, I10, I11, I12, I14, I15 = "I6", "I7", "I8", "I10", "I11", "I12", "I14", "I15"
ONE_WRITE = "two writes of a block at once"
OVERWRITTEN = "overwritten before it is persisted"
CONVERGENCE = "the pair does not come together"
FORCED = "forced on a record that nobody was shown"
FENCED = "a member passes for fenced"
HEARD = "is forced although it hears"
ROOM = "a put without room"
NO_LINE = "persists a line that nobody began"
CORE = "an order that cannot be"
"""The core itself finds that it was asked for, or told, what the protocol does not know."""

_SAID = (
    (r"(I\d+(?:, I\d+)*):", r"\1"),
    (r".* writes a block twice at once", ONE_WRITE),
    (r".* is overwritten before it has persisted", OVERWRITTEN),
    (r".* is forced on a record that nobody was shown", FORCED),
    (FENCED, FENCED),
    (rf".* {NO_LINE}", NO_LINE),
    (r".* puts record \d+, for which there may be no room", ROOM),
    (rf".* {HEARD}", HEARD),
    (r"the pair did not (come|stay) together|nothing can happen any more", CONVERGENCE),
    # No other exception: it would be a mistake of the mutant's own.
    (r".*LocalProtocolError\(|. is told what the protocol does not know", CORE),
)


def check_of(problem: str) -> str:
    """The check that said so; the problem itself if none is known for it, and nothing for nothing."""
    said = re.sub(r"^seed \d+: ", "", problem)
    for pattern, check in _SAID:
        found = re.match(pattern, said)
        if found:
            return found.expand(check) if "\\" in check else check
    return said


IN_THE_PAIR: dict[str, set[str]] = {
    "acknowledges_alone_before_the_swap": {I2, I8},
    "acknowledges_alone_before_it_is_persisted": {I6},
    "does_not_drain_before_it_serves_alone": {ONE_WRITE, I7},
    # A node that believes that it won finds that the arbiter knows nothing of it, or acknowledges in a false epoch.
    "takes_an_unknown_swap_as_won": {I15, I1},
    # It forgets its own claim, and meets it as another process's; or says of a handover that was taken that it was not.
    "takes_an_unknown_swap_as_not_applied": {I2, I12, I15},
    "forgets_a_refusal_when_it_serves_on": {I15},
    "never_believes_an_arbiter_again_that_has_refused": {I15},
    "has_nothing_proved_by_an_arbiter_that_has_refused": {I12},
    "reads_without_a_permit": {I3},
    "serves_alone_while_a_permit_is_out": {I3},
    "counts_a_permit_from_its_arrival": {I3},
    "waits_for_the_end_of_the_first_permit_only": {I3},
    "waits_as_if_both_clocks_were_the_same": {I3},
    "covers_a_read_by_a_grant_of_before": {I2, I3},
    "shows_at_the_secondary_what_is_not_settled": {I2, I3, I10},
    # By that word a secondary also ends what it proposed.
    "takes_any_word_for_the_one_that_all_is_settled": {I1, I2, I3, I10},
    # A secondary that does so acknowledges what its primary has not.
    "acknowledges_when_durable_here_only": {I1, I2},
    "acknowledges_when_durable_there_only": {I2, I3},
    "acknowledges_a_proposal_that_is_durable_here_only": {I1},
    "calls_a_proposal_complete_when_it_is_begun": {I2},
    "executes_a_proposal_beside_what_conflicts_with_it": {ONE_WRITE},
    "takes_what_is_proposed_for_compared": {I3},
    # The second of the two gets a sequence that the secondary has no use for, and what was denied gets one too.
    "takes_a_proposal_as_often_as_it_comes": {CORE},
    "denies_what_it_has_taken": {CORE},
    "takes_the_numbers_of_the_process_of_before_for_those_of_the_next": {I12},
    "proposes_nothing_again_after_a_flap": {I12},
    "asks_for_nothing_after_a_flap": {I12},
    "marks_no_proposal_that_was_under_way": {I5, I7},
    "denies_what_it_has_proposed": {I2, I3},
    "shows_at_the_secondary_records_that_are_not_settled": {I2, I3},
    # The primary says that all is on both before it has said so of the record.
    "takes_records_for_settled_that_are_under_way": {I1},
    "answers_a_mirrored_write_before_it_is_stored": {I2, ONE_WRITE},
    "executes_conflicting_operations_at_once": {ONE_WRITE},
    "takes_a_peer_that_runs_anew_for_the_one_before": {I7, I10},
    "pushes_nothing_again_after_a_flap": {I2},
    "resumes_while_it_still_writes": {I2, ONE_WRITE},
    "claims_although_it_is_no_member": {I4},
    "forgets_its_own_writes_when_it_loses_the_role": {ONE_WRITE},
    # What was sent twice is written twice, is lost, or is answered for a range that has ended.
    "takes_a_range_as_copied_once_it_is_sent": {ONE_WRITE, I2, I5, CONVERGENCE},
    "does_not_mirror_below_the_cursor": {I2, I7},
    # The target waits for ever for the answer to a seal that it was asked for too early.
    "admits_while_writes_are_under_way": {CONVERGENCE, I2, I7},
    "admits_without_a_seal": {I4},
    "seals_before_it_is_persisted": {I4},
    "overwrites_before_that_is_persisted": {OVERWRITTEN},
    # The source serves in an epoch that its target refuses as unknown.
    "mirrors_before_the_target_has_joined": {CONVERGENCE},
    "serves_on_while_it_admits": {I2, I6, I7},
    "goes_alone_without_marking_its_own_writes": {I5},
    "takes_over_without_marking_what_it_was_sent": {I5},
    "forgets_what_it_was_sent_before_the_primary_has_it": {I2, I5, I10},
    "marks_nothing_when_it_loses_the_role": {I5},
    "takes_what_there_is_no_room_for_as_equal": {I2},
    "ignores_what_the_target_names": {I5},
    "ignores_the_activity_log": {I5},
    "marks_its_writes_only_after_it_has_served": {I5},
    "takes_a_mark_away_once_the_range_is_sent": {I5},
    "forgets_its_marks_before_the_target_is_a_member": {I5},
    "copies_a_part_although_the_bases_differ": {I5},
    "looks_past_a_write_under_way": {I2},
    "skips_from_a_search_to_a_write_behind_it": {I2, I5, I7},
    # What was proposed before, and is still under way, waits for an answer that the old primary gives no more.
    "hands_over_without_a_drain": {ONE_WRITE, I1, I3, CONVERGENCE},
    "serves_on_while_it_hands_over": {ONE_WRITE, I1, I2, I7},
    "takes_the_role_before_it_is_persisted": {I6},
    "trusts_a_failed_copy": {I2, I5},
    "condemns_a_copy_that_only_hung": {I15},
    "forces_within_the_line": {I4},
    "forces_a_node_that_hears_the_other": {HEARD, I3},
    "forces_a_half_overwritten_copy": {I4},
    "forces_without_a_compare": {FORCED},
    "serves_what_was_forced_before_it_is_persisted": {I6},
    "an_abandoned_copy_believes_itself": {I4},
    "serves_on_until_the_arbiter_shows_what_the_peer_has_told": {I8},
    "serves_on_in_a_line_that_was_abandoned": {I4},
    "takes_its_copy_for_whole_when_the_source_is_lost": {I4},
    "stops_at_a_line_that_it_was_forced_to": {I15},
    "calls_a_node_fenced_that_is_back": {FENCED},
    "accepts_an_arbiter_that_went_back": {I6},
    # The node that boots claims from a record that is past: it serves, or two nodes are in one epoch.
    "believes_the_arbiter_over_the_peer": {I1, I2, I3, I15},
    "forgets_what_the_peer_has_told": {I1, I2, I3, I4},
    # Alone with such an arbiter it believes it, and serves what it has.
    "remembers_only_what_it_was_told": {I1, I3, I15},
    "takes_a_line_that_a_force_has_ended_for_the_pair_s": {I1, I3, I15},
    "follows_whoever_counts_now_wherever_that_comes_from": {I2},
    "offers_its_copy_and_does_not_say_from_where_it_counts": {I2},
    "forgets_that_its_copy_is_apart": {I2},
    "remembers_a_later_record_in_place_of_that_its_copy_is_apart": {I2},
    "takes_another_record_of_its_epoch_for_a_later_one": {I2},
    "leaves_the_record_as_a_late_force_expects_it": {I12},
    "serves_nothing_until_the_record_is_moved": {I12},
    "takes_a_move_of_the_record_that_may_come_for_refused": {I15},
    "tries_to_move_the_record_only_once": {I12},
    # The peer waits for a record that nobody has made, and believes no other.
    "tells_its_claim_before_it_is_won": {I15},
    # What it serves is old; or the record that it reads at last contradicts what it has persisted.
    "serves_by_its_own_disk_while_the_arbiter_is_silent": {I1, I2, I3, I15},
    "reads_what_is_not_acknowledged": {I2, I3, I10},
    "gives_a_handover_up_after_its_swap": {CORE, I1, I12},
    "proposes_on_while_it_is_handed_the_role": {I12},
    "says_that_it_is_ready_beside_its_pushes": {I12},
    "never_proposes_again_to_a_primary_that_gave_a_handover_up": {I12, CONVERGENCE},
    "says_that_a_role_stayed_which_it_gave_away": {I12},
    "forgets_whom_it_held_when_it_gives_the_role_away": {I14},
    # Nobody follows it, so that mostly it acknowledges nothing. Where it does, two write over each other.
    "takes_the_role_when_a_timer_of_before_fires": {I1, I2, CONVERGENCE, ONE_WRITE},
    "asks_the_arbiter_for_every_operation": {I11},
    "asks_an_arbiter_again_that_it_is_asking": {I14},
    "forgets_who_asked_when_it_loses_the_role": {I14},
    "takes_another_pair_s_record_for_a_twin_s": {I15},
    "takes_a_damaged_target_for_equal": {I2, I5, I7},
    "takes_what_the_source_has_not_for_lost": {I3},
    "never_tries_again_what_was_left_out": {I12},
    "forgets_what_the_target_alone_has_executed": {I2, I3, I5, I7},
    "tells_what_it_refused_before_that_is_marked": {I2, I3, I5, I7},
    # What the secondary proposed and the primary gave up passes for complete there when another one is.
    # Or the secondary waits for ever for what its primary has given up.
    "resumes_with_copies_that_differ": {I12, I1, I2, I3, I5, I7},
    "repairs_from_a_copy_that_does_not_count": {I2, I3, CONVERGENCE},
    "serves_a_block_that_is_not_what_was_written": {I2, I3},
    "admits_a_target_that_lacks_what_was_lost": {I2, I5, I7},
    "serves_from_a_disk_that_was_put_back": {I2},
    "goes_on_when_another_one_claimed_in_its_name": {I1, I15},
    "claims_before_its_disk_knows": {I15},
    "takes_a_role_of_which_its_disk_does_not_know": {I15},
    "forgets_the_claims_of_before": {I15},
    "forgets_the_claim_that_was_won": {I15},
    "stops_by_the_peer_s_word_although_it_counts": {I15},
    "follows_a_source_by_another_record": {NO_LINE},
    "waits_for_a_source_that_has_moved_on": {CONVERGENCE},
    "refuses_everything_although_it_is_healthy": {I12},
    "calls_an_arbiter_silent_for_ever": {I12},
    "resumes_no_session_while_the_arbiter_is_silent": {I12},
    "forgets_that_a_handover_was_asked_for": {I12},
    "refuses_every_handover": {I12},
    "forgets_that_a_comparison_was_asked_for": {I12},
    "tells_nobody_what_became_of_a_force": {I12},
    "says_that_a_block_is_lost_which_the_other_copy_has": {I3},
    "compares_and_repairs_nothing": {I12},
    "writes_zeroes_on_one_copy_only": {I2},
    "marks_no_zeroes_that_one_copy_may_lack": {I1, I2, I5},
    "tells_a_miscompare_without_a_permit": {I3},
    "compares_outside_the_range_lock": {ONE_WRITE, I3},
    "writes_whatever_it_compared": {I3},
    # It is told as not executed, and read at the other node.
    "forgets_that_a_compare_had_begun_to_write": {I1, I2, I3, I5},
    "puts_a_record_on_one_node_only": {I2},
    "seals_a_target_without_the_records": {I2, I7},
    "puts_records_side_by_side": {ONE_WRITE},
    "reads_records_without_a_permit": {I3},
    "asks_for_no_room_for_what_it_takes_back": {ROOM},
    "executes_what_has_no_room": {ROOM},
    # What was told not to have been executed is there.
    # What it does not hold for a write, it calls settled while it is under way.
    "forgets_its_own_puts_when_it_loses_the_role": {I1, I2, I3},
}
"""Of the mutants of ``pair_mutants``, in the simulated pair."""

DIES_WITHOUT_TROUBLE = {
    "acknowledges_when_durable_here_only",
    "acknowledges_when_durable_there_only",
    "answers_a_mirrored_write_before_it_is_stored",
    "executes_conflicting_operations_at_once",
    "claims_although_it_is_no_member",
    "admits_without_a_seal",
    "asks_the_arbiter_for_every_operation",
    "acknowledges_a_proposal_that_is_durable_here_only",
    "calls_a_proposal_complete_when_it_is_begun",
    "executes_a_proposal_beside_what_conflicts_with_it",
    "refuses_everything_although_it_is_healthy",
    "refuses_every_handover",
    "forgets_that_a_handover_was_asked_for",
    "takes_an_unknown_swap_as_won",
    "takes_an_unknown_swap_as_not_applied",
    "seals_before_it_is_persisted",
    "takes_any_word_for_the_one_that_all_is_settled",
    "takes_the_role_before_it_is_persisted",
    "calls_an_arbiter_silent_for_ever",
}
"""These break what every run needs. A pair that starts has a node that returns, and an arbiter that loses answers; it
serves once it is healed, and changes the roles."""

IN_THE_EXPLORATION: dict[str, set[str]] = {
    "acknowledges_alone_before_the_swap": {I2},
    "acknowledges_alone_before_it_is_persisted": {I6},
    "does_not_drain_before_it_serves_alone": {ONE_WRITE},
    "takes_an_unknown_swap_as_won": {"I1"},
    # It has forgotten its own claim, and meets it as another process's.
    "takes_an_unknown_swap_as_not_applied": {I15},
    "acknowledges_when_durable_here_only": {I2},
    "answers_a_mirrored_write_before_it_is_stored": {I2},
    "reads_without_a_permit": {"I2, I3"},
    "serves_alone_while_a_permit_is_out": {I3},
    "shows_at_the_secondary_what_is_not_settled": {I2},
    "forgets_at_its_start_what_it_granted": {I3},
    "grants_a_permit_to_a_node_that_it_does_not_follow": {I3},
    "takes_all_for_settled_when_a_handover_is_prepared": {I2},
    "reads_at_the_secondary_what_is_overwritten": {I2},
    "resumes_while_it_still_writes": {I2},
    "pushes_nothing_again_after_a_flap": {I2},
    "acknowledges_a_proposal_that_is_durable_here_only": {I2},
    "calls_a_proposal_complete_when_it_is_begun": {I2},
    "executes_a_proposal_beside_what_conflicts_with_it": {ONE_WRITE},
    "claims_although_it_is_no_member": {I4},
    "admits_without_a_seal": {I4},
    "hands_over_without_a_drain": {I1},
    "looks_past_a_write_under_way": {I2},
    "tells_nobody_of_the_handover": {"I12"},
    "claims_without_marking_what_was_under_way": {I5},
    "drops_what_was_under_way_unmarked": {I5},
    "tracks_nothing_while_it_is_alone": {I5},
    "takes_an_older_order_for_the_newest_that_is_the_same": {I4},
    "forces_within_the_line": {I4},
    "forces_a_node_that_hears_the_other": {HEARD},
    "forces_a_half_overwritten_copy": {I4},
    "forces_without_a_compare": {FORCED},
    "serves_what_was_forced_before_it_is_persisted": {I6},
    "an_abandoned_copy_believes_itself": {I4},
    "serves_on_in_a_line_that_was_abandoned": {"I12"},
    "stops_at_a_line_that_it_was_forced_to": {I15},
    "forces_in_the_epoch_that_is_over": {"I6"},
    "forgets_which_line_a_force_has_ended": {I15},
    "takes_what_an_abandoned_copy_has_for_its_own": {I2},
    "takes_its_own_earlier_claim_for_what_was_forced": {FORCED},
    "lets_a_copy_be_overwritten_that_may_be_forced_yet": {I4},
}
"""Of the mutants of ``test_explore_mutants``. The first way that is found is the shortest."""
