"""The vocabulary against tables written by hand from the header, in its order."""

import itertools
import re
from collections.abc import Awaitable
from enum import Enum, IntEnum, IntFlag
from typing import get_args, get_origin, get_type_hints

import attrs
import pytest

from ctlha_trio import _vocabulary as vocabulary, ctl_ha

HEADER_ENUMS: dict[str, dict[str, int]] = {
    "ctl_ha_mode": {"CTL_HA_MODE_SER_ONLY": 0, "CTL_HA_MODE_XFER": 1},
    "ctl_ha_channel": {"CTL_HA_CHAN_NONE": 0, "CTL_HA_CHAN_CTL": 1, "CTL_HA_CHAN_ZFS": 2, "CTL_HA_CHAN_MAX": 3},
    "ctl_ha_event": {
        "CTL_HA_EVT_NONE": 0,
        "CTL_HA_EVT_MSG_RECV": 1,
        "CTL_HA_EVT_MSG_SENT": 2,
        "CTL_HA_EVT_DISCONNECT": 3,
        "CTL_HA_EVT_DMA_SENT": 4,
        "CTL_HA_EVT_DMA_RECEIVED": 5,
        "CTL_HA_EVT_MAX": 6,
    },
    "ctl_ha_status": {
        "CTL_HA_STATUS_WAIT": 0,
        "CTL_HA_STATUS_SUCCESS": 1,
        "CTL_HA_STATUS_ERROR": 2,
        "CTL_HA_STATUS_INVALID": 3,
        "CTL_HA_STATUS_DISCONNECT": 4,
        "CTL_HA_STATUS_BUSY": 5,
        "CTL_HA_STATUS_MAX": 6,
    },
    "ctl_ha_dtid": {"CTL_HA_DATA_CTL": 0, "CTL_HA_DATA_ZFS": 1, "CTL_HA_DATA_MAX": 2},
    "ctl_ha_dt_cmd": {"CTL_HA_DT_CMD_READ": 0, "CTL_HA_DT_CMD_WRITE": 1},
    "ctl_ha_state": {
        "CTL_HA_STATE_UNKNOWN": 0x00,
        "CTL_HA_STATE_SINGLE": 0x01,
        "CTL_HA_STATE_HA": 0x02,
        "CTL_HA_STATE_MASK": 0x0F,
        "CTL_HA_STATE_SLAVE": 0x10,
        "CTL_HA_STATE_MASTER": 0x20,
    },
    "ctl_ha_comp_status": {
        "CTL_HA_COMP_STATUS_OK": 0,
        "CTL_HA_COMP_STATUS_FAILED": 1,
        "CTL_HA_COMP_STATUS_ERROR": 2,
    },
}

HEADER_TYPES = {
    "ctl_ha_dt_req",
    "ctl_ha_dt_cb",
    "ctl_evt_handler",
    "ctl_ha_component",
    "ctl_hacmp_init_t",
    "ctl_hacmp_start_t",
}
HEADER_FUNCTIONS = {
    "ctl_ha_register_evthandler",
    "ctl_ha_msg_create",
    "ctl_ha_msg_recv",
    "ctl_ha_msg_send",
    "ctl_dt_req_alloc",
    "ctl_dt_req_free",
    "ctl_dt_single",
    "CTL_HA_STATE_IS_SINGLE",
    "CTL_HA_STATE_IS_HA",
}

STATE_BITS = (0x01, 0x02, 0x04, 0x08, 0x10, 0x20)
"""The four bits of the mask, then ``SLAVE`` and ``MASTER``."""

ALL_STATES = [
    sum(chosen) for count in range(len(STATE_BITS) + 1) for chosen in itertools.combinations(STATE_BITS, count)
]


def enum_named(name: str) -> type[Enum]:
    found = getattr(vocabulary, name)
    assert isinstance(found, type)
    assert issubclass(found, Enum)
    return found


@pytest.mark.parametrize("name", HEADER_ENUMS)
def test_enum_has_exactly_the_members_and_values_of_the_header(name: str) -> None:
    members = {member: value.value for member, value in enum_named(name).__members__.items()}
    assert list(members.items()) == list(HEADER_ENUMS[name].items())


