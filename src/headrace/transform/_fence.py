"""The fence round SQL expressions: only what depends on the record alone gets through.

Two fences, both allow-lists. The *text* is cut into tokens: words may be fields, known keywords, or
functions of `FUNCTIONS`; this is what finds `now()`, which the engine replaces by a constant at once, and
what knows line and column. The engine's *tree* may hold only nodes that are computed row by row: this
finds aggregates, windows and subqueries however they are written.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import polars as pl

from headrace.core.errors import ConfigError
from headrace.core.registry import suggest


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS: Final = _words("""
    abs ceil ceiling floor round sign sqrt cbrt exp ln log log2 log10 log1p pow power mod div
    sin cos tan asin acos atan atan2 degrees radians
    upper lower initcap length char_length octet_length trim ltrim rtrim replace reverse left right
    substr substring starts_with ends_with strpos position concat concat_ws split_part lpad rpad
    string_to_array regexp_like
    coalesce nullif ifnull if greatest least
    year month day hour minute second dayofweek extract date_part strptime strftime
    cast try_cast array_length array_contains array_to_string array_get array_sum array_mean
""")
"""Functions an expression may call; `docs/transform/expressions.md` explains them, a test tries each."""

_OVER_RECORDS: Final = _words("""
    sum avg mean count min max median stddev stddev_pop stddev_samp std variance var var_pop var_samp first
    last quantile quantile_cont quantile_disc corr covar covar_samp covar_pop array_agg string_agg any_value
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value unnest
    explode over select exists columns
""")
_OF_THE_MOMENT: Final = _words("""
    now current_timestamp current_date current_time localtime localtimestamp today getdate sysdate random
    rand uuid gen_random_uuid newid
""")
_KEYWORDS: Final = _words("""
    and or not in is null true false like ilike rlike regexp between distinct from for both leading trailing
    case when then else end as xor interval any precision unsigned with without zone
    varchar text string char bigint int integer int2 int4 int8 smallint tinyint ubigint uint usmallint
    utinyint double float float4 float8 real numeric decimal boolean bool date time timestamp timestamptz
    year month day hour minute second quarter week isoyear dow isodow doy epoch century decade millisecond
    microsecond
""")
_BEFORE_BRACKET: Final = _words(
    "and or not in is like between when then else any varchar char decimal numeric case from for"
)

_WORDS_CHARS: Final = 300

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<string>'(?:[^']|'')*')|(?P<quoted>"[^"]*"|`[^`]*`)
    |(?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)|(?P<word>[^\W0-9]\w*)
    |(?P<comment>--|/\*)|(?P<sign>[-+*/%=<>!~|&(),.\[\]:])|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int


def place(text: str, start: int) -> str:
    """«at line 1, column 5», counted from 1."""
    line = text.count("\n", 0, start) + 1
    return f"at line {line}, column {start - text.rfind(chr(10), 0, start)}"


def compile_expression(text: str) -> pl.Expr:
    """The engine's expression; raises ConfigError with the reason and the place."""
    tokens = list(_tokens(text))
    if not tokens:
        raise ConfigError("the expression is empty")
    _check_calls(text, tokens)
    try:
        expression = pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        said = " ".join(str(error).split())[:_WORDS_CHARS]
        where = _syntax(text) if said.startswith("unable to parse") else None
        raise ConfigError(f"{where or said} in {text!r}") from None
    if not isinstance(expression, pl.Expr):
        raise ConfigError(f"{text!r} is not one expression")
    _check_words(text, tokens, set(expression.meta.root_names()))
    _check_tree(text, json.loads(expression.meta.serialize(format="json")))
    return expression


def unknown_field(text: str, name: str, known: list[str]) -> ConfigError:
    """The error for a field that no record has, with its place in the text."""
    spellings = {name, f'"{name}"', f"`{name}`"}
    start = next((token.start for token in _tokens(text) if token.text in spellings), 0)
    return ConfigError(f"unknown field {name!r} {place(text, start)}, {suggest(name, known)}")


def _tokens(text: str) -> Iterator[Token]:
    """All tokens but spaces; what the engine might read differently than we do is refused."""
    previous = Token("space", "", -1)
    for match in _TOKEN.finditer(text):
        token = Token(match.lastgroup or "other", match.group(), match.start())
        if token.kind == "comment":
            raise ConfigError(f"a comment {place(text, token.start)} cannot stand in an expression")
        if token.kind == "other":
            raise ConfigError(f"unexpected {token.text!r} {place(text, token.start)} in {text!r}")
        if token.kind == "string" and previous.kind in {"word", "string"}:
            raise ConfigError(f"a space is missing before the text {place(text, token.start)}")
        if token.kind != "space":
            yield token
        previous = token


