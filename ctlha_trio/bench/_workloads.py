"""What is measured of a link in each round, and beside what."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Literal

import attrs

from ctlha_trio.bench._figures import Comparison, Figure, Results, Unit
from ctlha_trio.bench._measuring import Measuring, RoundTrips

Carrier = Literal["tls", "tcp"]
Values = dict[str, float]
Progress = Callable[[int, int, str], None]
"""Gets the round, how many there are, and what is measured next."""

_SOCKETS: Final[dict[Carrier, str]] = {"tls": "TLS socket", "tcp": "socket"}
_STREAMS: Final[dict[Carrier, str]] = {"tls": "trio.SSLStream", "tcp": "bare Trio socket"}
_TRANSFERS: Final = {"push": "pushes", "pull": "pulls"}
_US: Final = 1e6
_MB: Final = 1e-6
_WARM_UP: Final = 0.1
"""What part of a round comes first and is not counted: what is new costs more."""


@attrs.frozen(kw_only=True)
class Sizes:
    """How much is done in one round."""

    messages: int = 50_000
    header_messages: int = 15_000
    round_trips: int = 500
    loaded_round_trips: int = 100
    transfers: int = 96
    """Of 1 MiB."""

    def scaled(self, factor: float) -> "Sizes":
        """At least one of each."""
        return Sizes(**{name: max(1, int(count * factor)) for name, count in attrs.asdict(self).items()})


@attrs.frozen
class Workload:
    """One thing that is done in each round."""

    title: str
    run: Callable[[Sizes], Awaitable[Values]]
    """Values by the names of figures."""


@attrs.frozen
class Bench:
    """All that is done in each round, what it yields, and what of that stands beside what."""

    workloads: Sequence[Workload]
    figures: Sequence[Figure]
    comparisons: Sequence[Comparison]

    def joined(self, other: "Bench") -> "Bench":
        """Both, interleaved."""
        return Bench(
            [*self.workloads, *other.workloads],
            [*self.figures, *other.figures],
            [*self.comparisons, *other.comparisons],
        )


async def run_rounds(bench: Bench, *, rounds: int, sizes: Sizes, progress: Progress) -> Results:
    """Each workload once a round, one after the other. The rounds begin with another one each time."""
    results = Results(bench.figures, bench.comparisons)
    progress(0, rounds, "warming up")
    for workload in bench.workloads:
        await workload.run(sizes.scaled(_WARM_UP))
    for number in range(rounds):
        first = number % len(bench.workloads)
        for workload in [*bench.workloads[first:], *bench.workloads[:first]]:
            progress(number + 1, rounds, workload.title)
            results.add(await workload.run(sizes))
    return results


def link_bench(carrier: Carrier, measuring: Measuring) -> Bench:
    """The link on one carrier, and bare sockets on the same."""
    measured = [*_link_workloads(carrier, measuring)]
    return Bench(
        [workload for workload, _ in measured],
        [figure for _, figures in measured for figure in figures],
        [*_link_comparisons(carrier)],
    )


Measured = tuple[Workload, tuple[Figure, ...]]


def _rate(name: str, title: str, run: Callable[[Sizes], Awaitable[float]]) -> Measured:
    figure = Figure(name, title, Unit.MESSAGES)

    async def measured(sizes: Sizes) -> Values:
        return {name: await run(sizes)}

    return Workload(title, measured), (figure,)


def _speed(name: str, title: str, run: Callable[[str, int], Awaitable[float]], kind: str) -> Measured:
    figure = Figure(name, title, Unit.MEGABYTES)

    async def measured(sizes: Sizes) -> Values:
        return {name: await run(kind, sizes.transfers) * _MB}

    return Workload(title, measured), (figure,)


def _trips(name: str, title: str, run: Callable[[Sizes], Awaitable[RoundTrips]]) -> Measured:
    p50, p99 = (Figure(f"{name}_{part}", f"{title}, {part}", Unit.MICROSECONDS) for part in ("p50", "p99"))

    async def measured(sizes: Sizes) -> Values:
        took = await run(sizes)
        return {p50.name: took.p50_s * _US, p99.name: took.p99_s * _US}

    return Workload(title, measured), (p50, p99)


def _link_workloads(carrier: Carrier, measuring: Measuring) -> Iterator[Measured]:
    stream = _STREAMS[carrier]
    yield _rate(f"{carrier}_one_way", "one way", lambda sizes: measuring.one_way(sizes.messages))
    yield _rate(
        f"{carrier}_one_way_header",
        "one way, header's functions",
        lambda sizes: measuring.one_way_header(sizes.header_messages),
    )
    yield _trips(f"{carrier}_round_trip", "round trip", lambda sizes: measuring.round_trips(sizes.round_trips))
    yield _trips(
        f"{carrier}_bare_round_trip",
        f"round trip, {stream}",
        lambda sizes: measuring.bare_round_trips(sizes.round_trips),
    )
    for what in _TRANSFERS:
        yield from _transfer_workloads(carrier, measuring, what)


def _transfer_workloads(carrier: Carrier, measuring: Measuring, what: str) -> Iterator[Measured]:
    yield _speed(f"{carrier}_{what}", f"DMA {what}", measuring.transfers, what)
    yield _speed(f"{carrier}_bare_{what}", f"{what} on a blocking {_SOCKETS[carrier]}", measuring.bare_transfers, what)
    if carrier == "tls":
        yield _speed(
            f"{carrier}_stream_{what}", f"{what} on {_STREAMS[carrier]}", measuring.bare_transfers, f"stream-{what}"
        )
    yield _trips(
        f"{carrier}_round_trip_beside_{what}",
        f"round trip beside {_TRANSFERS[what]}",
        lambda sizes: measuring.loaded_round_trips(what, sizes.loaded_round_trips),
    )


def _link_comparisons(carrier: Carrier) -> Iterator[Comparison]:
    yield Comparison(
        name=f"{carrier}_round_trip_to_bare",
        title=f"round trip, p50, to that on a {_STREAMS[carrier]}",
        figure=f"{carrier}_round_trip_p50",
        beside=f"{carrier}_bare_round_trip_p50",
        at_most=1.5 if carrier == "tcp" else None,
    )
    for what, many in _TRANSFERS.items():
        yield Comparison(
            name=f"{carrier}_{what}_to_bare",
            title=f"DMA {what}, to that on a blocking {_SOCKETS[carrier]}",
            figure=f"{carrier}_{what}",
            beside=f"{carrier}_bare_{what}",
            at_least=0.9 if carrier == "tcp" else 0.95,
        )
        if carrier == "tls":
            yield Comparison(
                name=f"{carrier}_{what}_to_stream",
                title=f"DMA {what}, to that on {_STREAMS[carrier]}",
                figure=f"{carrier}_{what}",
                beside=f"{carrier}_stream_{what}",
            )
        yield Comparison(
            name=f"{carrier}_round_trip_beside_{what}",
            title=f"round trip, p99 beside {many}, to idle p50",
            figure=f"{carrier}_round_trip_beside_{what}_p99",
            beside=f"{carrier}_round_trip_p50",
            at_most=10.0,
        )