@pytest.mark.parametrize("name", HEADER_ENUMS)
def test_each_enumerator_is_a_name_by_itself_as_in_c(name: str) -> None:
    for member in HEADER_ENUMS[name]:
        assert getattr(ctl_ha, member) is enum_named(name)[member]


def test_the_mirror_exports_the_names_of_the_header_and_nothing_else() -> None:
    enumerators = {member for members in HEADER_ENUMS.values() for member in members}
    assert set(ctl_ha.__all__) == {*HEADER_ENUMS, *enumerators, *HEADER_TYPES, *HEADER_FUNCTIONS}
    assert len(ctl_ha.__all__) == len(set(ctl_ha.__all__))


def test_each_name_of_the_header_has_a_typing_test(pytestconfig: pytest.Config) -> None:
    checks = (pytestconfig.rootpath / "tests" / "typing").glob("*.py")
    words = {word for check in checks for word in re.findall(r"\w+", check.read_text(encoding="utf-8"))}
    assert sorted({*ctl_ha.__all__} - words) == []


def test_no_enum_beside_those_of_the_header() -> None:
    found = {
        name
        for name, value in vars(vocabulary).items()
        if isinstance(value, type) and issubclass(value, Enum) and value.__module__ == vocabulary.__name__
    }
    assert found == set(HEADER_ENUMS)


def test_only_the_state_is_a_set_of_flags() -> None:
    flags = {name for name in HEADER_ENUMS if issubclass(enum_named(name), IntFlag)}
    assert flags == {"ctl_ha_state"}
    assert all(issubclass(enum_named(name), IntEnum) for name in HEADER_ENUMS.keys() - flags)


def test_values_compare_with_plain_integers_as_in_c() -> None:
    assert vocabulary.ctl_ha_status.CTL_HA_STATUS_BUSY > vocabulary.ctl_ha_status.CTL_HA_STATUS_SUCCESS
    assert vocabulary.ctl_ha_status(5) is vocabulary.ctl_ha_status.CTL_HA_STATUS_BUSY
    assert vocabulary.ctl_ha_state.CTL_HA_STATE_HA | vocabulary.ctl_ha_state.CTL_HA_STATE_MASTER == 0x22


@pytest.mark.parametrize("value", [-1, 7])
def test_a_number_without_a_name_is_no_status(value: int) -> None:
    with pytest.raises(ValueError, match="ctl_ha_status"):
        vocabulary.ctl_ha_status(value)


def test_the_states_of_the_test_are_all_of_them() -> None:
    assert sorted(ALL_STATES) == list(range(0x40))


@pytest.mark.parametrize("bits", ALL_STATES)
def test_state_macros_look_at_the_low_nibble_only(bits: int) -> None:
    state = vocabulary.ctl_ha_state(bits)
    assert vocabulary.CTL_HA_STATE_IS_SINGLE(state) is (bits % 16 == 1)
    assert vocabulary.CTL_HA_STATE_IS_HA(state) is (bits % 16 == 2)


def field_names(record: type[attrs.AttrsInstance]) -> list[str]:
    return [field.name for field in attrs.fields(record)]


def test_fields_of_the_transfer_request() -> None:
    assert field_names(vocabulary.ctl_ha_dt_req) == [
        "command",
        "context",
        "callback",
        "id",
        "ret",
        "size",
        "local",
        "remote",
    ]


def test_fields_of_the_component() -> None:
    assert field_names(vocabulary.ctl_ha_component) == ["name", "state", "status", "init", "start", "quiesce"]


def test_types_of_the_transfer_request() -> None:
    hints = get_type_hints(vocabulary.ctl_ha_dt_req)
    assert hints["command"] is vocabulary.ctl_ha_dt_cmd
    assert hints["id"] is vocabulary.ctl_ha_dtid
    assert hints["ret"] is vocabulary.ctl_ha_status
    assert hints["size"] is int
    assert hints["remote"] == vocabulary.RemoteBuffer | None


def test_types_of_the_component() -> None:
    hints = get_type_hints(vocabulary.ctl_ha_component)
    assert hints == {
        "name": str,
        "state": vocabulary.ctl_ha_state,
        "status": vocabulary.ctl_ha_comp_status,
        "init": vocabulary.ctl_hacmp_init_t,
        "start": vocabulary.ctl_hacmp_start_t,
        "quiesce": vocabulary.ctl_hacmp_init_t,
    }


