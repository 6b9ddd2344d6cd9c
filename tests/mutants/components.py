"""What a node remembers of a role that moves for components."""

from ctlha_trio.ha._component_failover import ComponentFailover
from tests.mutants.beneath import mutant
from tests.mutants.trouble import Patch

POLICY = "ha/test_component_policy"


@mutant(0, f"{POLICY}::test_processes_that_begin_anew_each_time_do_not_hand_the_role_to_and_fro", "assert waits[-1] >")
def believes_nothing_of_the_time_before_its_process(patch: Patch) -> None:
    patch.setattr(ComponentFailover, "told", lambda *_: None)
