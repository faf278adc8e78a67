"""Pipelines of buckets: plain arithmetic, as Elasticsearch does it, and everything else refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import RequestError
from headrace.index.tantivy.aggregations.pipelines import over
from headrace.index.tantivy.aggregations.request import Spec, read

DAY = 86_400_000


def asked(pipelines: dict[str, Any], **histogram: Any) -> Spec:
    """A date histogram with these pipelines in it."""
    options = {"field": "t", **(histogram or {"fixed_interval": "1d"})}
    [spec], _, _ = read({"x": {"date_histogram": options, "aggs": pipelines}})
    return spec


def of(pipelines: dict[str, Any], values: Sequence[float | None], **histogram: Any) -> list[dict[str, Any]]:
    """The buckets, each with a metric `m`; of None an empty one."""
    spec = asked(pipelines, **histogram)
    buckets: list[dict[Any, Any]] = [
        {"key": n * DAY, "doc_count": 0 if v is None else n + 1, "m": {"value": v}}
        for n, v in enumerate(values)
    ]
    return over(spec.pipelines, buckets, spec.options)


def column(buckets: Sequence[dict[str, Any]], name: str = "p") -> list[Any]:
    """A pipeline's value in each bucket; `-` where it has put none."""
    return [bucket[name]["value"] if name in bucket else "-" for bucket in buckets]


def moving(script: str, **options: Any) -> dict[str, Any]:
    return {"p": {"moving_fn": {"buckets_path": "m", "window": 3, "script": script, **options}}}


def script(text: Any, **paths: str) -> dict[str, Any]:
    return {"p": {"bucket_script": {"buckets_path": paths or {"a": "m", "n": "_count"}, "script": text}}}


def test_a_serial_difference_is_to_the_bucket_so_many_before() -> None:
    """Where both have a value: a gap has none, unless it counts as zero."""
    plain = {"p": {"serial_diff": {"buckets_path": "m", "lag": 2}}}
    assert ["-", "-", 3.0, 6.0, "-", 1.0, "-", 6.0] == column(of(plain, [1, 2, 4, 8, None, 9, 11, 15]))
    zeros = {"p": {"serial_diff": {"buckets_path": "m", "gap_policy": "insert_zeros"}}}
    assert ["-", 1.0, -2.0, 5.0] == column(of(zeros, [1, 2, None, 5]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MovingFunctions.unweightedAvg(values)", [None, 1.0, 1.5, 7 / 3, 14 / 3]),
        ("MovingFunctions.max(values)", [None, 1.0, 2.0, 4.0, 8.0]),
        ("MovingFunctions.min(values)", [None, 1.0, 1.0, 1.0, 2.0]),
        ("MovingFunctions.sum(values)", [0.0, 1.0, 3.0, 7.0, 14.0]),
        # The weights of one and two values are 1 and 3, and Elasticsearch divides by one more.
        ("MovingFunctions.linearWeightedAvg(values)", [None, 0.5, 5 / 4, 17 / 7, 34 / 7]),
        ("MovingFunctions.ewma(values, 0.5)", [None, 1.0, 1.5, 2.75, 5.5]),
        ("return MovingFunctions.ewma( values , 1.0 ) ;", [None, 1.0, 2.0, 4.0, 8.0]),
        ("MovingFunctions.holt(values, 0.5, 0.5)", [None, 1.0, 1.5, 2.875, 5.75]),
        ("MovingFunctions.stdDev(values, MovingFunctions.unweightedAvg(values))",
         [None, 0.0, 0.5, math.sqrt(14 / 9), math.sqrt(56 / 9)]),
    ],
)  # fmt: skip
def test_a_moving_function_is_of_the_values_before_each_bucket(text: str, expected: list[Any]) -> None:
    """The first has none before it: that is no value, but for a sum."""
    assert expected == pytest.approx(column(of(moving(text), [1, 2, 4, 8, 16])), nan_ok=False)


def test_a_window_can_be_shifted_and_passes_over_gaps() -> None:
    average = "MovingFunctions.unweightedAvg(values)"
    assert [1.0, 1.5, 7 / 3] == column(of(moving(average, shift=1), [1, 2, 4]))
    assert [1.5, 7 / 3, 3.0] == column(of(moving(average, shift=2), [1, 2, 4]))
    assert [None, None, 1.0] == column(of(moving(average, shift=-1), [1, 2, 4]))
    assert [None, "-", 1.0, 2.5] == column(of(moving(average), [1, None, 4, 8]))
    assert [None, 1.0, 0.5, 5 / 3] == column(of(moving(average, gap_policy="insert_zeros"), [1, None, 4, 8]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params.a", 6.0),
        ("params.a / params.n * 100", 300.0),
        ("params.a - params.n - 1", 3.0),
        ("(params.a + 2.5) * -(params.n)", -17.0),
        ("- -params.a", 6.0),
        ("params['a']*params[\"n\"]", 12.0),
        ("return params.a;", 6.0),
        ("7 / 2", 3.0),
        ("-7 / 2 * params.n", -6.0),
        ("7 / 2.0", 3.5),
        (".5 * params.a", 3.0),
        ({"source": "params.a * params.k", "lang": "painless", "params": {"k": 10}}, 60.0),
        ({"inline": "params.a"}, 6.0),
    ],
)
def test_a_script_is_arithmetic_over_its_parameters(text: Any, expected: float) -> None:
    """Two whole numbers divide to a whole one, as in the language that it is written in."""
    assert expected == column(of(script(text), [None, 6.0]))[1]


