"""`_analyze`: the words of a text, by an analyzer's name, by its parts, or as those of a field's values."""

from __future__ import annotations

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
from headrace.serve.manage.base import warning
from headrace.serve.places import PlacedIndices
from headrace.serve.reads import answered
from headrace.serve.responses import json_response
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

Analysing = Callable[[str], list[Word]]


def routes(indices: PlacedIndices) -> list[BaseRoute]:
    async def analyze(request: Request) -> Response:
        requests.check_parameters(request, PARAMETERS)
        body = {**request.query_params, **await requests.read_body(request)}
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
    return Analysis(parts, notices).analyzer("_custom_")


def _words(analysing: Analysing, texts: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    offset = position = 0
    for text in texts:
        last = -1
        for word in analysing(text):
            last = max(last, word.position)
            found.append(
                {
                    "token": word.text,
                    "start_offset": offset + _units(text, word.start),
                    "end_offset": offset + _units(text, word.end),
                    "type": "<NUM>" if word.text.isdecimal() else "<ALPHANUM>",
                    "position": position + word.position,
                }
            )
        if len(found) > MOST:
            reason = f"The number of tokens produced by calling _analyze has exceeded [{MOST}]"
            raise RequestError(400, "illegal_state_exception", reason)
        offset, position = offset + _units(text, len(text)) + 1, position + last + 1 + GAP
    return found


def _units(text: str, characters: int) -> int:
    """Elasticsearch counts in UTF-16: a character beyond the first plane is two."""
    return characters + sum(1 for each in text[:characters] if ord(each) > 0xFFFF)
