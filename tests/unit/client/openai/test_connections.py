import pytest

from archroute import Model, ModelMap, ModelMapError
from archroute.openai.connections import NO_KEY, Connections
from archroute.selection import Provider

KEY = "ARCHROUTE_TEST_KEY"
KEYED = Provider("keyed", "https://keyed.example/v1", KEY)
OPEN = Provider("open", "http://localhost:8000/v1")
MODELS = (Model("a", provider="keyed"), Model("b", provider="open"), Model("c", provider="open"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "sesame")


def connections(**given: str) -> Connections[str]:
    """Clients that say what they were made of."""
    return Connections(given, lambda provider, key: f"{provider.base_url} {key}")


def test_a_provider_has_one_client_with_its_key() -> None:
    model_map = ModelMap("b", models=MODELS, providers=[KEYED, OPEN])
    found = connections()
    assert found.of(MODELS[0], model_map) == "https://keyed.example/v1 sesame"
    assert found.of(MODELS[1], model_map) is found.of(MODELS[2], model_map)
    assert found.made() == ("https://keyed.example/v1 sesame", f"http://localhost:8000/v1 {NO_KEY}")


def test_a_provider_that_moved_has_another_client() -> None:
    found = connections()
    for url in ("http://old/v1", "http://new/v1"):
        model_map = ModelMap("b", models=MODELS, providers=[Provider("open", url)])
        assert found.of(MODELS[1], model_map) == f"{url} {NO_KEY}"


def test_a_client_that_is_given_takes_the_place_of_the_described_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY)
    model_map = ModelMap("b", models=MODELS, providers=[KEYED, OPEN])
    found = connections(keyed="given")
    found.check(model_map)
    assert found.of(MODELS[0], model_map) == "given"
    assert found.made() == ()


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_that_is_not_set_is_found_out_early(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv(KEY)
    if value is not None:
        monkeypatch.setenv(KEY, value)
    model_map = ModelMap("b", models=MODELS, providers=[KEYED, OPEN])
    with pytest.raises(ModelMapError, match=rf"'keyed' has its key in .* {KEY}, which is not set; set it"):
        connections().check(model_map)


@pytest.mark.parametrize(
    ("model_map", "said"),
    [
        (
            ModelMap("b", models=MODELS, providers=[OPEN]),
            "'a' cannot be called, because its provider 'keyed'",
        ),
        (ModelMap("d", providers=[OPEN]), "'d' cannot be called, because it has no `provider`"),
    ],
)
def test_a_model_that_cannot_be_called_is_found_out_early(model_map: ModelMap, said: str) -> None:
    with pytest.raises(ModelMapError, match=said):
        connections().check(model_map)


def test_a_client_of_the_empty_name_is_for_models_without_a_provider() -> None:
    model_map = ModelMap("d")
    found = Connections({"": "any"}, lambda provider, key: key)
    found.check(model_map)
    assert found.of(Model("d"), model_map) == "any"