def test_function_types_take_what_the_header_gives_them() -> None:
    assert get_args(vocabulary.ctl_evt_handler) == (
        [vocabulary.ctl_ha_channel, vocabulary.ctl_ha_event, int],
        Awaitable[None],
    )
    assert get_args(vocabulary.ctl_hacmp_init_t) == (
        [vocabulary.ctl_ha_component],
        Awaitable[vocabulary.ctl_ha_comp_status],
    )
    assert get_args(vocabulary.ctl_hacmp_start_t) == (
        [vocabulary.ctl_ha_component, vocabulary.ctl_ha_state],
        Awaitable[vocabulary.ctl_ha_comp_status],
    )
    ((request,), answer) = get_args(vocabulary.ctl_ha_dt_cb)
    assert get_origin(request) is vocabulary.ctl_ha_dt_req
    assert answer == Awaitable[None]


def test_a_request_is_made_empty_and_filled_in() -> None:
    request = vocabulary.ctl_ha_dt_req[str]()
    assert attrs.asdict(request) == {
        "command": 0,
        "context": None,
        "callback": None,
        "id": 0,
        "ret": 0,
        "size": 0,
        "local": b"",
        "remote": None,
    }
    request.context = "mine"
    request.size = 512
    assert (request.context, request.size) == ("mine", 512)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0x00, "CTL_HA_STATE_UNKNOWN"),
        (0x02, "CTL_HA_STATE_HA"),
        (0x0F, "CTL_HA_STATE_MASK"),
        (0x12, "CTL_HA_STATE_HA|CTL_HA_STATE_SLAVE"),
        (0x04, "0x4"),
        (0x40, "0x40"),
    ],
)
def test_every_state_has_a_name(value: int, name: str) -> None:
    state = vocabulary.ctl_ha_state(value)
    assert (state.name, int(state)) == (name, value)


def test_two_requests_alike_are_still_two() -> None:
    first, second = vocabulary.ctl_ha_dt_req[str](), vocabulary.ctl_ha_dt_req[str]()
    assert first != second
    assert len({first, second}) == 2


async def test_a_component_runs_its_hooks() -> None:
    async def answer(component: vocabulary.ctl_ha_component) -> vocabulary.ctl_ha_comp_status:
        return component.status

    async def start(
        component: vocabulary.ctl_ha_component, state: vocabulary.ctl_ha_state
    ) -> vocabulary.ctl_ha_comp_status:
        component.state = state | vocabulary.ctl_ha_state.CTL_HA_STATE_MASTER
        return vocabulary.ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED

    component = vocabulary.ctl_ha_component(name="disk", init=answer, start=start, quiesce=answer)
    assert component.state == vocabulary.ctl_ha_state.CTL_HA_STATE_UNKNOWN
    assert await component.init(component) is vocabulary.ctl_ha_comp_status.CTL_HA_COMP_STATUS_OK
    answered = await component.start(component, vocabulary.ctl_ha_state.CTL_HA_STATE_HA)
    assert answered is vocabulary.ctl_ha_comp_status.CTL_HA_COMP_STATUS_FAILED
    assert vocabulary.CTL_HA_STATE_IS_HA(component.state)


def test_a_place_further_on_in_remote_memory() -> None:
    start = vocabulary.RemoteBuffer(b"k" * 16, 100)
    assert start.at(28) == vocabulary.RemoteBuffer(b"k" * 16, 128)
    assert start.offset == 100


def as_in_the_reference(enum_name: str, value: int) -> str:
    return f"0x{value:02X}" if enum_name == "ctl_ha_state" else str(value)


def test_every_name_and_value_is_in_the_reference(pytestconfig: pytest.Config) -> None:
    page = (pytestconfig.rootpath / "docs" / "reference" / "vocabulary.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    for name, members in HEADER_ENUMS.items():
        assert f"class {name}(Int" in page
        for member, value in members.items():
            assert [member, as_in_the_reference(name, value)] in [row[:2] for row in rows]
    names = {row[0] for row in rows}
    assert {*field_names(vocabulary.ctl_ha_dt_req), *field_names(vocabulary.ctl_ha_component)} <= names
    assert {"ctl_ha_dt_cb", "ctl_evt_handler", "ctl_hacmp_init_t", "ctl_hacmp_start_t"} <= names
