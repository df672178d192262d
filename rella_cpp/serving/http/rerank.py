"""Reranking as Jina, Cohere and others ask for it: a query, documents, and the best of them.

The query is the JSON of a history, or of `{"user": {…}, "history": [ … ]}`; other text is what the user wants, in plain
words. Documents are titles, `Aliens (1986)`, or objects with the domain's fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError
from rella_cpp.exports.inputs import titled_item
from rella_cpp.serving.requests import Request, parse_line
from rella_cpp.serving.service import Service

_LONGEST = 2000
"""Characters of a preference in plain words."""


@dataclass(frozen=True, slots=True)
class Rerank:
    """A request to rerank: as one of the worker's, and what its answer has.

    Attributes
    ----------
    request
        Items and history.
    texts
        Each document as its answer shows it.
    most
        How many results, the best ones.
    documents
        Whether results have the documents.

    """

    request: Request
    texts: tuple[str, ...]
    most: int
    documents: bool

    def answer(self, found: Mapping[str, Any], model: str) -> dict[str, Any]:
        """Make the answer of a worker's: `results`, the best first, each with its `index` and `relevance_score`."""
        rows = list(enumerate(found["scores"]))
        rows.sort(key=lambda pair: pair[1]["rank"])
        results = []
        for index, row in rows[: self.most]:
            relevance = row["probability"] if row.get("calibrated") is None else row["calibrated"]
            result = {"index": index, "relevance_score": relevance}
            results.append(result | ({"document": {"text": self.texts[index]}} if self.documents else {}))
        tokens = sum(row["prompt_tokens"] for row in found["scores"])
        return {
            "model": model,
            "results": results,
            "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
            "exact": found["exact"],
            **({"warnings": found["warnings"]} if "warnings" in found else {}),
        }


def take_rerank(value: object, service: Service) -> Rerank:
    """Check a request to rerank.

    Raises
    ------
    InputError
        A key is missing, or a value does not fit; unknown keys are for other servers, and not looked at.

    """
    if not isinstance(value, dict):
        raise InputError(f"a request is an object, found {describe(value)}", remedy="give query and documents")
    documents = value.get("documents")
    if not isinstance(documents, list) or not documents:
        finding = "is empty" if documents == [] else f"is {describe(documents)}"
        raise InputError(finding, place="documents", remedy="give a list of titles or objects")
    most = value.get("top_n")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise InputError(f"is {describe(most)}", place="top_n", remedy="give a whole number from 1 on")
    shown = value.get("return_documents", False)
    if not isinstance(shown, bool):
        raise InputError(f"is {describe(shown)}", place="return_documents", remedy="give true or false")
    items, texts = zip(*(_document(each, place, service) for place, each in enumerate(documents)), strict=True)
    asked, wanted = _query(value.get("query"))
    request = service.request({**asked, "items": list(items)})
    if wanted is not None:
        if service.layout == "stream":
            finding = "is plain words, not JSON, and a stream's prompts show only ratings"
            raise InputError(
                finding, place="query", remedy="send the JSON of a history, or serve with --layout question"
            )
        query = replace(request.query, preference=wanted)
        request = replace(request, query=query)
    return Rerank(request, texts, len(texts) if most is None else most, shown)


def _document(value: object, place: int, service: Service) -> tuple[dict[str, Any], str]:
    """Return a document as an item's fields, and as text."""
    text = value.get("text") if isinstance(value, dict) and set(value) == {"text"} else value
    if isinstance(text, str):
        try:
            return dict(titled_item(text, service.domain).fields), text
        except InputError as error:
            raise error.located(place=f"documents[{place}]") from None
    if isinstance(value, dict):
        return value, str(value.get("title", ""))
    raise InputError(f"is {describe(value)}", place=f"documents[{place}]", remedy="give a title or an object")


def _query(value: object) -> tuple[dict[str, Any], str | None]:
    """Return a query as keys of a worker's request, and what the user wants in plain words, if it is that."""
    if not isinstance(value, str) or not value.strip():
        remedy = "give the JSON of a history as text, or what the user wants in plain words"
        raise InputError(f"is {describe(value)}", place="query", remedy=remedy)
    if value.lstrip()[:1] not in ("[", "{"):
        if len(value) > _LONGEST:
            finding = f"has {len(value):,} characters and is no JSON"
            raise InputError(finding, place="query", remedy=f"give at most {_LONGEST:,}, or a history")
        return {"history": [], "allow_empty_history": True}, value
    try:
        found = parse_line(value.encode("utf-8", "surrogatepass"))
    except InputError as error:
        raise InputError(f"is no JSON: {error}", place="query", remedy="give the JSON of a history") from None
    if isinstance(found, dict):
        if unknown := found.keys() - {"user", "history", "k", "retrieval", "order", "window", "allow_empty_history"}:
            raise InputError(f"has the key {min(unknown)}", place="query", remedy="give user and history")
        if "history" not in found:
            raise InputError("has no history", place="query", remedy='give {"history": [ … ]}, or the list alone')
        return found, None
    return {"history": found}, None
