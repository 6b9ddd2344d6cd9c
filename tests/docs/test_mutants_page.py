"""The pages on mutants name none that is not there, count them, and name the checks that the tests demand."""

import re
from pathlib import Path

import attrs
import pytest

from tests.mutants.beneath import MUTANTS as BENEATH
from tests.mutants.drivers import BUGS
from tests.mutants.found_by import IN_THE_EXPLORATION, IN_THE_PAIR
from tests.mutants.in_links import BUGS as LINK_BUGS
from tests.mutants.pair_mutants import MUTANTS
from tests.power import test_enumeration_mutants as enumeration, test_power_cuts as cuts
from tests.sim import test_explore_mutants as exploration
from tests.unit.test_mutants_beneath import SUBJECTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explain/mutants.md").read_text()
OF_CORES = (ROOT / "docs/explain/simulator.md").read_text()
FILES = {
    str(path.relative_to(ROOT)): path.read_text()
    for name in re.findall(r"`(tests/\S+\.py)`", PAGE)
    for path in ROOT.glob(name)
}
(CUTS,) = (mark for mark in cuts.test_broken_rule_is_found.pytestmark if mark.name == "parametrize")


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of its rows, without the first two."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def in_words(name: str) -> str:
    return name.replace("_", " ")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z]\w+_\w+)`", PAGE))))
def test_every_mutant_that_the_page_names_exists(name: str) -> None:
    assert any(f"def {name}(" in text for text in FILES.values())


@pytest.mark.parametrize(
    ("by", "mutants"),
    [
        ("tests/sim/test_core_mutants.py", len(MUTANTS)),
        ("tests/sim/test_explore_mutants.py", len(exploration.MUTANTS)),
        ("tests/sim/test_driver_finds_bugs.py", len(BUGS)),
        ("tests/sim/test_link_finds_bugs.py", len(LINK_BUGS)),
        ("tests/power/test_enumeration_mutants.py", len(enumeration.OF_STORE) + len(enumeration.OF_PAIR)),
        ("tests/power/test_power_cuts.py", len(CUTS.args[1])),
        ("tests/unit/test_mutants_beneath.py", len(BENEATH)),
    ],
)
def test_the_page_counts_them(by: str, mutants: int) -> None:
    assert re.findall(rf"`{by}` \| (\d+) \|", PAGE) == [str(mutants)]


def test_the_page_of_the_simulator_counts_them_too() -> None:
    assert re.findall(r"the table: (\d+) mutants, all killed", OF_CORES) == [str(len(MUTANTS))]


def test_the_table_of_the_cores_names_the_checks_that_the_tests_demand() -> None:
    rows = table(OF_CORES, "Mutants")
    assert sorted(row[0] for row in rows) == sorted(map(in_words, MUTANTS))
    checks = {in_words(name): "; ".join(sorted(checks)) for name, checks in IN_THE_PAIR.items()}
    assert {row[0]: row[-1] for row in rows} == checks
    assert [row[0] for row in rows if row[-2] not in row[-1].split("; ")] == []


def bugs_of(kind: str) -> dict[str, set[int]]:
    """By the names of the mutants of a kind, the classic bugs that they stand for."""
    found: dict[str, set[int]] = {}
    for bug, _, mutants in table(PAGE, "The classic bugs"):
        for kinds, names in re.findall(r"(?:^|; )([A-Z](?:, [A-Z])*) (`\w+`(?:, `\w+`)*)", mutants):
            for name in re.findall(r"\w+", names) if kind in kinds else ():
                found.setdefault(name, set()).add(int(bug))
    return found


def test_both_pages_name_the_same_bugs_for_each_mutant_of_the_cores() -> None:
    there = {row[0]: set(map(int, re.findall(r"\d+", row[1]))) for row in table(OF_CORES, "Mutants")}
    here = {in_words(name): bugs for name, bugs in bugs_of("C").items()}
    assert {name: bugs for name, bugs in there.items() if bugs} == here


def test_both_tables_name_the_same_bug_for_each_mutant_of_what_lies_beneath() -> None:
    assert bugs_of("U") == {name: {each.bug} for name, each in BENEATH.items() if each.bug}


def test_every_number_of_the_project_s_list_is_accounted_for() -> None:
    """The list goes to 52; each bug has its mutants, or a reason why there is none."""
    without = [int(bug) for row in table(PAGE, "Classic bugs without a mutant here") for bug in row[0].split(", ")]
    with_mutants = [int(row[0]) for row in table(PAGE, "The classic bugs")]
    assert sorted(with_mutants + without) == list(range(1, 53))


def test_the_table_of_the_exploration_has_each_mutant_and_its_check() -> None:
    rows = {row[0]: row[-1] for row in table(PAGE, "In the exploration")}
    assert rows.keys() == {in_words(name) for name in exploration.MUTANTS}
    assert [name for name in exploration.MUTANTS if rows[in_words(name)] not in IN_THE_EXPLORATION[name]] == []


def test_the_table_of_the_exploration_has_the_bound_of_each() -> None:
    said = {row[0]: row[1] for row in table(PAGE, "In the exploration")}
    for name, (_, bound, _) in exploration.MUTANTS.items():
        spent = [f"{in_words(what)} {count}" for what, count in attrs.asdict(bound).items() if count]
        assert said[in_words(name)] == (", ".join(spent) or "no faults")


def test_the_table_of_whole_nodes_has_each_bug_and_its_check() -> None:
    rows = {row[0]: row for row in table(PAGE, "In whole nodes")}
    assert rows.keys() == {in_words(bug.name) for bug in BUGS}
    for bug in BUGS:
        _, seeds, first, _, found = rows[in_words(bug.name)]
        assert int(first) == bug.first_seed
        if seeds == "not measured":
            continue
        said = re.match(r"I\d+", found)
        if said is None:
            found = found.replace("a node", "node a")
            assert re.search(bug.found, found), bug.name
        else:
            assert re.match(bug.found.partition(": ")[0], found), bug.name


def test_the_table_of_the_link_has_each_bug_its_seed_and_its_rule() -> None:
    assert table(PAGE, "In the link") == [
        [in_words(bug.name), str(bug.first_seed), bug.found.removesuffix(": ")] for bug in LINK_BUGS
    ]


def test_the_table_of_what_lies_beneath_has_each_mutant_and_its_test() -> None:
    files = {name: Path(str(subject.__file__)).name for subject in SUBJECTS for name in vars(subject)}
    assert sorted(table(PAGE, "Beneath the pair")) == sorted(
        [in_words(name), str(each.bug or "-"), f"`tests/mutants/{files[name]}`", f"{each.found_by}, `{each.file}`"]
        for name, each in BENEATH.items()
    )
