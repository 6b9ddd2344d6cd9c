"""How a mutant was found."""

import attrs

from tests.mutants.found_by import check_of


@attrs.frozen
class Death:
    """Printed by the tests, for ``pytest -rP``."""

    problem: str
    """What was said in the first run that it did not survive; empty if it survived all."""
    tried: int
    """Runs that it took."""
    took_s: float
    of: str = "seeds"
    """What a run is from."""
    seed: int = 0
    """Of the last run, where it has one."""

    def __str__(self) -> str:
        said = check_of(self.problem) or "survived"
        return f"{self.tried} {self.of}, {self.took_s:.1f} s: {said}{f': {self.problem}' * (said != self.problem)}"
