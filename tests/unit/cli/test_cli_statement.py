"""What a person has to say before a copy is abandoned."""

import sys

import pytest

from ctlha_trio._errors import FailedError
from ctlha_trio.cli._statement import require_statement


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_where_nobody_can_be_asked_nothing_is_changed(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, closed, None)
    with pytest.raises(FailedError, match="nothing was changed: there is nobody to ask"):
        require_statement("b", None)


def test_what_was_said_beforehand_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    require_statement("b", "b is powered off")
