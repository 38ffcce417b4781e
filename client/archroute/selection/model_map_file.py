"""The model map's file.

default: [openai/gpt-5-mini]         # if no policy fits or the router fails; one name or several
strategy: ranked                     # of policies without one of their own: see archroute.Strategy
models:                              # what is known of models; all but `name` may be left out
  - name: openai/gpt-5-mini
    provider: openai
    endpoint: gpt-5-mini             # what the provider's API calls it
    context_window: 400000           # tokens
    capabilities: [vision, tools, json_mode]
    price: {input: 0.25, output: 2}  # per million tokens
    weight: 1
providers:                           # where those models are called, by archroute.openai
  - name: openai
    base_url: https://api.openai.com/v1
    api_key_variable: OPENAI_API_KEY # the environment variable with the key; left out if none is needed
policies:                            # what is special about policies; all but `name` may be left out
  - name: code_generation
    models: [large-coder, small-coder]    # instead of those of the router's answer
    strategy: weighted
    weights: {large-coder: 95, small-coder: 5}
    experiment: small-coder-canary
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

from archroute.errors import FieldViolation, ModelMapError
from archroute.selection.model import Model, Price
from archroute.selection.model_map import ModelMap, PolicyModels
from archroute.selection.provider import Provider, is_web_address
from archroute.selection.strategies.strategy import Strategy
from archroute.selection.yaml_nodes import (
    WrongNodeError,
    mapping,
    number,
    sequence,
    text,
    text_keys,
    whole_number,
)

__all__ = ["read_model_map"]

_Entry = TypeVar("_Entry")

_CAPABILITIES = ("vision", "tools", "json_mode")


def read_model_map(path: Path) -> ModelMap:
    """Reads a model map.

    Raises:
        ModelMapError: The file cannot be read or is wrong. Its message begins with `file:line:column`, and
            `field_violations` has that place as the field.
    """
    try:
        root = yaml.compose(path.read_bytes().decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise _error(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _error(str(path), "is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise _error(place, f"is not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise _error(str(path), f"is not valid YAML: {error}") from error
    if root is None:
        raise _error(str(path), "is empty; it needs `default`")
    try:
        return _model_map(root)
    except WrongNodeError as error:
        raise _error(f"{path}:{error.line}:{error.column}", str(error)) from error


def _error(place: str, reason: str) -> ModelMapError:
    return ModelMapError(f"{place}: {reason}", field_violations=(FieldViolation(place, reason),))


def _model_map(root: yaml.Node) -> ModelMap:
    optional = ("strategy", "models", "providers", "policies")
    entries = mapping(root, "the file", required=("default",), optional=optional)
    models = _by_name(entries.get("models"), "models", _model)
    providers = _by_name(entries.get("providers"), "providers", _provider)
    policies = _by_name(entries.get("policies"), "policies", _policy)
    strategy = _strategy(entries["strategy"], "strategy") if "strategy" in entries else Strategy.RANKED
    default = entries["default"]
    return ModelMap(
        _names(default, "default") if isinstance(default, yaml.SequenceNode) else text(default, "default"),
        models=models.values(),
        providers=providers.values(),
        policies=policies,
        strategy=strategy,
    )


def _by_name(
    node: yaml.Node | None, where: str, read: Callable[[yaml.Node, str], tuple[yaml.Node, str, _Entry]]
) -> dict[str, _Entry]:
    found: dict[str, _Entry] = {}
    for index, each in enumerate([] if node is None else sequence(node, where)):
        name_node, name, entry = read(each, f"{where}[{index}]")
        if name in found:
            raise WrongNodeError(name_node, f"{where}[{index}].name: {name!r} is already taken")
        found[name] = entry
    return found


def _model(node: yaml.Node, where: str) -> tuple[yaml.Node, str, Model]:
    optional = ("provider", "endpoint", "context_window", "capabilities", "price", "weight")
    entries = mapping(node, where, required=("name",), optional=optional)
    name = text(entries["name"], f"{where}.name")
    capabilities = _capabilities(entries.get("capabilities"), f"{where}.capabilities")
    window, weight = entries.get("context_window"), entries.get("weight")
    model = Model(
        name,
        provider=text(entries["provider"], f"{where}.provider") if "provider" in entries else "",
        endpoint=text(entries["endpoint"], f"{where}.endpoint") if "endpoint" in entries else "",
        context_window=None if window is None else whole_number(window, f"{where}.context_window"),
        vision="vision" in capabilities,
        tools="tools" in capabilities,
        json_mode="json_mode" in capabilities,
        price=_price(entries.get("price"), f"{where}.price"),
        weight=1.0 if weight is None else number(weight, f"{where}.weight"),
    )
    return entries["name"], name, model


def _provider(node: yaml.Node, where: str) -> tuple[yaml.Node, str, Provider]:
    entries = mapping(node, where, required=("name", "base_url"), optional=("api_key_variable",))
    name = text(entries["name"], f"{where}.name")
    base_url = text(entries["base_url"], f"{where}.base_url")
    if not is_web_address(base_url):
        raise WrongNodeError(entries["base_url"], f"{where}.base_url must begin with https:// or http://")
    variable = entries.get("api_key_variable")
    provider = Provider(
        name, base_url, "" if variable is None else text(variable, f"{where}.api_key_variable")
    )
    return entries["name"], name, provider


def _capabilities(node: yaml.Node | None, where: str) -> set[str]:
    found = set()
    for index, each in enumerate([] if node is None else sequence(node, where)):
        name = text(each, f"{where}[{index}]")
        if name not in _CAPABILITIES:
            raise WrongNodeError(
                each, f"{where}[{index}] must be one of {', '.join(_CAPABILITIES)}, not {name!r}"
            )
        found.add(name)
    return found


def _price(node: yaml.Node | None, where: str) -> Price | None:
    if node is None:
        return None
    entries = mapping(node, where, required=("input", "output"))
    return Price(number(entries["input"], f"{where}.input"), number(entries["output"], f"{where}.output"))


def _policy(node: yaml.Node, where: str) -> tuple[yaml.Node, str, PolicyModels]:
    optional = ("models", "strategy", "weights", "experiment")
    entries = mapping(node, where, required=("name",), optional=optional)
    models = _names(entries["models"], f"{where}.models") if "models" in entries else None
    weights = {}
    if "weights" in entries:
        for name, each in text_keys(entries["weights"], f"{where}.weights").items():
            weights[name] = number(each, f"{where}.weights.{name}")
            if models is not None and name not in models:
                raise WrongNodeError(each, f"{where}.weights names {name!r}, which is not among its models")
    strategy = _strategy(entries["strategy"], f"{where}.strategy") if "strategy" in entries else None
    experiment = text(entries["experiment"], f"{where}.experiment") if "experiment" in entries else ""
    policy = PolicyModels(models, strategy, weights, experiment)
    return entries["name"], text(entries["name"], f"{where}.name"), policy


def _names(node: yaml.Node, where: str) -> tuple[str, ...]:
    names = tuple(text(each, f"{where}[{index}]") for index, each in enumerate(sequence(node, where)))
    if not names:
        raise WrongNodeError(node, f"{where} is empty; name at least one model, or leave it out")
    return names


def _strategy(node: yaml.Node, where: str) -> Strategy:
    name = text(node, where)
    known = [each.value for each in Strategy]
    if name not in known:
        raise WrongNodeError(node, f"{where} must be one of {', '.join(known)}, not {name!r}")
    return Strategy(name)
