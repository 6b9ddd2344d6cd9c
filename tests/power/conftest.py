"""Parts small enough for a volume of few sectors."""

import pytest

from ctlha_trio.ha import _inbox
from ctlha_trio.pair import _admission, _resync_retry
from ctlha_trio.store import _dirty_bitmap
from ctlha_trio.testing._power_cuts.enumeration import UNIT_BYTES
from ctlha_trio.testing._power_cuts.trial import SIZE_BYTES


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring that is cheap to make, a copy in more than one range, and marks to tell apart."""
    monkeypatch.setattr(_inbox, "RING_BYTES", 1 << 16)
    monkeypatch.setattr(_admission, "COPY_CHUNK_BYTES", SIZE_BYTES // 2)
    monkeypatch.setattr(_resync_retry, "RANGE_UNIT_BYTES", UNIT_BYTES)
    monkeypatch.setattr(_dirty_bitmap, "DIRTY_BYTES", UNIT_BYTES)
