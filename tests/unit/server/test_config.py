import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from archroute.commands import CommandError
from archroute_server.config import FLAGS, PROVIDER_NAMES, Settings, add_arguments
from archroute_server.rpc.address import Address
from archroute_server.runtime import providers as runtime_providers
from archroute_server.telemetry.logging import LogFormat


def read(*arguments: str, **variables: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return Settings.read(parser.parse_args(arguments), variables)


def test_every_setting_has_a_flag_and_every_flag_a_setting() -> None:
    assert [flag.setting for flag in FLAGS] == [field.name for field in fields(Settings)]


def test_the_providers_are_those_of_the_runtime() -> None:
    assert PROVIDER_NAMES == runtime_providers.PROVIDER_NAMES


def test_nothing_given_is_the_defaults() -> None:
    assert read() == Settings()
    assert str(Settings().listen) == "127.0.0.1:50051"


# A value for each flag, as text and as it is understood.
VALUES = {
    "model": ("/models/a", Path("/models/a")),
    "policies": ("p.yaml", Path("p.yaml")),
    "policy_store": ("/var/lib/archroute", Path("/var/lib/archroute")),
    "allow_admin": ("true", True),
    "listen": ("[::1]:0", Address("::1", 0)),
    "metrics_listen": ("127.0.0.1:9464", Address("127.0.0.1", 9464)),
    "allow_plaintext": ("true", True),
    "tls_certificate": ("server.pem", Path("server.pem")),
    "tls_key": ("server.key", Path("server.key")),
    "tls_client_ca": ("ca.pem", Path("ca.pem")),
    "access": ("access.yaml", Path("access.yaml")),
    "self_test": ("true", True),
    "traces": ("yes", True),
    "provider": ("cuda", "cuda"),
    "engine_cache": ("/var/cache/engines", Path("/var/cache/engines")),
    "threads": ("3", 3),
    "max_prompt_tokens": ("2048", 2048),
    "tree_tokens": ("64", 64),
    "prefix_cache_mib": ("0", 0),
    "batch_requests": ("8", 8),
    "batch_tokens": ("512", 512),
    "queue_requests": ("32", 32),
    "queue_tokens": ("4096", 4096),
    "max_deadline_seconds": ("2.5", 2.5),
    "decision_cache_entries": ("0", 0),
    "decision_cache_seconds": ("1.5", 1.5),
    "max_message_bytes": ("65536", 65536),
    "stream_concurrency": ("7", 7),
    "forward_timeout_seconds": ("0", 0.0),
    "unhealthy_after_failures": ("5", 5),
    "drain_delay_seconds": ("2.5", 2.5),
    "max_connection_seconds": ("300", 300.0),
    "drain_seconds": ("0.5", 0.5),
    "log_format": ("json", LogFormat.JSON),
    "log_level": ("debug", "debug"),
    "log_message_text": ("true", True),
}


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_flag_and_its_variable_say_the_same(flag) -> None:  # type: ignore[no-untyped-def]
    text, value = VALUES[flag.setting]
    by_flag = [flag.name] if value is True else [flag.name, text]
    # What has to be there as well.
    tls = {"ARCHROUTE_TLS_CERTIFICATE": "c", "ARCHROUTE_TLS_KEY": "k"} if "tls" in flag.setting else {}
    assert getattr(read(*by_flag, **tls), flag.setting) == value
    assert getattr(read(**tls | {flag.variable: text}), flag.setting) == value


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ("--tls-certificate", "--tls-key"),
        ("--tls-key", "--tls-certificate"),
        ("--tls-client-ca", "--tls-certificate"),
    ],
)
def test_settings_that_need_each_other(given: str, needed: str) -> None:
    with pytest.raises(CommandError, match=f"{given} needs {needed} with it"):
        read(given, "file.pem")


def test_the_flag_wins() -> None:
    assert read("--threads", "2", ARCHROUTE_THREADS="3").threads == 2
    assert read("--no-log-message-text", ARCHROUTE_LOG_MESSAGE_TEXT="1").log_message_text is False


def test_what_is_on_can_be_turned_off() -> None:
    assert read("--no-self-test").self_test is False
    assert read(ARCHROUTE_SELF_TEST="off").self_test is False


def test_an_empty_variable_is_not_set() -> None:
    assert read(ARCHROUTE_THREADS="").threads == 0


def test_a_home_folder_in_a_variable() -> None:
    assert read(ARCHROUTE_MODEL="~/bundle").model == Path.home() / "bundle"


@pytest.mark.parametrize(
    ("flag", "text", "reason"),
    [
        ("--listen", "50051", "is not an address; write HOST:PORT"),
        ("--listen", "localhost:http", "has no usable port: 'http'"),
        ("--provider", "gpu", "is not one of auto, cpu, cuda, tensorrt"),
        ("--threads", "-1", "is not a whole number from 0 to 1024"),
        ("--threads", "two", "is not a whole number from 0"),
        ("--max-message-bytes", "4MiB", "is not a whole number from 1024"),
        ("--drain-seconds", "-1", "is not a number of seconds"),
        ("--drain-seconds", "inf", "is not a number of seconds"),
        ("--drain-seconds", "nan", "is not a number of seconds"),
        ("--log-format", "xml", "is not one of auto, json, text"),
        ("--log-level", "verbose", "is not one of debug, info, warning, error"),
    ],
)
def test_a_bad_value_is_named_with_where_it_came_from(flag: str, text: str, reason: str) -> None:
    with pytest.raises(CommandError) as by_flag:
        read(f"{flag}={text}")
    assert str(by_flag.value).startswith(f"{flag} {text!r} {reason}")
    variable = "ARCHROUTE_" + flag.removeprefix("--").replace("-", "_").upper()
    with pytest.raises(CommandError) as by_variable:
        read(**{variable: text})
    assert str(by_variable.value).startswith(f"{variable} {text!r} {reason}")


def test_a_boolean_variable_that_is_neither() -> None:
    with pytest.raises(CommandError, match="ARCHROUTE_LOG_MESSAGE_TEXT 'maybe' is neither true nor false"):
        read(ARCHROUTE_LOG_MESSAGE_TEXT="maybe")


def test_the_help_names_every_variable_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    shown = " ".join(parser.format_help().split())
    for flag in FLAGS:
        assert flag.variable in shown
    assert "[default: 127.0.0.1:50051; ARCHROUTE_LISTEN]" in shown
