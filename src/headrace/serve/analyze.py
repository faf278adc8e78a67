"""`_analyze`: the words of a text, by an analyzer's name, by its parts, or as those of a field's values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.core.errors import RequestError
from headrace.index.mapping.analysis import Analysis
from headrace.index.mapping.index_settings import analysis_of, flattened
from headrace.index.mapping.notices import Notices
from headrace.index.tantivy import tokens
from headrace.index.tantivy.tokens import Word
from headrace.index.tantivy.view import TantivyView
from headrace.serve import requests
from headrace.serve.bodies import read_body
from headrace.serve.manage.base import warning
from headrace.serve.places import PlacedIndices
from headrace.serve.responses import answered, json_response
from headrace.serve.threads import in_thread

KEYS: Final = (
    "analyzer", "tokenizer", "filter", "char_filter", "normalizer", "field", "text", "explain", "attributes",
)  # fmt: skip
PARAMETERS: Final = requests.COMMON | {
    "analyzer",
    "field",
    "text",
    "index",
    "tokenizer",
    "filter",
    "normalizer",
}
GAP: Final = 100
"""Positions between the values of one field, which no phrase reaches over."""

MOST: Final = 10_000
"""Words in one answer, as in Elasticsearch."""

LONGEST: Final = 1 << 20
"""Characters of all texts: what is looked at before the words can be counted."""

LONGEST_ANALYZER: Final = 64_000
"""Characters of one that is spelled in a request: the last ones are kept, to be used again."""

PIECE: Final = 2_000
LARGEST_PIECE: Final = 64_000
"""Characters that are analysed to see how many words there will be: few at first, since n-grams make many."""

Analysing = Callable[[str], list[Word]]


def routes(indices: PlacedIndices) -> list[BaseRoute]:
    async def analyze(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        body = {**request.query_params, **await read_body(request)}
        for name in body:
            if name not in (*KEYS, *PARAMETERS):
                requests.fail(
                    f"unknown key [{name}] for _analyze (have: {', '.join(KEYS)})", "parsing_exception"
                )
        if requests.flag(body.get("explain"), "explain"):
            requests.fail("[explain] of _analyze is not supported: leave out filters one by one")
        texts = _texts(body.get("text"))
        notices = Notices()
        index = request.path_params.get("index", body.get("index"))
        found = await in_thread(lambda: _words(_analysing(indices, index, body, notices), texts))
        return json_response(request, {"tokens": found}, headers=warning(notices.sentences()))

    both = ["GET", "POST"]
    return [
        Route("/_analyze", answered(analyze), methods=both),
        Route("/{index}/_analyze", answered(analyze), methods=both),
    ]


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
        raise RequestError(
            400, "action_request_validation_exception", "Validation Failed: 1: text is missing;"
        )
    if len(texts) > MOST:
        requests.fail(f"[text] of _analyze has {len(texts)} values, at most {MOST}")
    size = sum(map(len, texts))
    if size > LONGEST:
        requests.fail(f"[text] of _analyze has {size} characters, at most {LONGEST}; send a part of it")
    return texts


def _analysing(
    indices: PlacedIndices, index: str | None, body: Mapping[str, Any], notices: Notices
) -> Analysing:
    """What makes words of a text. Raises RequestError."""
    field = body.get("field")
    if field is not None:
        return _of_field(indices, index, str(field))
    analysis = Analysis(_settings(indices, index), notices)
    if body.get("normalizer") is not None:
        spec = analysis.normalizer(str(body["normalizer"]), "_analyze")
        return lambda text: tokens.normalised(spec, text) if spec else [Word(text, 0, len(text), 0)]
    if body.get("tokenizer") is not None or body.get("filter") is not None:
        spelled = _made(body, _settings(indices, index), notices)
    elif body.get("analyzer") is not None:
        spelled = _named(analysis, str(body["analyzer"]))
    else:
        spelled = analysis.default or "standard"
    return lambda text: tokens.analysed(spelled, text)


def _named(analysis: Analysis, name: str) -> str:
    try:
        return analysis.analyzer(name)
    except RequestError as error:
        reason = f"failed to find global analyzer [{name}]"
        raise RequestError(400, "illegal_argument_exception", reason) from error


def _of_field(indices: PlacedIndices, index: str | None, field: str) -> Analysing:
    if index is None:
        requests.fail("[field] of _analyze needs an index in the path, which has the field")
    view = _single(indices, index).view()
    if not isinstance(view, TantivyView):
        requests.fail(f"[field] of _analyze is for indexes of type tantivy, [{index}] is none")
    return lambda text: tokens.of_field(view.snapshot, field, text)


def _settings(indices: PlacedIndices, index: str | None) -> dict[str, Any]:
    """`analysis` of the index's settings, where it was made with some."""
    if index is None:
        return {}
    name = _name(indices, index)
    place = indices.places().get(name)
    made = place.made if place is not None else None
    return analysis_of(flattened(made.settings)) if made is not None else {}


