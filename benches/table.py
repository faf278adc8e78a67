"""The table of what is promised, P1 to P11: each row's value, its bar and its goal, and how they compare."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Taken = Mapping[str, Any]
Measured = Mapping[str, Sequence[Taken]]
Pick = Callable[[Taken], float]

MISSING: Final = "-"
DIGITS: Final = {
    "/s": ",.0f",
    "MB": ",.0f",
    "s": ".2f",
    "ms": ".1f",
    "µs": ".1f",
    "": ".2f",
    "records": ",.0f",
}


@dataclass(frozen=True)
class Limit:
    """What a value is to be at least, or at most."""

    value: float
    least: bool

    def met(self, value: float) -> bool:
        return value >= self.value if self.least else value <= self.value

    def told(self, unit: str) -> str:
        number = format(self.value, ",g")
        return f"{'≥' if self.least else '≤'} {number}{'' if unit in ('/s', '') else ' '}{unit}"

    def missed(self, value: float, name: str) -> str:
        """`0.80 of the bar`, or `1.25 times the bar` where less would be better."""
        return f"{value / self.value:.2f} {'of' if self.least else 'times'} the {name}"


def least(value: float) -> Limit:
    return Limit(value, least=True)


def most(value: float) -> Limit:
    return Limit(value, least=False)


@dataclass(frozen=True)
class Row:
    """One line: values of all rounds. `number` is that of the promise, empty for what is only shown."""

    number: str
    what: str
    values: Sequence[float]
    unit: str
    bar: Limit | None = None
    goal: Limit | None = None
    ratios: Sequence[float] = ()
    ratio_bar: Limit | None = None
    ratio_goal: Limit | None = None
    wanting: str = ""
    """Why there is no value."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def limits(self) -> tuple[str, str]:
        """Bar and goal as they are told: that of the value and that of the ratio."""
        return _both(self.bar, self.ratio_bar, self.unit), _both(self.goal, self.ratio_goal, self.unit)

    @property
    def short_of(self) -> list[str]:
        """What is missed: every bar, then every goal whose bar is met; nothing where all are met."""
        if not self.values:
            return []
        pairs = [(self.median, self.bar, self.goal)]
        if self.ratios:
            pairs.append((statistics.median(self.ratios), self.ratio_bar, self.ratio_goal))
        found = []
        for value, bar, goal in pairs:
            if bar is not None and not bar.met(value):
                found.append(bar.missed(value, "bar"))
            elif goal is not None and not goal.met(value):
                found.append(goal.missed(value, "goal"))
        return found

    @property
    def verdict(self) -> str:
        if self.wanting:
            return self.wanting
        if not any((self.bar, self.goal, self.ratio_bar, self.ratio_goal)):
            return ""
        short = self.short_of
        if not short:
            has_goal = self.goal is not None or self.ratio_goal is not None
            return "goal met" if has_goal else "bar met"
        below = any("bar" in text for text in short)
        words = "; ".join(short)
        if below:
            return f"**falls short**: {words}"
        return f"bar met; {words}" if self.bar is not None or self.ratio_bar is not None else words


def number(value: float, unit: str) -> str:
    return f"{format(value, DIGITS[unit])}{'' if unit in ('/s', '') else ' '}{unit}"


def _both(first: Limit | None, second: Limit | None, unit: str) -> str:
    return ", ".join(
        [*([first.told(unit)] if first else []), *([f"ratio {second.told('')}"] if second else [])]
    )


