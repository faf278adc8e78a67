"""The scripts of pipelines, as far as they are plain arithmetic: none is run, each is read into a function.

`bucket_script` may add, subtract, multiply and divide its parameters; `moving_fn` names one of the functions
that Elasticsearch has for it. As in its language, two whole numbers divide to a whole one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from headrace.index.tantivy.aggregations.request import Spec, bad

Numbers = Mapping[str, float]
Expression = Callable[[Numbers], float]
Window = Callable[[Sequence[float]], float]

LONGEST: Final = 1_000
"""Characters of a script; as many parts it can have, each worked out for every bucket."""

DEEPEST: Final = 50
ARITHMETIC: Final = "+ - * / and parentheses over numbers and params.NAME"
FUNCTIONS: Final = "max min sum unweightedAvg stdDev linearWeightedAvg ewma holt"

_TOKEN: Final = re.compile(
    r"\s*(?:(\d+\.\d*|\.\d+|\d+(?:\.\d+)?)|params\.([A-Za-z_]\w*)|params\[\s*(?:'([^']+)'|\"([^\"]+)\")\s*\]|([-+*/()]))"
)
_CALL: Final = re.compile(r"MovingFunctions\s*\.\s*(\w+)\s*\(\s*values\s*(?:,(.*))?\)", re.DOTALL)


def text_of(spec: Spec) -> tuple[str, dict[str, float]]:
    """The script, and the numbers that it brings as parameters of its own. Raises RequestError."""
    given: Any = spec.options.get("script")
    params: Any = {}
    if isinstance(given, Mapping):
        if unknown := sorted(set(given) - {"source", "inline", "lang", "params"}):
            _refuse(spec, f"[script] has no option [{unknown[0]}]; have: source, params")
        params, given = given.get("params") or {}, given.get("source", given.get("inline"))
    if not isinstance(given, str) or not given.strip():
        _refuse(spec, "needs a [script]")
    if not isinstance(params, Mapping) or not all(_is_number(value) for value in params.values()):
        _refuse(spec, "[params] of its [script] are numbers by name")
    if len(given) > LONGEST:
        _refuse(spec, f"its [script] is longer than {LONGEST} characters")
    text = given.strip().removesuffix(";").strip()
    return re.sub(r"^return\s+", "", text), dict(params)


def expression(spec: Spec) -> Expression:
    """What a `bucket_script` makes of its parameters. Raises RequestError for what is no arithmetic."""
    text, own = text_of(spec)
    made = _Parser(spec, text).whole()
    return (lambda given: made({**own, **given})) if own else made


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse(spec: Spec, reason: str) -> NoReturn:
    bad(f"[{spec.kind}] aggregation [{spec.name}]: {reason}")


class _Parser:
    """One expression, from left to right."""

    def __init__(self, spec: Spec, text: str) -> None:
        self._spec = spec
        self._text = text
        self._tokens = list(self._read())
        self._place = 0
        self._depth = 0

    def whole(self) -> Expression:
        made = self._sum()
        if self._place < len(self._tokens):
            self._wrong()
        return made

    def _read(self) -> Iterator[tuple[str, Any]]:
        place = 0
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                self._wrong()
            number, *names, sign = match.groups()
            if number is not None:
                yield "number", float(number) if "." in number else int(number)
            elif sign is not None:
                yield sign, sign
            else:
                yield "name", next(name for name in names if name is not None)
            place = match.end()

    def _wrong(self) -> NoReturn:
        _refuse(self._spec, f"[script] is {ARITHMETIC}, found [{self._text}]; compute it where it is read")

    def _next(self, *kinds: str) -> tuple[str, Any] | None:
        """The next token, if it is one of these."""
        if self._place < len(self._tokens) and self._tokens[self._place][0] in kinds:
            self._place += 1
            return self._tokens[self._place - 1]
        return None

    def _sum(self) -> Expression:
        made = self._product()
        while (sign := self._next("+", "-")) is not None:
            made = _combined(sign[0], made, self._product())
        return made

    def _product(self) -> Expression:
        made = self._one()
        while (sign := self._next("*", "/")) is not None:
            made = _combined(sign[0], made, self._one())
        return made

    def _one(self) -> Expression:
        self._depth += 1
        if self._depth > DEEPEST:
            _refuse(self._spec, f"its [script] is nested deeper than {DEEPEST} levels")
        try:
            return self._unnested()
        finally:
            self._depth -= 1

    def _unnested(self) -> Expression:
        if (found := self._next("number")) is not None:
            number = found[1]
            return lambda _: number
        if (found := self._next("name")) is not None:
            return self._parameter(str(found[1]))
        if (found := self._next("-", "+")) is not None:
            inner = self._one()
            return inner if found[0] == "+" else lambda given: -inner(given)
        if self._next("(") is None:
            self._wrong()
        inner = self._sum()
        if self._next(")") is None:
            self._wrong()
        return inner

    def _parameter(self, name: str) -> Expression:
        spec = self._spec

        def value(given: Numbers) -> float:
            if name not in given:
                _refuse(spec, f"[script] names [params.{name}], which is not in its [buckets_path]")
            return given[name]

        return value


def _combined(sign: str, left: Expression, right: Expression) -> Expression:
    match sign:
        case "+":
            return lambda given: left(given) + right(given)
        case "-":
            return lambda given: left(given) - right(given)
        case "*":
            return lambda given: left(given) * right(given)
        case _:
            return lambda given: _quotient(left(given), right(given))


def _quotient(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int) and right:
        whole = abs(left) // abs(right)
        return whole if (left < 0) == (right < 0) else -whole
    try:
        return left / right
    except ZeroDivisionError:
        return math.nan  # an infinity there, and neither is a value


def window_function(spec: Spec) -> Window:
    """What a `moving_fn` makes of the values in its window. Raises RequestError for another script."""
    text, _ = text_of(spec)
    match = _CALL.fullmatch(text)
    name, given = (match[1], (match[2] or "").strip()) if match is not None else ("", "")
    if name in _PLAIN and not given:
        return _PLAIN[name]
    if name == "stdDev" and re.sub(r"\s", "", given) == "MovingFunctions.unweightedAvg(values)":
        return _deviation
    weights = [part.strip() for part in given.split(",")] if given else []
    if name in _WEIGHTED and len(weights) == _WEIGHTED[name] and all(map(_is_weight, weights)):
        alpha, beta = float(weights[0]), float(weights[-1])
        return (lambda values: _ewma(values, alpha)) if name == "ewma" else _holt(alpha, beta)
    _refuse(
        spec,
        f"[script] is one of MovingFunctions ({FUNCTIONS}) of (values), "
        "ewma and holt with weights from 0 to 1, stdDev with "
        f"(values, MovingFunctions.unweightedAvg(values)); found [{text}]",
    )


def _is_weight(text: str) -> bool:
    return re.fullmatch(r"\d*\.?\d+|\d+\.", text) is not None and 0 <= float(text) <= 1


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _deviation(values: Sequence[float]) -> float:
    mean = _average(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values)) if values else math.nan


def _linear(values: Sequence[float]) -> float:
    """Later ones weigh more. The weights are divided by one more than their sum, as in Elasticsearch."""
    weights = 1 + len(values) * (len(values) + 1) // 2
    return sum(value * place for place, value in enumerate(values, 1)) / weights if values else math.nan


def _ewma(values: Sequence[float], alpha: float) -> float:
    found = values[0] if values else math.nan
    for value in values[1:]:
        found = value * alpha + found * (1 - alpha)
    return found


def _holt(alpha: float, beta: float) -> Window:
    """Smoothed with a trend, which begins at none."""

    def smooth(values: Sequence[float]) -> float:
        level, trend = (values[0] if values else math.nan), 0.0
        for value in values[1:]:
            before = level
            level = alpha * value + (1 - alpha) * (level + trend)
            trend = beta * (level - before) + (1 - beta) * trend
        return level

    return smooth


_PLAIN: Final[Mapping[str, Window]] = {
    "max": lambda values: max(values, default=math.nan),
    "min": lambda values: min(values, default=math.nan),
    "sum": lambda values: float(sum(values)),
    "unweightedAvg": _average,
    "linearWeightedAvg": _linear,
}
_WEIGHTED: Final = {"ewma": 1, "holt": 2}
