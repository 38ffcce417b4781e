import copy
import pickle
import re

import grpc
import pytest

import archroute
from archroute import errors


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_status_has_an_error(code: grpc.StatusCode) -> None:
    assert issubclass(errors.ERRORS[code], errors.ArchrouteError)
    assert errors.ERRORS[code] is not errors.ArchrouteError


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn: dict[str, set[str]] = {}
    name = ""
    for line in (errors.__doc__ or "").splitlines():
        if branch := re.match(r"\s+[├└]── (\w+)", line):
            name = branch[1]
        if name and line.strip():
            drawn.setdefault(name, set()).update(re.findall(r"\b[A-Z_]{2,}\b", line))
        else:
            name = ""
    actual: dict[str, set[str]] = {each.__name__: set() for each in errors.ArchrouteError.__subclasses__()}
    for code, error in errors.ERRORS.items():
        actual[error.__name__].add(code.name)
    assert drawn == actual


def test_every_error_is_public() -> None:
    leaves = {each.__name__ for each in errors.ArchrouteError.__subclasses__()}
    assert leaves | {"ArchrouteError"} <= set(archroute.__all__)


@pytest.mark.parametrize("error", errors.ArchrouteError.__subclasses__())
def test_errors_cross_processes_whole(error: type[errors.ArchrouteError]) -> None:
    raised = error(
        "what happened",
        code=grpc.StatusCode.INTERNAL,
        reason="BROKEN",
        field_violations=(errors.FieldViolation("messages", "is empty"),),
        metadata={"known": "a, b"},
    )
    for twin in (pickle.loads(pickle.dumps(raised)), copy.copy(raised)):
        assert type(twin) is error
        assert str(twin) == "what happened"
        assert vars(twin) == vars(raised)
