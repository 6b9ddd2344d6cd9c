"""Bugs put into how two links find each other; ``in_links.py`` has them in its table."""

import math
from typing import Any

import trio

from ctlha_trio.link import Link, _meeting
from ctlha_trio.link._backoff import backoff_s as plain_backoff_s
from ctlha_trio.link._connection import Connection
from ctlha_trio.link._meeting import Meeting
from ctlha_trio.seams import Entropy
from ctlha_trio.wire import Hello, Refusal
from tests.mutants.trouble import Patch


def lets_the_end_of_a_replaced_connection_end_the_new_one(patch: Patch) -> None:
    plain = Link._begin

    def begin(link: Link, *agreed: Any) -> Connection:
        link._connection = None
        return plain(link, *agreed)

    patch.setattr(Link, "_begin", begin)


def gives_up_for_ever_after_a_dial_that_failed(patch: Patch) -> None:
    def backoff_s(failures: int, entropy: Entropy) -> float:
        return plain_backoff_s(failures, entropy) if failures == 0 else math.inf

    patch.setattr(_meeting, "backoff_s", backoff_s)


def rests_for_ever(patch: Patch) -> None:
    patch.setattr(Meeting, "go_on", lambda _: None)


def dials_only_once(patch: Patch) -> None:
    patch.setattr(Meeting, "notice_loss", lambda _: None)
    plain = Meeting._dial

    async def dial(meeting: Meeting) -> bool:
        if await plain(meeting):
            await trio.sleep_forever()
        return False

    patch.setattr(Meeting, "_dial", dial)


def forgets_no_dial_that_failed(patch: Patch) -> None:
    """So a peer that was away for long is looked for slowly ever after."""
    most: dict[Entropy, int] = {}

    def backoff_s(failures: int, entropy: Entropy) -> float:
        most[entropy] = max(failures, most.get(entropy, 0))
        return plain_backoff_s(most[entropy], entropy)

    patch.setattr(_meeting, "backoff_s", backoff_s)


def refuses_whoever_dials_at_the_same_time(patch: Patch) -> None:
    """Both do, and both dial again."""
    plain = Meeting._judge

    async def judge(meeting: Meeting, own: Hello, theirs: Hello) -> Refusal | None:
        return await plain(meeting, own, theirs) or (Refusal.SIMULTANEOUS if meeting._proposing else None)

    patch.setattr(Meeting, "_judge", judge)
