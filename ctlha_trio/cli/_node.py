"""``ctlha node``: runs one configured node until a signal."""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterable, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

from ctlha_trio._vocabulary import ctl_ha_component
from ctlha_trio.cli._checks import load_checked
from ctlha_trio.cli._config import LoadedConfig
from ctlha_trio.cli._configured_node import faults_of, run_loaded_node
from ctlha_trio.cli._loop_guard import LoopGuard
from ctlha_trio.cli._queued_stderr import end_stderr
from ctlha_trio.cli._run import EXIT_INTERRUPTED, ending_signals
from ctlha_trio.ha import Node

_LOG: Final = logging.getLogger(__name__)
_LOG_FORMAT: Final = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)-28s %(message)s"


async def run_configured_node(file: Path) -> int:
    """Run the node of a configuration until SIGTERM, or SIGINT unless that is ignored.

    It leaves with a goodbye. At a second signal the process ends at once, whatever it waits for; so it does when its
    event loop does nothing any more.
    ``ConfigError``, alone or in a group, for whatever only the user can put right; nothing was written then.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=_LOG_FORMAT, datefmt="%H:%M:%S")
    loaded = load_checked(file)
    with faults_of(loaded):
        await _Running(loaded).run()
    return 0


@attrs.define(eq=False)
class _Running:
    """One node between its start and its end."""

    loaded: LoadedConfig
    _node: Node | None = attrs.field(default=None, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def run(self) -> None:
        """Until a signal, or until it is clear that the configuration is wrong."""
        with trio.open_signal_receiver(*ending_signals(signal.SIGINT)) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on_signal, signals)
                nursery.start_soon(LoopGuard().run)
                with self._scope:
                    await run_loaded_node(self.loaded, self._remember)
                nursery.cancel_scope.cancel()

    def _remember(self, node: Node) -> Sequence[ctl_ha_component]:
        self._node = node
        return ()

    async def _stop_on_signal(self, signals: AsyncIterable[int]) -> None:
        async for number in signals:
            reason = signal.Signals(number).name
            if self._stopping:
                _LOG.warning("stopping at once, without a goodbye: %s", reason)
                # A disk call that hangs can be neither cancelled nor left behind. To the peer this is a crash.
                end_stderr()
                os._exit(EXIT_INTERRUPTED)
            self._stopping = True
            _LOG.info("stopping: %s", reason)
            if self._node is None:
                self._scope.cancel()
            else:
                self._node.stop(reason)
