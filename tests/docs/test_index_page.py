"""The first page tells of every page, each in a paragraph of its own."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ENTRIES, _, HIDDEN = (DOCS / "index.md").read_text().partition("```{toctree}")


def test_each_entry_is_a_paragraph_of_a_line_and_what_it_means() -> None:
    entries = [each for each in ENTRIES.split("\n\n") if each.lstrip().startswith("[")]
    assert entries
    assert [each for each in entries if not re.fullmatch(r"\[.*\)\n: .*\n?", each)] == []


def test_every_page_is_told_of_and_in_the_order_of_the_contents() -> None:
    pages = {str(page.relative_to(DOCS))[:-3] for page in DOCS.rglob("*.md")} - {"index"}
    listed = re.findall(r"^[\w/]+$", HIDDEN, re.MULTILINE)
    assert set(listed) == pages
    assert re.findall(r"\]\(([\w/]+)\.md\)", ENTRIES) == listed