def test_a_script_has_no_value_where_it_lacks_a_parameter_or_divides_by_zero() -> None:
    assert [1.0, "-", 1.5] == column(of(script("params.a / params.n"), [1.0, None, 4.5]))
    assert [None, None, "-"] == column(of(script("1 / (params.a - params.a)"), [1.0, 2.0, None]))
    assert [1.0] == column(
        of({"p": {"bucket_script": {"buckets_path": "m", "script": "params._value"}}}, [1.0])
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "params.a ** 2", "Math.max(params.a, 1)", "params.a > 1 ? 1 : 0", "a * 2", "params.a +", "(params.a",
        "params.a)", "params.a; params.n", "params.a params.n", "__import__('os')", "1e3", "(" * 60 + "1" + ")" * 60,
        "1+" * 600 + "1", 5, {"source": "1", "stored": "x"}, {"id": "stored"}, {"source": "1", "params": {"k": "x"}},
    ],
)  # fmt: skip
def test_any_other_script_is_refused(text: Any) -> None:
    with pytest.raises(RequestError) as raised:
        of(script(text), [1.0])
    assert (400, True) == (raised.value.status, "[bucket_script] aggregation [p]" in raised.value.reason)


@given(st.text("0123456789.+-*/() params[]'\";abn", max_size=40))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    """Never another error, and never anything but arithmetic."""
    try:
        [value] = column(of(script(text), [3.0]))
    except RequestError:
        return
    assert value is None or isinstance(value, float)


@pytest.mark.parametrize(
    ("pipelines", "told"),
    [
        (moving("MovingFunctions.holtWinters(values, 0.1, 0.1, 0.1, 2, false)"), "[script] is one of MovingFunctions"),
        (moving("MovingFunctions.ewma(values)"), "ewma and holt with weights"),
        (moving("MovingFunctions.ewma(values, 2)"), "ewma and holt with weights"),
        (moving("MovingFunctions.stdDev(values, 3)"), "stdDev with (values, MovingFunctions.unweightedAvg(values))"),
        (moving("return values[0]"), "found [values[0]]"),
        (moving("MovingFunctions.max(values)", window=0), "[window] must be a whole number of at least 1"),
        (moving("MovingFunctions.max(values)", shift="x"), "[shift] is a whole number"),
        ({"p": {"serial_diff": {"buckets_path": "m", "lag": 0}}}, "[lag] must be a whole number of at least 1"),
        ({"p": {"serial_diff": {"buckets_path": "other"}}}, "no aggregation found for path [other]"),
        ({"p": {"bucket_script": {"script": "1"}}}, "needs a [buckets_path]"),
        (script("params.b"), "names [params.b], which is not in its [buckets_path]"),
        ({"p": {"rate": {"unit": "month"}}}, "unsupported unit [month]; have: second, minute, hour, day and week"),
        ({"p": {"rate": {"unit": "fortnight"}}}, "unsupported unit [fortnight]"),
        ({"p": {"rate": {"field": "f", "mode": "avg"}}}, "[mode] is sum or value_count"),
        ({"p": {"derivative": {"buckets_path": "q"}}, "q": {"derivative": {"buckets_path": "p"}}},
         "aggregations [p, q] read each other's values"),
    ],
)  # fmt: skip
def test_what_cannot_be_computed_is_told(pipelines: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError) as raised:
        of(pipelines, [1.0, 2.0])
    assert told in raised.value.reason


def test_a_pipeline_reads_another_whatever_their_order() -> None:
    """Not every bucket has the other's value: the first has nothing to differ from."""
    pipelines = {
        "a": {"derivative": {"buckets_path": "b"}},
        "b": {"cumulative_sum": {"buckets_path": "m"}},
        "p": {"bucket_script": {"buckets_path": {"x": "a", "y": "m"}, "script": "params.x - params.y"}},
    }
    buckets = of(pipelines, [1.0, 2.0, 4.0])
    assert ["-", 2.0, 4.0] == column(buckets, "a")
    assert ["-", 0.0, 0.0] == column(buckets)


@pytest.mark.parametrize(
    ("unit", "histogram", "expected"),
    [
        (None, {"fixed_interval": "1d"}, [1.0, 2.0]),
        ("hour", {"fixed_interval": "1d"}, [1 / 24, 2 / 24]),
        ("minute", {"fixed_interval": "30s"}, [2.0, 4.0]),
        ("day", {"calendar_interval": "week"}, [1 / 7, 2 / 7]),
        ("day", {"calendar_interval": "1M"}, [1 / 31, 2 / 31]),
        ("month", {"calendar_interval": "year"}, [1 / 12, 2 / 12]),
        ("quarter", {"calendar_interval": "month"}, [3.0, 6.0]),
        ("second", {"interval": "10s"}, [0.1, 0.2]),
        ("day", {"interval": "month", "time_zone": "Europe/Berlin"}, [1 / 31, 2 / 31]),
    ],
)
def test_a_rate_is_by_the_length_of_the_bucket(unit: Any, histogram: Any, expected: list[float]) -> None:
    """Of months their own: the bucket begins in January 1970."""
    asked = {"p": {"rate": {} if unit is None else {"unit": unit}}}
    assert expected == pytest.approx(column(of(asked, [5.0, 5.0], **histogram)))


def test_a_rate_is_directly_inside_a_date_histogram() -> None:
    with pytest.raises(RequestError, match="must be directly inside a date_histogram"):
        read({"x": {"terms": {"field": "f"}, "aggs": {"r": {"rate": {"unit": "day"}}}}})
