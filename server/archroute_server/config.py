"""Settings: each is a flag of `archroute serve` and an environment variable; the flag wins.

Imports nothing heavy, since the flags are declared before it is known whether the server is installed.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from archroute.commands import CommandError
from archroute_server.rpc.address import Address
from archroute_server.telemetry.logging import LogFormat

VARIABLE_PREFIX = "ARCHROUTE_"
DEFAULT_ADDRESS = Address("127.0.0.1", 50051)
# As `archroute_server.runtime.providers` has them, which imports ONNX Runtime.
PROVIDER_NAMES = ("auto", "cpu", "cuda", "tensorrt", "tensorrt-rtx")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs. `read` makes one from flags and environment variables."""

    model: Path | None = None
    policies: Path | None = None
    policy_store: Path | None = None
    allow_admin: bool = False
    listen: Address = DEFAULT_ADDRESS
    metrics_listen: Address | None = None
    allow_plaintext: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    access: Path | None = None
    self_test: bool = True
    traces: bool = False
    provider: str = PROVIDER_NAMES[0]
    engine_cache: Path | None = None
    threads: int = 0
    max_prompt_tokens: int = 4096
    tree_tokens: int = 1024
    prefix_cache_mib: int = 256
    batch_requests: int = 0
    batch_tokens: int = 2048
    queue_requests: int = 256
    queue_tokens: int = 262_144
    max_deadline_seconds: float = 60.0
    decision_cache_entries: int = 1024
    decision_cache_seconds: float = 300.0
    max_message_bytes: int = 4 * 1024 * 1024
    stream_concurrency: int = 32
    forward_timeout_seconds: float = 60.0
    unhealthy_after_failures: int = 3
    max_connection_seconds: float = 0.0
    drain_delay_seconds: float = 0.0
    drain_seconds: float = 20.0
    log_format: LogFormat = LogFormat.AUTO
    log_level: str = "info"
    log_message_text: bool = False

    @classmethod
    def read(cls, arguments: argparse.Namespace, environment: Mapping[str, str]) -> "Settings":
        """Take each setting from its flag, else from its variable, else its default.

        An empty variable counts as unset. Raises `SettingError`, also for settings that need each other.
        """
        given: dict[str, Any] = {}
        for flag in FLAGS:
            value = getattr(arguments, flag.setting)
            source = flag.name
            if value is None and (value := environment.get(flag.variable) or None) is not None:
                source = flag.variable
            if value is not None:
                given[flag.setting] = _parse(flag, source, value)
        settings = cls(**given)
        for setting, needed in _NEEDED:
            if getattr(settings, setting) is not None and getattr(settings, needed) is None:
                raise SettingError(f"{_flag(setting)} needs {_flag(needed)} with it")
        return settings


class SettingError(CommandError):
    """A flag or a variable has a value that it cannot have; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One setting as a flag. `parse` raises `ValueError` with what is wrong, to be read after the value."""

    setting: str
    metavar: str
    parse: Callable[[str], object]
    help: str

    @property
    def name(self) -> str:
        """The flag on the command line."""
        return "--" + self.setting.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return VARIABLE_PREFIX + self.setting.upper()


# What makes no sense, or is not safe, without the other.
_NEEDED = (
    ("tls_certificate", "tls_key"),
    ("tls_key", "tls_certificate"),
    ("tls_client_ca", "tls_certificate"),
)