class Table:
    """The rows of one run; what failed or was left out is a row that says so."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def rows(self) -> list[Row]:
        return [
            *self._rates(),
            *self._pushes(),
            *self._latencies(),
            *self._held(),
            *self._starts(),
            *self._searches(),
            *self._growth(),
            *self._bytes(),
        ]

    def good(self, name: str) -> list[Taken]:
        return [one for one in self._measured.get(name, []) if "failed" not in one and "skipped" not in one]

    def row(self, number_: str, what: str, unit: str, name: str, pick: Pick, **options: Any) -> Iterator[Row]:
        """One row of one measurement; none where it was not asked for."""
        if name not in self._measured:
            return
        wrong = [one.get("failed") or one.get("skipped") for one in self._measured[name]]
        wanting = next((text for text in wrong if text), "")
        try:
            values = [pick(one) for one in self.good(name)]
        except (KeyError, IndexError) as error:
            values, wanting = [], f"not in the results: {error}"
        if wanting:
            wanting = f"{'not measured' if not values else f'{len(wrong) - len(values)} failed'}: {wanting}"
        yield Row(number_, what, values, unit, wanting=wanting, **options)

    def _against(self, name: str, base: str) -> list[float]:
        """Ratios within a round: neighbours in time."""
        pairs = zip(self._measured.get(name, []), self._measured.get(base, []), strict=False)
        return [one["rate"] / other["rate"] for one, other in pairs if "rate" in one and "rate" in other]

    def _rate(self, number_: str, what: str, name: str, **options: Any) -> Iterator[Row]:
        ratios = self._against(name, "bare")
        yield from self.row(number_, what, "/s", name, lambda one: one["rate"], ratios=ratios, **options)

    def _rates(self) -> Iterator[Row]:
        yield from self._rate("", "bare Tantivy, ready lines, the same schema", "bare")
        yield from self._rate(
            "P1",
            "files → validate, two sets, a lookup → index, appended",
            "append",
            bar=least(100_000),
            goal=least(125_000),
            ratio_bar=least(0.75),
            ratio_goal=least(0.95),
        )
        yield from self.row(
            "", "CPU of a record appended, all threads", "µs", "append", lambda one: one["cpu_us"]
        )
        yield from self.row(
            "", "peak memory of appending, the process", "MB", "append", lambda one: one["peak_mb"]
        )
        yield from self._rate(
            "P2", "the same with a declared id, all new", "upsert", bar=least(90_000), goal=least(110_000)
        )
        yield from self._rate(
            "P2", "the same, every document overwritten", "overwrite", bar=least(60_000), goal=least(90_000)
        )
        yield from self._rate(
            "P10", "parse and the same steps, into nothing", "null", bar=least(300_000), goal=least(600_000)
        )

    def _pushes(self) -> Iterator[Row]:
        def row(number_: str, what: str, unit: str, pick: Pick, **options: Any) -> Iterator[Row]:
            return self.row(number_, what, unit, "sustained", pick, **options)

        yield from row(
            "P3",
            "`_bulk` over HTTP, durable answers: the highest rate that is held",
            "/s",
            lambda one: one["rate"] if one["held"] else 0.0,
            bar=least(70_000),
            goal=least(100_000),
        )
        yield from row(
            "P3", "its answers, p99", "ms", lambda one: one["ack_ms"]["p99"], bar=most(50), goal=most(20)
        )
        yield from row(
            "P3", "how far search is behind at its end", "s", lambda one: one["lag_s"], bar=most(1.0)
        )
        for who in ("server", "ingester", "client"):
            yield from row("", f"CPU of a record pushed, {who}", "µs", _spent(who))

    def _latencies(self) -> Iterator[Row]:
        rates = {rate for one in self.good("latencies") for rate in one["rates"]}
        limits = {25_000: {"bar": most(100)}, 50_000: {"goal": most(100)}, 100_000: {"goal": most(100)}}
        if not rates:
            yield from self.row(
                "P4", "accept → durable and searchable", "ms", "latencies", lambda one: one["rates"]
            )
        for one in self.good("latencies"):
            for rate, reason in one["failures"].items():
                what = f"{int(rate):,}/s offered: durable and searchable, p99"
                bar, goal = (limits.get(int(rate), {}).get(name) for name in ("bar", "goal"))
                yield Row("P4", what, [], "ms", bar, goal, wanting=f"not measured: {reason}")
        for rate in sorted(map(int, rates)):
            for name, told in (("ack_ms", "answered"), ("searchable_ms", "durable and searchable")):
                bound = limits.get(rate, {}) if name == "searchable_ms" else {}
                pick = _at_rate(rate, name)
                yield from self.row(
                    "P4", f"{rate:,}/s offered: {told}, p99", "ms", "latencies", pick, **bound
                )

    def _held(self) -> Iterator[Row]:
        count = next((one["expected"] for one in self.good("held")), 0)
        told = f"{count:,} records accepted while the index stands still"
        yield from self.row(
            "P5",
            f"{told}, then drained: peak of all processes and tmpfs",
            "MB",
            "held",
            lambda one: one["peak_mb"],
            bar=most(1000),
            goal=most(600),
        )
        yield from self.row("P5", "of these, lost", "records", "held", lambda one: one["lost"], bar=most(0))

    def _starts(self) -> Iterator[Row]:
        count = next((one["expected"] for one in self.good("service")), 0)
        yield from self.row(
            "P6",
            f"start → ready, all processes, {count:,} documents",
            "s",
            "service",
            lambda one: one["ready_full_s"],
            bar=most(1.0),
            goal=most(0.5),
        )
        yield from self.row(
            "P6",
            "`headrace --help`",
            "s",
            "service",
            lambda one: one["help_s"],
            bar=most(0.25),
            goal=most(0.1),
        )

    def _searches(self) -> Iterator[Row]:
        kinds = next((list(one["search_ms"]) for one in self.good("service")), [])
        for kind in kinds:
            slow = kind in ("terms aggregation", "date_histogram")
            yield from self.row(
                "P7",
                f"search at rest, {kind}, p99",
                "ms",
                "service",
                _cut("search_ms", kind, "p99"),
                bar=most(60 if slow else 20),
            )
            busy, idle = _cut("busy_ms", kind, "p99"), _cut("search_ms", kind, "p99")
            yield from self.row(
                "P7",
                f"the same while 25,000/s arrive, {kind}, p99",
                "ms",
                "service",
                busy,
                ratios=[busy(one) / idle(one) for one in self.good("service")],
                ratio_bar=most(5),
                ratio_goal=most(2),
            )
        yield from self.row(
            "P7",
            "durable and searchable in that run, p99",
            "ms",
            "service",
            lambda one: one["pushed"]["searchable_ms"]["p99"],
            bar=most(100),
        )

    def _growth(self) -> Iterator[Row]:
        steps = [one["steps"] for one in self.good("growth")]
        for place, step in enumerate(steps[0] if steps else []):
            told, last = f"{step['size']:,} documents", place == len(steps[0]) - 1
            first = [each[place]["rate"] / each[0]["rate"] for each in steps]
            bar, goal = (least(0.8), least(0.95)) if last and place else (None, None)
            yield Row(
                "P8",
                f"{told}: appended",
                [each[place]["rate"] for each in steps],
                "/s",
                ratios=first,
                ratio_bar=bar,
                ratio_goal=goal,
            )
            for what, unit, pick in GROWN:
                yield Row("P8", f"{told}: {what}", [pick(each[place]) for each in steps], unit)
        if not steps:
            yield from self.row("P8", "growth", "/s", "growth", lambda one: one["steps"][0]["rate"])

    def _bytes(self) -> Iterator[Row]:
        for number_, name, told in (
            ("P9", "append", "log records"),
            ("", "flights", "flights (CSV, three lookups)"),
            ("", "packages", "Debian's packages"),
        ):
            bounds = {"bar": most(0.8), "goal": most(0.5)} if number_ else {}
            yield from self.row(
                number_,
                f"bytes on disk per byte read, {told}",
                "",
                name,
                lambda one: one["disk_bytes"] / one["input_bytes"],
                **bounds,
            )
        for name, told in (
            ("flights", "flights: four steps, ids declared"),
            ("packages", "Debian's packages"),
        ):
            yield from self.row("", f"{told}, appended", "/s", name, lambda one: one["rate"])
        yield from self._copies()

    def _copies(self) -> Iterator[Row]:
        what = "bytes written per byte read, on the way to the engine"
        if not self.good("copies"):
            yield from self.row("P11", what, "", "copies", lambda one: one["cases"], goal=most(3))
        for case in next((list(one["cases"]) for one in self.good("copies")), []):
            pick = _copied(case)
            yield from self.row("P11", f"{what}: {case}", "", "copies", pick, goal=most(3))


GROWN: Final[tuple[tuple[str, str, Pick], ...]] = (
    ("pushed at 25,000/s, searchable p99", "ms", lambda step: step["pushed"]["searchable_ms"]["p99"]),
    ("peak memory of appending", "MB", lambda step: step["peak_mb"]),
    ("peak memory of the service", "MB", lambda step: step["service_mb"]),
)


def _copied(case: str) -> Pick:
    return lambda one: float(one["cases"][case]["total"])


def _spent(who: str) -> Pick:
    return lambda one: float(one["cpu_us"][who])


def _at_rate(rate: int, name: str) -> Pick:
    return lambda one: float(one["rates"][str(rate)][name]["p99"])


def _cut(where: str, kind: str, cut: str) -> Pick:
    return lambda one: float(one[where][kind][cut])
