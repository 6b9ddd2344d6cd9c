"""What needs a program that is not Python's."""

import os
import shutil
from collections.abc import Iterator

import pytest

from ctlha_trio.testing._processes.etcd_server import started_etcd


@pytest.fixture(scope="session")
def etcd_program() -> str:
    """Where etcd is. Without it the test is skipped, but not where everything has to be tested."""
    program = shutil.which("etcd")
    if program is not None:
        return program
    if os.environ.get("CI"):
        pytest.fail("etcd is not installed (on Debian: apt install etcd-server)")
    pytest.skip("etcd is not installed (on Debian: apt install etcd-server)")


@pytest.fixture(scope="session")
def etcd_endpoint(etcd_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real etcd of one member that all tests share, and none stops or sets up in another way."""
    with started_etcd(etcd_program, tmp_path_factory.mktemp("etcd")) as (member,):
        yield member.endpoint
