"""Whether a model is known again, and how one that answers otherwise is named."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from archroute_server.bundle import manifest
from archroute_server.bundle.digest import tokens_sha256
from archroute_server.engine.engine import Engine
from archroute_server.engine.errors import EngineClosed, ModelOutputInvalid
from archroute_server.engine.limits import Limits
from archroute_server.engine.self_test import SelfTest, SelfTestFailed
from archroute_server.router.decision import decide
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from support.engine_calls import IDENTITY, user
from support.numpy_model import NumpyModel

POLICIES = PolicySet(
    "", (Policy("code_generation", "New code"), Policy("code_review", "Old code"), Policy("travel", "Trips"))
)
TEXTS = ("write a program", "please review this", "where to in May?")
BOUND = 0.25

Open = Callable[[NumpyModel], Engine]


@pytest.fixture
async def recorded(encoder: PromptEncoder, open_engine: Any) -> manifest.SelfTest:
    """What a model of seed 0 says, as an exporter would write it."""
    prompts = []
    async with open_engine(NumpyModel(400)) as engine:
        for text in TEXTS:
            trie, rows = await engine.read_branches(POLICIES, user(text))
            decision = decide(trie, rows, POLICIES)
            prompts.append(
                manifest.FixedPrompt(
                    messages=[manifest.FixedMessage(role="user", text=text)],
                    prompt_sha256=tokens_sha256(encoder.encode(POLICIES, user(text)).token_ids),
                    choice=decision.policy or "other",
                    probability=decision.probability,
                    branches=[list(row or ()) for row in rows],
                )
            )
    return manifest.SelfTest(
        policies=[
            manifest.FixedPolicy(name=one.name, description=one.description) for one in POLICIES.policies
        ],
        max_prompt_tokens=encoder.budget,
        prompts=prompts,
        measured=BOUND / 2,
        bound=BOUND,
    )


def end_of_turn(encoder: PromptEncoder) -> int:
    token = encoder.tokenizer.token_id("<|im_end|>")
    assert token is not None
    return token


@pytest.fixture
async def opened(encoder: PromptEncoder, recorded: manifest.SelfTest) -> Any:
    engines: list[Engine] = []

    def opened(
        model: NumpyModel,
        limits: Limits = Limits(),  # noqa: B008
        recorded: manifest.SelfTest = recorded,
    ) -> Engine:
        end = end_of_turn(encoder)
        engine = Engine(model, encoder, end, IDENTITY, limits, SelfTest(recorded, encoder, end))
        engines.append(engine)
        return engine

    yield opened
    for engine in engines:
        await engine.close(grace=0)


async def test_the_same_model_passes(opened: Open) -> None:
    report = await opened(NumpyModel(400)).run_self_test()
    assert report is not None
    assert (report.prompts, report.bound) == (3, BOUND)
    assert report.difference < 1e-4


async def test_a_model_that_is_walked_step_by_step_is_compared_where_it_was_run(opened: Any) -> None:
    report = await opened(NumpyModel(400), Limits(tree_tokens=0)).run_self_test()
    assert report.difference < 1e-4


async def test_another_model_is_refused(opened: Open) -> None:
    with pytest.raises(SelfTestFailed, match=r"prompt \d of 3 .* and 0\.25 is allowed\. Export"):
        await opened(NumpyModel(400, seed=1)).run_self_test()


def shifted(recorded: manifest.SelfTest, prompt: int, by: float) -> manifest.SelfTest:
    """Change what is expected of the first edge of one prompt."""
    content: dict[str, Any] = msgspec.to_builtins(recorded)
    content["prompts"][prompt]["branches"][0][0] += by
    return msgspec.convert(content, manifest.SelfTest)


@pytest.mark.parametrize("prompt", range(3))
async def test_the_worst_prompt_is_named_with_both_answers(
    opened: Any, recorded: manifest.SelfTest, prompt: int
) -> None:
    changed = shifted(shifted(recorded, prompt, 0.5), (prompt + 1) % 3, -0.4)
    expected = recorded.prompts[prompt]
    said = rf"{expected.choice} \({expected.probability:.1%}\)"
    with pytest.raises(
        SelfTestFailed,
        match=rf"to prompt {prompt + 1} of 3 it should say {said} and says {said}; .* differs by 0\.5, and",
    ):
        await opened(NumpyModel(400), recorded=changed).run_self_test()


@pytest.mark.parametrize(
    ("by", "passes"), [(BOUND - 0.01, True), (BOUND + 0.01, False), (-BOUND - 0.01, False)]
)
async def test_the_bound_is_what_decides(
    opened: Any, recorded: manifest.SelfTest, by: float, passes: bool
) -> None:
    engine = opened(NumpyModel(400), recorded=shifted(recorded, 1, by))
    if passes:
        await engine.run_self_test()
        return
    with pytest.raises(SelfTestFailed, match="prompt 2 of 3"):
        await engine.run_self_test()


def with_gap(recorded: manifest.SelfTest, prompt: int, gap: float, bound: float) -> manifest.SelfTest:
    """Record another edge of a prompt's root as better by `gap` than the one that the model takes.

    Both log probabilities are moved by the same, so that each differs as little as it can.
    """
    content: dict[str, Any] = msgspec.to_builtins(recorded)
    root = content["prompts"][prompt]["branches"][0]
    taken, other = sorted(range(len(root)), key=root.__getitem__, reverse=True)[:2]
    middle = (root[taken] + root[other]) / 2
    root[other], root[taken] = middle + gap / 2, middle - gap / 2
    content["bound"] = bound
    return msgspec.convert(content, manifest.SelfTest)


@pytest.mark.parametrize("prompt", range(3))
async def test_another_decision_is_refused_though_every_probability_is_within_the_bound(
    opened: Any, recorded: manifest.SelfTest, prompt: int
) -> None:
    row = sorted(recorded.prompts[prompt].branches[0])
    apart = row[-1] - row[-2]
    # Either log probability moves by (apart + gap) / 2.
    bound = apart * 1.4
    changed = with_gap(recorded, prompt, gap=apart * 1.5, bound=bound)
    with pytest.raises(
        SelfTestFailed,
        match=rf"prompt {prompt + 1} of 3 .* by {apart * 1.25:.3g}, the two were {apart * 1.5:.3g} apart, "
        rf"and {bound:.3g} is allowed",
    ):
        await opened(NumpyModel(400), recorded=changed).run_self_test()


async def test_of_two_that_are_within_the_bound_of_each_other_either_may_be_decided(
    opened: Any, recorded: manifest.SelfTest
) -> None:
    row = sorted(recorded.prompts[1].branches[0])
    apart = row[-1] - row[-2]
    changed = with_gap(recorded, 1, gap=apart * 1.3, bound=apart * 1.4)
    report = await opened(NumpyModel(400), recorded=changed).run_self_test()
    # What is reported is the difference alone.
    assert report.difference == pytest.approx(apart * 1.15, abs=1e-4)


async def test_a_probe_asks_each_prompt_in_its_turn(opened: Any, recorded: manifest.SelfTest) -> None:
    model = NumpyModel(400)
    engine = opened(model, recorded=shifted(recorded, 2, 1.0))
    await engine.probe()
    await engine.probe()
    with pytest.raises(SelfTestFailed, match="prompt 3 of 3"):
        await engine.probe()
    await engine.probe()
    assert len(model.forwards) == 4


async def test_no_decision_is_recalled_for_it(opened: Any) -> None:
    model = NumpyModel(400)
    engine = opened(model, Limits(decision_cache_entries=10))
    await engine.run_self_test()
    await engine.run_self_test()
    assert len(model.forwards) == 2 * len(TEXTS)


async def test_a_model_of_no_numbers_is_no_answer(opened: Open) -> None:
    class NotANumber(NumpyModel):
        def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
            logits, cache = super().run(forward, past)
            return logits * float("nan"), cache

    with pytest.raises(ModelOutputInvalid):
        await opened(NotANumber(400)).run_self_test()


async def test_a_closed_engine_is_not_tested(opened: Open) -> None:
    engine = opened(NumpyModel(400))
    await engine.close(grace=0)
    with pytest.raises(EngineClosed):
        await engine.run_self_test()


async def test_without_fixed_prompts_a_probe_finds_out_whether_the_model_runs(open_engine: Any) -> None:
    model = NumpyModel(400)
    async with open_engine(model) as engine:
        assert await engine.run_self_test() is None
        await engine.probe()
    assert len(model.forwards) == 1


# What is wrong before the model is asked.


Change = Callable[[dict[str, Any]], object]


def cut_digest(content: dict[str, Any]) -> None:
    content["prompts"][1]["prompt_sha256"] = "00"


def drop_edge(content: dict[str, Any]) -> None:
    content["prompts"][1]["branches"][0].pop()


def drop_branch(content: dict[str, Any]) -> None:
    content["prompts"][1]["branches"].pop()


def change_text(content: dict[str, Any]) -> None:
    content["prompts"][1]["messages"][0]["text"] += "?"


@pytest.mark.parametrize("change", [cut_digest, drop_edge, drop_branch, change_text])
def test_a_prompt_that_is_written_otherwise_is_named(
    recorded: manifest.SelfTest, encoder: PromptEncoder, change: Change
) -> None:
    content: dict[str, Any] = msgspec.to_builtins(recorded)
    change(content)
    altered = msgspec.convert(content, manifest.SelfTest)
    with pytest.raises(SelfTestFailed, match=r"prompt 2 of 3 is not written, or not tokenized, as it was"):
        SelfTest(altered, encoder, end_of_turn(encoder))


@pytest.mark.parametrize(
    ("field", "value"), [("max_prompt_tokens", 1), ("policies", [{"name": "other", "description": "a"}])]
)
def test_prompts_that_cannot_be_made(
    recorded: manifest.SelfTest, encoder: PromptEncoder, field: str, value: object
) -> None:
    content = msgspec.to_builtins(recorded) | {field: value}
    altered = msgspec.convert(content, manifest.SelfTest)
    budget = PromptEncoder(encoder.variant, encoder.frame, encoder.tokenizer, altered.max_prompt_tokens)
    with pytest.raises(InvalidRequest):
        SelfTest(altered, budget, end_of_turn(encoder))
