"""The pytest plugin of ctlha-trio: fixtures for projects that run as one of two nodes. See docs/testing.md.

Installed, it stands beside the package, as ``pytest_ctlha``: pytest imports every plugin that is installed, and a part
of the package would load the package, and Trio, into the test runs of projects that use neither. For the same reason
each fixture imports what it needs.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ctlha_trio.testing import OpenMirrors, OpenPair


@pytest.fixture
def ctlha_clock() -> "MockClock":
    """A virtual clock for one test: while every task waits, time jumps to when the next one is due."""
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)


@pytest.fixture
def ctlha_pair() -> "OpenPair":
    """Opens two nodes with an arbiter and a volume, for an ``async with``."""
    from ctlha_trio.testing import open_pair

    return open_pair


@pytest.fixture
def ctlha_mirrors() -> "OpenMirrors":
    """Opens two connected nodes, for what only uses the header's functions, for an ``async with``."""
    from ctlha_trio.testing import open_mirrors

    return open_mirrors
