import importlib.metadata
import inspect
import subprocess
import sys

import pytest

import archroute

API = [
    "AccessDeniedError",
    "ArchrouteError",
    "AsyncRouter",
    "CircuitOpenError",
    "DeadlineExceededError",
    "Decision",
    "FailedPreconditionError",
    "FieldViolation",
    "Finding",
    "InvalidRequestError",
    "Message",
    "Model",
    "ModelMap",
    "ModelMapError",
    "Needs",
    "NoModelFitsError",
    "Outcome",
    "Policy",
    "PolicySet",
    "PolicySetChangedError",
    "PolicySetNotFoundError",
    "PolicySetSummary",
    "ProtocolError",
    "RankedPolicy",
    "RequestCancelledError",
    "ResourceExhaustedError",
    "Revisions",
    "RouteRequest",
    "Router",
    "Selection",
    "SelectionOutcome",
    "SelectionReason",
    "Selector",
    "ServerError",
    "Severity",
    "Stickiness",
    "Strategy",
    "Timings",
    "Tls",
    "TokenUsage",
    "UnavailableError",
    "Validation",
    "__version__",
]

# What belongs to the extras: none of it may be imported, or even be needed, by the thin client.
HEAVY = ("numpy", "onnxruntime", "tokenizers", "archroute_server.app", "archroute_export.graph")


def test_the_api_is_what_it_says() -> None:
    assert archroute.__all__ == API
    assert all(hasattr(archroute, name) for name in API)


def test_the_version_is_that_of_the_distribution() -> None:
    assert archroute.__version__ == importlib.metadata.version("archroute")


def _methods(client: type) -> dict[str, inspect.Signature]:
    public = {name: member for name, member in vars(client).items() if not name.startswith("_")}
    return {name: inspect.signature(member) for name, member in public.items()}


@pytest.mark.parametrize("name", ["__init__", *_methods(archroute.Router)])
def test_the_twins_have_the_same_signatures(name: str) -> None:
    blocking = inspect.signature(getattr(archroute.Router, name))
    awaited = inspect.signature(getattr(archroute.AsyncRouter, name))
    assert list(blocking.parameters) == list(awaited.parameters)
    for parameter, other in zip(blocking.parameters.values(), awaited.parameters.values(), strict=True):
        assert (parameter.kind, parameter.default) == (other.kind, other.default)
        # An async stream reads async iterables as well.
        if (name, parameter.name) != ("route_stream", "requests"):
            assert parameter.annotation == other.annotation


def test_the_twins_have_the_same_methods() -> None:
    assert list(_methods(archroute.Router)) == list(_methods(archroute.AsyncRouter))


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["route", "--help"], ["policies", "--help"]]
)
def test_the_client_imports_nothing_heavy(arguments: list[str]) -> None:
    program = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == heavy or name.startswith(heavy + ".") for heavy in {HEAVY!r}):
            raise AssertionError("imported " + name)

sys.meta_path.insert(0, Absent())
import archroute
import archroute.cli
try:
    status = archroute.cli.main({arguments!r})
except SystemExit as error:
    status = error.code
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