def _name(indices: PlacedIndices, expression: str) -> str:
    found = list(indices.select(expression, allow_no_indices=False))
    if len(found) != 1:
        requests.fail(f"[{expression}] names {len(found)} indexes; texts are analysed by the settings of one")
    return found[0]


def _single(indices: PlacedIndices, expression: str) -> Any:
    return indices.get(_name(indices, expression))


def _made(body: Mapping[str, Any], settings: Mapping[str, Any], notices: Notices) -> str:
    """An analyzer of the parts in the request, those defined there and those of the index's settings."""
    parts: dict[str, dict[str, Any]] = {name: dict(inner) for name, inner in settings.items()}
    custom: dict[str, Any] = {"type": "custom"}
    for name in ("tokenizer", "filter", "char_filter"):
        given = body.get(name)
        named: list[str] = []
        for each in given if isinstance(given, list) else [] if given is None else [given]:
            label = each
            if isinstance(each, Mapping):
                label = f"_{name}_{len(named)}"
                parts.setdefault(name, {})[label] = each
            named.append(str(label))
        if named:
            custom[name] = named[0] if name == "tokenizer" else named
    custom.setdefault("tokenizer", "keyword")
    parts.setdefault("analyzer", {})["_custom_"] = custom
    made = Analysis(parts, notices).analyzer("_custom_")
    if len(made) > LONGEST_ANALYZER:
        requests.fail(
            f"the analyzer has {len(made)} characters of filters and words, at most {LONGEST_ANALYZER}"
        )
    return made


def _words(analysing: Analysing, texts: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    offset = position = 0
    _check_few(analysing, texts)
    for text in texts:
        last, units = -1, _counting(text)
        for word in analysing(text):
            last = max(last, word.position)
            found.append(
                {
                    "token": word.text,
                    "start_offset": offset + units(word.start),
                    "end_offset": offset + units(word.end),
                    "type": "<NUM>" if word.text.isdecimal() else "<ALPHANUM>",
                    "position": position + word.position,
                }
            )
        if len(found) > MOST:
            raise _too_many()
        offset, position = offset + units(len(text)) + 1, position + last + 1 + GAP
    return found


def _check_few(analysing: Analysing, texts: list[str]) -> None:
    """Refuse what has far too many words after a few pieces of it. Raises RequestError.

    Words are cut where a piece ends, so that there may be a few more: what is close is counted exactly."""
    count = 0
    for text in texts:
        start, size = 0, PIECE
        while len(text) > PIECE and start < len(text):
            count += len(analysing(text[start : start + size]))
            if count > 2 * MOST:
                raise _too_many()
            start, size = start + size, min(2 * size, LARGEST_PIECE)


def _too_many() -> RequestError:
    reason = f"The number of tokens produced by calling _analyze has exceeded [{MOST}]"
    return RequestError(400, "illegal_state_exception", reason)


def _counting(text: str) -> Callable[[int], int]:
    """Elasticsearch counts in UTF-16: a character beyond the first plane is two."""
    wide = [] if text.isascii() else [place for place, each in enumerate(text) if ord(each) > 0xFFFF]
    return lambda characters: characters + bisect_left(wide, characters)
