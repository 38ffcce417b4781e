"""The two clients of `archroute.openai`: what they refuse, and that they are twins."""

import inspect
import subprocess
import sys
from typing import Any

import openai
import pytest

import archroute
import archroute.openai
from archroute import ModelMap, Needs, Selector
from archroute.openai import AsyncRoutedOpenAI, AsyncRoutedStream, RoutedOpenAI, RoutedStream
from archroute.openai.arguments import readable_messages, select_options
from archroute.openai.async_routed_client import AsyncChat, AsyncCompletions
from archroute.openai.routed_client import Chat, Completions
from archroute.selection import Provider
from archroute.testing import FakeAsyncRouter, FakeRouter, decision

API = [
    "AsyncRoutedOpenAI",
    "AsyncRoutedStream",
    "Attempt",
    "Routed",
    "RoutedOpenAI",
    "RoutedStream",
    "RoutingOptions",
]
PAIRS = [
    (RoutedOpenAI, AsyncRoutedOpenAI),
    (Chat, AsyncChat),
    (Completions, AsyncCompletions),
    (RoutedStream, AsyncRoutedStream),
]
BOTH = pytest.mark.parametrize(
    ("client", "router"), [(RoutedOpenAI, FakeRouter), (AsyncRoutedOpenAI, FakeAsyncRouter)]
)
DEFAULT = archroute.Model("default", provider="here")
MODELS = ModelMap("default", models=[DEFAULT], providers=[Provider("here", "http://127.0.0.1:9/v1")])


def test_the_api_is_what_it_says() -> None:
    assert archroute.openai.__all__ == API
    assert all(hasattr(archroute.openai, name) for name in API)


@pytest.mark.parametrize(("blocking", "awaited"), PAIRS)
def test_they_are_twins(blocking: type, awaited: type) -> None:
    public = [
        {
            name: list(inspect.signature(member).parameters.values())
            for name, member in vars(kind).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }
        for kind in (blocking, awaited)
    ]
    assert list(public[0]) == list(public[1])
    for name, parameters in public[0].items():
        assert parameters == public[1][name], name
    made = [inspect.signature(kind).parameters.values() for kind in (blocking, awaited)]
    assert [(each.name, each.kind, each.default) for each in made[0]] == [
        (each.name, each.kind, each.default) for each in made[1]
    ]


@BOTH
def test_a_router_without_a_selector_is_refused(client: Any, router: Any) -> None:
    with pytest.raises(archroute.InvalidRequestError, match=r"^router: needs a selector"):
        client(router(decision(None)))


@BOTH
@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0}, {"patience": -1}, {"patience": float("inf")}, {"failure_reward": 1.5}],
)
def test_a_wrong_setting_is_refused(client: Any, router: Any, wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(archroute.InvalidRequestError, match=rf"^{name}: "):
        client(router(decision(None), selector=Selector(MODELS)), **wrong)


@BOTH
def test_a_model_map_that_does_not_say_how_to_call_is_refused(client: Any, router: Any) -> None:
    with pytest.raises(archroute.ModelMapError, match=r"'default' cannot be called"):
        client(router(decision(None), selector=Selector(ModelMap("default"))))


@pytest.mark.parametrize(
    ("arguments", "needs"),
    [
        ({}, Needs()),
        ({"tools": []}, Needs()),
        ({"tools": [{}]}, Needs(tools=True)),
        ({"functions": [{}]}, Needs(tools=True)),
        ({"response_format": {"type": "text"}}, Needs()),
        ({"response_format": {"type": "json_object"}}, Needs(json_mode=True)),
        ({"response_format": {"type": "json_schema"}}, Needs(json_mode=True)),
        ({"max_tokens": 5, "max_completion_tokens": 7}, Needs(output_tokens=7)),
        ({"max_tokens": None, "tools": openai.omit}, Needs()),
    ],
)
def test_needs_are_read_off_the_arguments(arguments: dict[str, Any], needs: Needs) -> None:
    assert select_options(arguments, {}, None)["needs"] == needs
    # What the caller says is added.
    assert select_options(arguments, {"needs": Needs(vision=True)}, None)["needs"].vision


def test_the_options_of_a_call_are_over_those_of_the_client() -> None:
    options = select_options({}, {"key": "a", "policy_set": "mine"}, {"key": "b"})
    assert (options["key"], options["policy_set"]) == ("b", "mine")


def test_options_are_arguments_of_select() -> None:
    select = inspect.signature(archroute.Router.select).parameters
    assert archroute.openai.RoutingOptions.__annotations__.keys() == select.keys() - {
        "self",
        "messages",
        "strict",
    }


def test_messages_are_read_as_they_are() -> None:
    plain = {"role": "user", "content": "Hello"}
    assert readable_messages([plain, archroute.Message("assistant", None), 7]) == [
        plain,
        {"role": "assistant", "content": None},
        7,
    ]


@pytest.mark.parametrize(
    ("module", "absent", "extra"),
    [("archroute.openai", "openai", "openai"), ("archroute.selection.rewards_redis", "redis", "redis")],
)
def test_without_the_extra_it_says_what_to_install(module: str, absent: str, extra: str) -> None:
    program = f"""
import sys
sys.modules[{absent!r}] = None
try:
    import {module}
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{module} needs the '{extra}' extra: pip install 'archroute[{extra}]'")
