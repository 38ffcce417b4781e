import pytest

from archroute_server.engine.loading import prompt_budget, session_class
from archroute_server.runtime.device.session import DeviceSession
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import PROVIDERS
from archroute_server.runtime.session import Session


@pytest.mark.parametrize(
    ("max_prompt_tokens", "tree_tokens", "positions", "budget"),
    [(4096, 1024, 8192, 4096), (4096, 1024, 2048, 1024), (4096, 7680, 8192, 512), (100, 0, 8192, 100)],
)
def test_answers_need_positions_behind_the_prompt(
    max_prompt_tokens: int, tree_tokens: int, positions: int, budget: int
) -> None:
    assert prompt_budget(max_prompt_tokens, tree_tokens, positions) == budget


@pytest.mark.parametrize(
    ("tree_tokens", "positions", "remedy"),
    [
        (7681, 8192, "set it to at most 7680"),
        (65_536, 8192, "set it to at most 7680"),
        (0, 256, "use a model with more"),
    ],
)
def test_answers_that_leave_no_room_for_prompts_are_named_by_their_flag(
    tree_tokens: int, positions: int, remedy: str
) -> None:
    with pytest.raises(
        RuntimeLoadError, match=f"--tree-tokens is {tree_tokens}, .* has {positions} pos.*{remedy}"
    ):
        prompt_budget(4096, tree_tokens, positions)


def test_the_cache_lies_where_the_provider_has_it() -> None:
    providers = {provider.name: provider for provider in PROVIDERS}
    assert session_class(providers["cuda"]) is DeviceSession
    assert session_class(providers["cpu"]) is Session