def _check_calls(text: str, tokens: list[Token]) -> None:
    for token, following in pairwise(tokens):
        if following.text != "(" or token.kind not in {"word", "quoted"}:
            continue
        name = token.text.lower()
        if name not in FUNCTIONS | _BEFORE_BRACKET:
            raise _refused(text, token, name)


def _check_words(text: str, tokens: list[Token], fields: set[str]) -> None:
    before = ""
    for token in tokens:
        name = token.text.lower()
        allowed = token.text in fields or name in _KEYWORDS | FUNCTIONS or before == "."
        if token.kind == "word" and not allowed:
            raise _refused(text, token, name, called=False)
        before = token.text


def _refused(text: str, token: Token, name: str, *, called: bool = True) -> ConfigError:
    at = place(text, token.start)
    if name in _OVER_RECORDS:
        return ConfigError(
            f"{name!r} {at} looks at other records: an expression is computed from one record alone, "
            "so that any batch gives the same result"
        )
    if name in _OF_THE_MOMENT:
        return ConfigError(
            f"{name!r} {at} is different each time it is computed: reading the same record again must "
            "give the same result"
        )
    if not called:
        return ConfigError(f"unexpected {token.text!r} {at} in {text!r}")
    return ConfigError(f"unknown function {token.text!r} {at}, {suggest(name, sorted(FUNCTIONS))}")


def _check_tree(text: str, node: Any) -> None:
    kind, body = next(iter(node.items())) if isinstance(node, dict) else (node, {})
    match kind:
        case "Column" | "Literal":
            children: list[Any] = []
        case "BinaryExpr":
            children = [body["left"], body["right"]]
        case "Cast":
            children = [body["expr"]]
        case "Ternary":
            children = [body["predicate"], body["truthy"], body["falsy"]]
        case "Function":
            children = body["input"]
            _check_pattern(text, body["function"], children)
        case _:
            raise ConfigError(f"{text!r} is not computed row by row (the engine calls it {kind!r})")
    for child in children:
        _check_tree(text, child)


def _check_pattern(text: str, function: Any, inputs: list[Any]) -> None:
    """A pattern per record is refused: an invalid one fails or not depending on the rows beside it."""
    if "Contains" not in str(function) or "StringExpr" not in str(function):
        return
    if not (isinstance(inputs[1], dict) and "Literal" in inputs[1]):
        raise ConfigError(f"the pattern in {text!r} must be a text, not a field")


def refuse_casts_of_text(text: str, expression: pl.Expr, frame: pl.DataFrame) -> None:
    """The engine finds out only at the first record that it cannot cast a text to a date."""
    for node in _casts(json.loads(expression.meta.serialize(format="json"))):
        target = pl.Expr.deserialize(io.StringIO(json.dumps({"Cast": node})), format="json")
        source = pl.Expr.deserialize(io.StringIO(json.dumps(node["expr"])), format="json")
        found = frame.select(target.alias("target"), source.alias("source")).schema
        if isinstance(found["source"], pl.String) and found["target"].is_temporal():
            raise ConfigError(
                f"cannot cast text to {found['target']} in {text!r}, use strptime(text, '%Y-%m-%d') or let "
                "validate read it as a date"
            )


def _casts(node: Any) -> Iterator[dict[str, Any]]:
    """All casts in a checked tree."""
    if isinstance(node, list):
        for child in node:
            yield from _casts(child)
    elif isinstance(node, dict):
        if "Cast" in node:
            yield node["Cast"]
        for key, child in node.items():
            if key != "Literal":
                yield from _casts(child)


def _syntax(text: str) -> str | None:
    """Where a text stops being SQL, from a parser that knows; imported only for this message."""
    import sqlglot  # 0.1 s, spent only to explain an error

    try:
        sqlglot.parse_one(text)
    except sqlglot.errors.ParseError as error:
        found = error.errors[0]
        return f"not an SQL expression after line {found.get('line')}, column {found.get('col')}"
    except sqlglot.errors.SqlglotError:
        return None
    return None
