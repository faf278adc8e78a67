"""What of a mapping is not as asked, gathered by what it is: one sentence names all fields it is true of."""

from __future__ import annotations

from headrace.core.errors import RequestError


class Notices:
    """Sentences in the order they first came up, each with the fields it is about."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, sentence: str, field: str = "") -> None:
        """`sentence` says what is not honoured and what happens instead, of a field or of the whole index."""
        about = self._found.setdefault(sentence, [])
        if field and field not in about:
            about.append(field)

    def sentences(self) -> list[str]:
        return [
            f"field{'s' if len(about) > 1 else ''} [{', '.join(about)}]: {sentence}" if about else sentence
            for sentence, about in self._found.items()
        ]


def refused(reason: str, kind: str = "mapper_parsing_exception") -> RequestError:
    """A mapping that cannot be taken."""
    return RequestError(400, kind, reason)
