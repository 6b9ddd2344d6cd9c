"""The tree of errors and the header's statuses that they carry."""

import inspect
from pathlib import Path

import pytest
import trio

from ctlha_trio import _errors as errors
from ctlha_trio._vocabulary import ctl_ha_status

TREE = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.CtlHaError)]
BASES = [error for error in TREE if errors.CtlHaError in error.__bases__]
FAILURES = [
    status for status in ctl_ha_status if ctl_ha_status.CTL_HA_STATUS_SUCCESS < status < ctl_ha_status.CTL_HA_STATUS_MAX
]


def bases_of(error: type[errors.CtlHaError]) -> list[type[errors.CtlHaError]]:
    return [base for base in BASES if issubclass(error, base)]


def test_every_exception_of_the_module_is_in_the_tree() -> None:
    exceptions = {
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    assert exceptions == set(TREE)


@pytest.mark.parametrize("status", FAILURES)
def test_each_status_above_success_has_exactly_one_base(status: ctl_ha_status) -> None:
    assert len([base for base in BASES if base.status is status]) == 1


def test_the_bases_by_name() -> None:
    assert {base.__name__: base.status.name for base in BASES} == {
        "FailedError": "CTL_HA_STATUS_ERROR",
        "InvalidError": "CTL_HA_STATUS_INVALID",
        "DisconnectError": "CTL_HA_STATUS_DISCONNECT",
        "BusyError": "CTL_HA_STATUS_BUSY",
        "EmptyError": "CTL_HA_STATUS_WAIT",
    }


@pytest.mark.parametrize("error", [error for error in TREE if error is not errors.CtlHaError])
def test_every_error_has_one_base_and_its_status(error: type[errors.CtlHaError]) -> None:
    (base,) = bases_of(error)
    assert error.status is base.status
    assert isinstance(error.status, ctl_ha_status)


@pytest.mark.parametrize("error", TREE)
def test_every_error_says_what_it_means(error: type[errors.CtlHaError]) -> None:
    own = vars(error).get("__doc__")
    assert own is not None
    assert own.strip().endswith(".")
    assert error.__name__.endswith("Error")


@pytest.mark.parametrize("error", TREE)
def test_only_busy_and_empty_would_block(error: type[errors.CtlHaError]) -> None:
    assert issubclass(error, trio.WouldBlock) is (bases_of(error) in ([errors.BusyError], [errors.EmptyError]))


@pytest.mark.parametrize("error", TREE)
def test_only_a_lost_session_is_a_broken_resource(error: type[errors.CtlHaError]) -> None:
    assert issubclass(error, trio.BrokenResourceError) is (bases_of(error) == [errors.DisconnectError])


def test_a_user_of_trio_catches_what_would_block() -> None:
    with pytest.raises(trio.WouldBlock, match="no credit"):
        raise errors.BusyError("no credit")


@pytest.mark.parametrize("error", [errors.RemoteProtocolError, errors.RefusedError])
def test_a_reason_stays_apart_from_its_detail(
    error: type[errors.RemoteProtocolError] | type[errors.RefusedError],
) -> None:
    assert str(error("version")) == "version"
    raised = error("version", "peer speaks 9")
    assert raised.reason == "version"
    assert str(raised) == "version: peer speaks 9"


def test_a_configuration_error_names_file_and_key() -> None:
    error = errors.ConfigError(Path("a/node.toml"), "link.listen", "is no address")
    assert str(error) == "a/node.toml: link.listen: is no address"
    assert (error.file, error.key, error.problem) == ("a/node.toml", "link.listen", "is no address")
    assert str(errors.ConfigError("a/node.toml", "", "is a folder")) == "a/node.toml: is a folder"