def _flag(setting: str) -> str:
    return next(flag.name for flag in FLAGS if flag.setting == setting)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags. Their values stay text until `Settings.read`, which knows the variables too."""
    defaults = {field.name: field.default for field in fields(Settings)}
    for flag in FLAGS:
        default = defaults[flag.setting]
        shown = "" if default is None or default is False else f"default: {default}; "
        text = f"{flag.help} [{shown}{flag.variable}]"
        if flag.parse is _boolean:
            parser.add_argument(flag.name, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(flag.name, metavar=flag.metavar, help=text)


def _parse(flag: Flag, source: str, value: str | bool) -> object:
    if isinstance(value, bool):  # a flag without a value
        return value
    try:
        return flag.parse(value)
    except ValueError as error:
        raise SettingError(f"{source} {value!r} {error}") from None


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _tcp_address(text: str) -> Address:
    address = Address.parse(text)
    if address.unix_path:
        raise ValueError("is a Unix socket, which Prometheus cannot read; write HOST:PORT or [IPV6]:PORT")
    return address


def _whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if not minimum <= number <= maximum:
            raise ValueError(f"is not a whole number from {minimum} to {maximum}")
        return number

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError("is not a number of seconds, such as 20 or 0.5")
    return seconds


def _positive_seconds(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise ValueError("is not above 0 seconds")
    return seconds


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"is not one of {', '.join(names)}")
        return text

    return parse


def _log_format(text: str) -> LogFormat:
    return LogFormat(_one_of([log_format.value for log_format in LogFormat])(text))


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError("is neither true nor false")
    return lowered in _TRUE


FLAGS: tuple[Flag, ...] = (
    Flag("model", "DIR", _path, "bundle made by `archroute export`; without it, a small embedded model"),
    Flag(
        "policies",
        "PATH",
        _path,
        "YAML file of policy sets, or folder of such files, followed as it changes; without it, requests "
        "bring their own",
    ),
    Flag(
        "policy_store",
        "DIR",
        _path,
        "folder for the policy sets that callers put, beside those of --policies; made if it is not there",
    ),
    Flag(
        "allow_admin",
        "",
        _boolean,
        "let whoever can reach the server put and delete the policy sets of its store",
    ),
    Flag("listen", "ADDRESS", Address.parse, "HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 takes a free one"),
    Flag(
        "metrics_listen",
        "ADDRESS",
        _tcp_address,
        "HOST:PORT or [IPV6]:PORT where Prometheus finds the metrics, at /metrics; without it, nowhere",
    ),
    Flag(
        "allow_plaintext",
        "",
        _boolean,
        "without TLS, listen where other machines can call, too; for networks that encrypt by themselves",
    ),
    Flag(
        "tls_certificate",
        "FILE",
        _path,
        "certificate of the server and those up to its authority, in PEM, read again on change; turns TLS on",
    ),
    Flag("tls_key", "FILE", _path, "private key of the certificate, in PEM, without a password"),
    Flag(
        "tls_client_ca",
        "FILE",
        _path,
        "authorities in PEM, of one of which each caller must show a certificate (mutual TLS)",
    ),
    Flag(
        "access",
        "FILE",
        _path,
        "YAML file of tokens, scopes and limits of callers, read again on change; without it, whoever can "
        "reach the server may call it",
    ),
    Flag(
        "self_test",
        "",
        _boolean,
        "refuse a bundle that does not answer its fixed prompts as it did when it was exported",
    ),
    Flag("traces", "", _boolean, "send traces over OTLP, to where the variables OTEL_* say"),
    Flag("provider", "NAME", _one_of(PROVIDER_NAMES), f"what runs the model: {', '.join(PROVIDER_NAMES)}"),
    Flag(
        "engine_cache",
        "DIR",
        _path,
        "folder of what `archroute build-engines` built; without it, one in the user's cache folder",
    ),
    Flag(
        "threads",
        "N",
        _whole_number(0, 1024),
        "threads that run the model; 0 for one on each physical core, or what a container's CPU quota allows",
    ),
    Flag(
        "max_prompt_tokens",
        "N",
        _whole_number(1, 2**20),
        "longest prompt, policies included; a longer conversation is cut",
    ),
    Flag(
        "tree_tokens",
        "N",
        _whole_number(0, 2**16),
        "most tokens of a policy set's branches that are read at once, for the exact probability of every "
        "policy; a set with more is decided greedily, one choice at a time",
    ),
    Flag(
        "prefix_cache_mib",
        "MIB",
        _whole_number(0, 2**20),
        "memory for the keys and values of policies and earlier turns; 0 keeps none",
    ),
    Flag(
        "batch_requests",
        "N",
        _whole_number(0, 1024),
        "most requests that are decided in one run of the model, if they begin with the same cached tokens; "
        "0 for what suits the provider: 1 on a CPU, several on a GPU",
    ),
    Flag("batch_tokens", "N", _whole_number(1, 2**20), "most new tokens of requests that share a run"),
    Flag(
        "queue_requests",
        "N",
        _whole_number(1, 2**20),
        "most requests that wait or are decided at a time; more are refused at once",
    ),
    Flag(
        "queue_tokens",
        "N",
        _whole_number(1, 2**30),
        "most tokens of those requests in all; more are refused at once, unless nothing else is under way",
    ),
    Flag(
        "max_deadline_seconds",
        "SECONDS",
        _positive_seconds,
        "how long a request may take, if its caller sets no deadline or a later one",
    ),
    Flag(
        "decision_cache_entries",
        "N",
        _whole_number(0, 2**20),
        "decisions that are kept, and given again to exactly the same policies and prompt; 0 keeps none",
    ),
    Flag("decision_cache_seconds", "SECONDS", _seconds, "how long a decision is kept"),
    # gRPC keeps its own limit, a multiple of this one, in 32 bits.
    Flag("max_message_bytes", "N", _whole_number(1024, 2**30 - 1), "largest request that is accepted"),
    Flag("stream_concurrency", "N", _whole_number(1, 65536), "requests of one stream decided at a time"),
    Flag(
        "forward_timeout_seconds",
        "SECONDS",
        _seconds,
        "how long a forward pass of the model may take; after it health is NOT_SERVING and nobody is kept "
        "waiting, after twice as long the server ends; 0 sets no bound",
    ),
    Flag(
        "unhealthy_after_failures",
        "N",
        _whole_number(0, 2**20),
        "failures of the model in a row after which health is NOT_SERVING until a probe succeeds; 0 is never",
    ),
    Flag(
        "max_connection_seconds",
        "SECONDS",
        _seconds,
        "how long a connection is used before its caller is asked for a new one, so that servers that were "
        "added behind a name get their share; calls under way are finished; 0 for no limit",
    ),
    Flag(
        "drain_delay_seconds",
        "SECONDS",
        _seconds,
        "how long a stop still takes requests while health is NOT_SERVING, for load balancers to see it",
    ),
    Flag("drain_seconds", "SECONDS", _seconds, "how long a stop waits for requests under way"),
    Flag("log_format", "FORMAT", _log_format, "json, text, or auto: text if standard error is a terminal"),
    Flag("log_level", "LEVEL", _one_of(("debug", "info", "warning", "error")), "least level that is logged"),
    Flag("log_message_text", "", _boolean, "write the text of conversations to the log"),
)
