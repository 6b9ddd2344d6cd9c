"""Virtual time, for everything around the nodes: they have clocks of their own."""

from ctlha_trio.seams import TrioClock


async def let_pass(seconds_s: float) -> None:
    """Return that much later on Trio's clock. A checkpoint."""
    clock = TrioClock()
    await clock.sleep_until(clock.now() + seconds_s)
