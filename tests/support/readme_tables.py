"""The tables of README.md that follow the code. `make docs` writes them, a test compares them.

Each stands between two comments that name it:

    <!-- settings -->
    ...
    <!-- /settings -->
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import grpc

from archroute.errors import ERRORS
from archroute_server.catalogue.catalogue import MAX_STORED_SETS
from archroute_server.config import FLAGS, Settings
from archroute_server.rpc.status import INTERNAL, STATUS_RULES, StatusRule
from archroute_server.runtime.providers import PROVIDERS, Provider
from support.monitoring import metrics_of_every_kind

README = Path(__file__).parents[2] / "README.md"

# For each reason that a server gives: when it does so, and what to do about it.
REASONS: Mapping[str, tuple[str, str]] = {
    "INVALID_REQUEST": (
        "Fields are wrong. `google.rpc.BadRequest` lists up to eight of them, each with its path",
        "Correct the request",
    ),
    "MALFORMED_REQUEST": (
        "The bytes are not a message of the protocol. Text that is not UTF-8 is the usual cause",
        "Correct the caller",
    ),
    "MESSAGE_TOO_LARGE": (
        "The request is larger than `--max-message-bytes`",
        "Send less of the conversation, or raise the limit",
    ),
    "POLICY_SET_NOT_FOUND": (
        "The server has no policy set of that name",
        "Use one of those that the message names",
    ),
    "NO_DEFAULT_POLICY_SET": (
        "Neither the request nor the server says which policies to choose among",
        "Send policies, or start the server with `--policies`",
    ),
    "SERVER_STARTING": ("The model is not loaded and warm yet", "Try again shortly"),
    "SERVER_STOPPING": ("The server is shutting down", "Send the request to another server"),
    "QUEUE_FULL": (
        "As much is under way as `--queue-requests` and `--queue-tokens` allow",
        "Try again after the time that the error names, ask another server, or go on without a decision",
    ),
    "DEADLINE_UNREACHABLE": (
        "At the pace of the requests before it, this one would be decided after its deadline",
        "As above, or allow more time",
    ),
    "DEADLINE_EXCEEDED": (
        "The deadline passed: the caller's, or `--max-deadline-seconds`",
        "Allow more time, or go on without a decision",
    ),
    "TOKEN_MISSING": (
        "The method is not open to callers without a token",
        "Send a token as `authorization: Bearer TOKEN`, in Python `token`",
    ),
    "TOKEN_INVALID": (
        "The `authorization` holds no token that the server knows",
        "Check the token. `archroute token` makes a new one",
    ),
    "SCOPE_MISSING": (
        "The caller lacks the scope of the method",
        "Give it the scope in the server's access file",
    ),
    "CALLER_BUSY": (
        "As many requests of the caller are under way as its `concurrent_requests` allows",
        "Wait for one of them",
    ),
    "CALLER_TOO_FAST": (
        "The caller sends more than its `requests_per_second`",
        "Try again after the time that the error names",
    ),
    "MODEL_FAILED": (
        "Running the model raised an error. The message holds an id, and the server's log has the same id",
        "Go on without a decision, or ask another server",
    ),
    "MODEL_OUTPUT_INVALID": ("The model gave something that is no number. As above", "As above"),
    "MODEL_STALLED": (
        "A run of the model takes longer than `--forward-timeout-seconds`, and nobody is kept waiting for it",
        "Send the request to another server",
    ),
    "ADMIN_DISABLED": (
        "The call would change the server, which was started without `--allow-admin`",
        "Start it with that flag, or change its files",
    ),
    "NO_POLICY_STORE": (
        "The server was started without `--policy-store`, so there is nowhere to put a policy set",
        "Start it with one, or change its files",
    ),
    "POLICY_SET_READ_ONLY": (
        "The policy set comes from a file of the server",
        "Edit the file, or give the set another name",
    ),
    "REVISION_MISMATCH": (
        "The policy set has another revision than `if_revision` says; `ErrorInfo.metadata` has it as "
        "`current_revision`",
        "Read the set again, and decide whether your change still fits",
    ),
    "POLICY_STORE_FULL": (
        f"The policy store holds {MAX_STORED_SETS} sets",
        "Delete one that nobody uses",
    ),
    "POLICY_STORE_UNWRITABLE": (
        "The policy store cannot be written; the message says why. Nothing was changed",
        "Look after the server's disk",
    ),
    "INTERNAL": ("A defect. The message holds an id, and the server's log has the same id", "Report it"),
}
# For statuses that gRPC itself gives, without a reason.
WITHOUT_REASON: Mapping[grpc.StatusCode, tuple[str, str]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        "The caller's deadline passed",
        "Allow more time, or go on without a decision",
    ),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (
        "The request is more than twice as large as `--max-message-bytes`, so gRPC itself refused it",
        "Send less of the conversation",
    ),
    grpc.StatusCode.CANCELLED: ("The caller cancelled the call", "Nothing"),
    grpc.StatusCode.UNAVAILABLE: (
        "Nobody listens at the address, or the connection broke",
        "Check the address. Try again, or go on without a decision",
    ),
}


def settings_table() -> Iterator[str]:
    """Every flag of `archroute serve`, with its variable and its default."""
    defaults = {field.name: field.default for field in fields(Settings)}
    yield "| Flag | Variable | Default | What it is |"
    yield "| --- | --- | --- | --- |"
    for flag in FLAGS:
        default = defaults[flag.setting]
        shown = "" if default is None else f"`{str(default).lower()}`"
        name = f"{flag.name} {flag.metavar}".rstrip()
        yield f"| `{name}` | `{flag.variable}` | {shown} | {flag.help} |"


def providers_table() -> Iterator[str]:
    """Every execution provider, and what it can do."""
    yield (
        "| `--provider` | Precisions | Attention | Requests in a pass | CUDA graphs | Keys and values lie on "
        "| By `auto` | Install |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for provider in reversed(PROVIDERS):
        yield _provider_row(provider)


def _provider_row(provider: Provider) -> str:
    precisions = ", ".join(f"`{precision}`" for precision in sorted(provider.precisions))
    cells = (
        f"`{provider.name}`",
        precisions,
        provider.attention,
        str(provider.batch_requests),
        _yes_or_no(provider.graph_capture),
        {"cpu": "the host", "cuda": "the GPU"}[provider.device],
        _yes_or_no(provider.automatic),
        f"`{provider.install}`",
    )
    return f"| {' | '.join(cells)} |"


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def errors_table() -> Iterator[str]:
    """Every status that a caller may see."""
    yield "| Status | Reason | Error in Python | When | What to do |"
    yield "| --- | --- | --- | --- | --- |"
    rules = dict.fromkeys([*STATUS_RULES.values(), INTERNAL])
    for rule in rules:
        yield _error_row(rule.code, _reason(rule), *REASONS[rule.reason])
    for code, (when, what_to_do) in WITHOUT_REASON.items():
        yield _error_row(code, "", when, what_to_do)


def metrics_table() -> Iterator[str]:
    """Every metric of a server, less those of its process."""
    yield "| Metric | Type | Labels | What it is |"
    yield "| --- | --- | --- | --- |"
    for family in metrics_of_every_kind().registry.collect():
        if not family.name.startswith("archroute_"):
            continue
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        labels = ", ".join(f"`{label}`" for label in names)
        yield f"| `{family.name}{suffix}` | {family.type} | {labels} | {family.documentation} |"


def _reason(rule: StatusRule) -> str:
    return f"`{rule.reason}`"


def _error_row(code: grpc.StatusCode, reason: str, when: str, what_to_do: str) -> str:
    return f"| `{code.name}` | {reason} | `{ERRORS[code].__name__}` | {when} | {what_to_do} |"


TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    "settings": settings_table,
    "providers": providers_table,
    "errors": errors_table,
    "metrics": metrics_table,
}


def with_tables(text: str) -> str:
    """Return the README with its tables as the code has them."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        written = begin + "".join(f"{line}\n" for line in table()) + end
        text, found = pattern.subn(lambda _, written=written: written, text)
        if found != 1:
            raise ValueError(f"{README} has {found} places for the table {name!r}; it needs one")
    return text


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
