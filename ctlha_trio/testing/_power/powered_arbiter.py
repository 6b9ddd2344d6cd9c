"""The way of one incarnation to its arbiter, which ends with its power."""

import attrs

from ctlha_trio._errors import ArbiterError
from ctlha_trio.pair import Record, SwapOutcome
from ctlha_trio.seams import Arbiter, SwapAnswer, Versioned
from ctlha_trio.testing._power.disk import PowerDisk


@attrs.frozen(eq=False)
class PoweredArbiter:
    """Another arbiter, as long as the disk of the machine has power: what a dead node's clean-up asks goes nowhere."""

    _arbiter: Arbiter
    _disk: PowerDisk

    @property
    def identity(self) -> str:
        """That of the arbiter behind it."""
        return self._arbiter.identity

    async def read(self) -> Versioned:
        """``ArbiterError`` without power."""
        if self._disk.is_cut:
            raise ArbiterError("the machine has no power")
        return await self._arbiter.read()

    async def cas(self, expected_revision: int, record: Record) -> SwapAnswer:
        """REFUSED without power."""
        if self._disk.is_cut:
            return SwapAnswer(SwapOutcome.REFUSED)
        return await self._arbiter.cas(expected_revision, record)

    async def probe(self) -> bool:
        """No without power."""
        return not self._disk.is_cut and await self._arbiter.probe()
