from pathlib import Path

import pytest

from archroute import Model, ModelMap, ModelMapError, Strategy
from archroute.selection import PolicyModels, Price, Provider, model_map_file

EXAMPLE = (model_map_file.__doc__ or "").split("\n\n", 1)[1]


def load(folder: Path, text: str) -> ModelMap:
    path = folder / "models.yaml"
    path.write_text(text, encoding="utf-8")
    return ModelMap.load(path)


def test_the_documented_file_says_what_it_says(tmp_path: Path) -> None:
    found = load(tmp_path, EXAMPLE)
    mini = Model(
        "openai/gpt-5-mini",
        provider="openai",
        endpoint="gpt-5-mini",
        context_window=400_000,
        vision=True,
        tools=True,
        json_mode=True,
        price=Price(0.25, 2),
    )
    assert (found.default, found.models) == ((mini,), (mini,))
    assert found.providers == {"openai": Provider("openai", "https://api.openai.com/v1", "OPENAI_API_KEY")}
    assert found.entry("code_generation") == PolicyModels(
        ("large-coder", "small-coder"),
        Strategy.WEIGHTED,
        {"large-coder": 95, "small-coder": 5},
        "small-coder-canary",
    )
    assert found.strategy_of("code_generation") is Strategy.WEIGHTED
    assert found.strategy_of("travel") is Strategy.RANKED


def test_the_map_goes_before_the_answer() -> None:
    described = Model("b", provider="p")
    found = ModelMap("d", models=[described], policies={"code": PolicyModels(("b", "c", "b"))})
    assert found.models_of("code", ["a"]) == (described, Model("c"))
    assert found.models_of("travel", ["a", "b", "a"]) == (Model("a"), described)
    assert found.model("a").endpoint == "a"
    assert found.default == (Model("d"),)


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("models: []", 1, 1, "the file has no `default`"),
        ("- a", 1, 1, "the file must be a mapping, not a list"),
        ("default: []", 1, 10, "default is empty"),
        ("default: a\ndefualt: b", 2, 1, "unknown key `defualt`; did you mean `default`?"),
        ("default: a\ndefault: b", 2, 1, "the key `default` twice"),
        ("default: no", 1, 10, "default must be text, not the bool no; put it in quotes"),
        ("default: a\nstrategy: random", 2, 11, "strategy must be one of ranked, weighted, cheapest,"),
        ("default: a\nmodels:\n  - provider: x", 3, 5, "models[0] has no `name`"),
        ("default: a\nmodels: [{name: a}, {name: a}]", 2, 28, "models[1].name: 'a' is already taken"),
        ("default: a\nmodels: [{name: a, context_window: 0}]", 2, 36, "a whole number, 1 or more"),
        ("default: a\nmodels: [{name: a, context_window: 1.5}]", 2, 36, "a whole number, 1 or more"),
        ("default: a\nmodels: [{name: a, weight: -1}]", 2, 28, "models[0].weight must be a number, 0 or"),
        ("default: a\nmodels: [{name: a, weight: .inf}]", 2, 28, "models[0].weight must be a number"),
        ("default: a\nmodels: [{name: a, weight: true}]", 2, 28, "not the bool true"),
        ("default: a\nmodels: [{name: a, price: {input: 1}}]", 2, 27, "models[0].price has no `output`"),
        ("default: a\nmodels: [{name: a, capabilities: [sight]}]", 2, 35, "one of vision, tools, json_mode"),
        ("default: a\npolicies: [{name: p, models: []}]", 2, 30, "policies[0].models is empty"),
        (
            "default: a\npolicies: [{name: p, models: [x], weights: {y: 1}}]",
            2,
            48,
            "policies[0].weights names 'y', which is not among its models",
        ),
        ("default: a\nproviders: [{name: p}]", 2, 13, "providers[0] has no `base_url`"),
        ("default: a\nproviders: [{name: p, base_url: p.com}]", 2, 33, "must begin with https:// or http://"),
        ("default: a\nproviders: [{name: p, api_key: x}]", 2, 23, "did you mean `api_key_variable`?"),
        ("default: [a", 1, 12, "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, text: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(ModelMapError) as raised:
        load(tmp_path, text)
    place = f"{tmp_path / 'models.yaml'}:{line}:{column}"
    assert str(raised.value).startswith(f"{place}: ")
    assert reason in str(raised.value)
    [violation] = raised.value.field_violations
    assert violation.field == place


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMapError, match=r"models\.yaml: cannot be read: No such file"):
        ModelMap.load(tmp_path / "models.yaml")
    (tmp_path / "models.yaml").write_bytes(b"default: \xff")
    with pytest.raises(ModelMapError, match="is not UTF-8"):
        ModelMap.load(tmp_path / "models.yaml")
    with pytest.raises(ModelMapError, match="is empty; it needs `default`"):
        load(tmp_path, "# nothing\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"default": []}, "name at least one model"),
        ({"default": ""}, "name at least one model"),
        ({"default": "a", "models": [Model("a"), Model("a")]}, "'a' is there twice"),
        ({"default": "a", "models": [Model("")]}, "has no name"),
        ({"default": "a", "models": [Model("a", context_window=0)]}, "context_window"),
        ({"default": "a", "models": [Model("a", weight=float("nan"))]}, "weight must be"),
        ({"default": "a", "models": [Model("a", price=Price(-1, 0))]}, "price must be"),
        ({"default": "a", "providers": [Provider("", "https://p")]}, "a provider has no name"),
        ({"default": "a", "providers": [Provider("p", "https://")]}, "base_url must begin with https://"),
        ({"default": "a", "providers": [Provider("p", "https://p")] * 2}, "'p' is there twice"),
        ({"default": "a", "policies": {"p": PolicyModels(())}}, "models is empty"),
        ({"default": "a", "policies": {"p": PolicyModels(weights={"a": -1})}}, "the weight of 'a'"),
        ({"default": "a", "policies": {"p": PolicyModels(("b",), weights={"a": 1})}}, "not among its models"),
    ],
)
def test_a_map_made_in_python_is_checked_too(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ModelMapError, match=reason):
        ModelMap(**arguments)  # type: ignore[arg-type]
