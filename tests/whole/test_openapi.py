"""Requests to every route that the OpenAPI document allows or forbids.

No answer is a 5xx, and the document declares each answer.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.generation.modes import GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema

from deployments.web.schemas import MAX_DEADLINE_MS
from tests.whole.app import WholeApp

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = schemathesis.Case[Any]

_COLLECTION = "books"
_CHECKS = {
    # Tried below, with a key that is wrong.
    "ignored_auth": {"enabled": False},
    # The schema has no words for rules between fields, or for a text of spaces alone.
    "positive_data_acceptance": {"enabled": False},
    # A request that is only too large gets a 413.
    "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 413]},
}
# The vendors' routes read values leniently: "3" for 3, "" for what was not given. Of a route that
# reads a query alone the wrong thing may be the missing key, which the test sends.
_LENIENT = "embed|rerank|usage"
_OPERATIONS = [
    {"include-path-regex": _LENIENT, "checks": {"negative_data_rejection": {"enabled": False}}}
]
# Other paths to a route under /v1.
_OTHER_PATHS = ("/embeddings", "/infinity/", "/openai/", "/rerank")
# The largest number of a query parameter that no route refuses.
_TAKEN = {"deadline_ms": MAX_DEADLINE_MS, "limit": 100}
_SETTINGS = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def document(whole: WholeApp, url: str) -> BaseSchema:
    with whole.client(url, "alice") as client:
        assert client.put(f"/v1/collections/{_COLLECTION}").status_code == 201
    config = SchemathesisConfig.from_dict({"checks": _CHECKS, "operations": _OPERATIONS})
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


def _operations(document: BaseSchema) -> list[Operation]:
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 15
    return operations


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_every_answer_is_declared(
    document: BaseSchema, whole: WholeApp, mode: GenerationMode
) -> None:
    for operation in _operations(document):
        if mode is GenerationMode.NEGATIVE and not _reads_anything(operation):
            continue

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(_SETTINGS, max_examples=5 if operation.path.startswith(_OTHER_PATHS) else 20)
        def ask(case: AnyCase) -> None:
            # A query parameter that nobody asked for is passed over, as is usual in HTTP.
            assume(set(case.query or {}) <= {parameter.name for parameter in case.operation.query})
            if mode is GenerationMode.POSITIVE:
                _give_time(case)
                _aim(case, whole)
            else:
                # A list of one reads in a query as what is in it, what is empty is not sent, and a
                # text of digits reads as a number.
                assume(not any(map(_is_one_or_none, (case.query or {}).values())))
                assume(not any(map(_is_text_of_digits, (case.query or {}).values())))
                assume(not _short(case))
                assume(not _is_right(case))
            case.call_and_validate(headers={"authorization": f"Bearer {whole.keys['alice']}"})

        ask()


def test_without_a_key_every_route_but_the_probes_says_401(document: BaseSchema) -> None:
    for operation in _operations(document):

        @given(case=operation.as_strategy())
        @settings(_SETTINGS, max_examples=3)
        def ask(case: AnyCase) -> None:
            answer = case.call(headers={"authorization": "Bearer wn_live_nobodys"})
            case.validate_response(answer)
            assert answer.status_code == (200 if case.operation.path.endswith("z") else 401)

        ask()


def _reads_anything(operation: Operation) -> bool:
    return bool(operation.body or operation.path_parameters or operation.query)


def _is_one_or_none(value: object) -> bool:
    return value == {} or (isinstance(value, list) and len(value) < 2)


def _is_text_of_digits(value: object) -> bool:
    return isinstance(value, str) and value.isdecimal()


def _is_right(case: AnyCase) -> bool:
    """Whether the case is wrong only before it is sent: its headers give way to a right key, and of
    a list of one number in a query what is left is the number, and every route takes these."""
    if case.path_parameters or case.operation.body:
        return False
    return all(
        type(value) is int and 1 <= value <= _TAKEN.get(name, 0)
        for name, value in (case.query or {}).items()
    )


def _give_time(case: AnyCase) -> None:
    for place in _short(case):
        del place["deadline_ms"]


def _short(case: AnyCase) -> list[Any]:
    """Return the parts of a case with a deadline below a second, which would end at a 504."""
    places: list[Any] = [one for one in (case.body, case.query) if isinstance(one, dict)]
    return [place for place in places if 1 <= _number(place.get("deadline_ms")) < 1_000]


def _number(value: object) -> float:
    """The value as a route reads it, leniently; 0 for none."""
    try:
        return float(str(value))
    except ValueError:
        return 0.0


def _aim(case: AnyCase, whole: WholeApp) -> None:
    """Valid requests name what is there, or they would all end at a 404."""
    if "name" in (case.path_parameters or {}):
        case.path_parameters["name"] = _COLLECTION
    if not isinstance(case.body, dict):
        return
    if "collection" in case.body:
        case.body["collection"] = _COLLECTION
    if "model" in case.body:
        embeds = "embed" in case.operation.path
        case.body["model"] = whole.embed_model if embeds else whole.rerank_model
