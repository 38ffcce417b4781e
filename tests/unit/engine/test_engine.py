"""The engine over a NumPy model: scheduling, stopping, reuse of prefixes, and what it reports."""

import asyncio
from dataclasses import replace

import pytest

from archroute_server.engine.errors import EngineClosed, ModelFailed, ModelOutputInvalid
from archroute_server.engine.limits import Limits
from archroute_server.router.decision import Outcome, decide
from archroute_server.router.encoder import PromptEncoder
from archroute_server.router.errors import InvalidRequest
from archroute_server.router.message import Message, Role
from archroute_server.router.policy import Policy, PolicySet
from archroute_server.runtime.forward import Floats, Forward
from archroute_server.runtime.kv_cache import KeyValueCache
from support.engine_calls import IDENTITY, POLICIES, user, wait_for_queue
from support.gated_model import GatedModel
from support.numpy_model import NumpyModel


async def test_one_decision_is_one_forward_pass(open_engine, encoder: PromptEncoder) -> None:
    model = NumpyModel(400)
    async with open_engine(model) as engine:
        answer = await engine.decide(POLICIES, user("please review this"))
    assert len(model.forwards) == answer.tokens.forward_passes == 1
    assert answer.tokens.prompt == len(encoder.encode(POLICIES, user("please review this")).token_ids)
    assert {ranked.policy for ranked in answer.decision.ranking} == {
        "code_generation",
        "code_review",
        "translation",
        "other",
    }
    assert sum(ranked.probability for ranked in answer.decision.ranking) == pytest.approx(1)


async def test_a_warm_decision_computes_the_new_tokens_only(open_engine, encoder: PromptEncoder) -> None:
    model = NumpyModel(400)
    review = "please review this function, which sorts a list of names and drops those that come twice"
    texts = (review, "translate that", review)
    async with open_engine(model) as engine:
        answers = [await engine.decide(POLICIES, user(text)) for text in texts]
    layout_tokens = len(model.forwards[0].token_ids) - answers[0].tokens.prompt
    for answer, forward in zip(answers, model.forwards, strict=True):
        assert len(forward.token_ids) == answer.tokens.prompt - answer.tokens.cached + layout_tokens
    before = encoder.variant.render(POLICIES.policies, ())
    policies_end = len(encoder.tokenizer.encode("user\n" + before[: before.index("</routes>")]))
    assert answers[0].tokens.cached == 0
    assert answers[1].tokens.cached >= policies_end
    assert answers[2].tokens.cached > answers[1].tokens.cached


async def test_a_cached_decision_equals_the_uncached_one(open_engine) -> None:
    conversation = [
        Message(Role.USER, "please write a program that sorts a list of names for me"),
        Message(Role.ASSISTANT, "Here it is. It reads one name from each line and sorts them."),
        Message(Role.USER, "now translate the comments"),
    ]
    async with (
        open_engine(NumpyModel(400)) as warm,
        open_engine(NumpyModel(400), Limits(prefix_cache_bytes=0)) as cold,
    ):
        for turns in (1, 3, 3):
            cached = await warm.decide(POLICIES, conversation[:turns])
            uncached = await cold.decide(POLICIES, conversation[:turns])
            assert uncached.tokens.cached == 0
            assert cached.decision.policy == uncached.decision.policy
            for one, other in zip(cached.decision.ranking, uncached.decision.ranking, strict=True):
                assert one.policy == other.policy
                assert one.probability == pytest.approx(other.probability, abs=1e-4)
        assert warm.prefix_statistics.tokens_hit > cached.tokens.cached
        assert cold.prefix_statistics.held_bytes == 0


async def test_a_trie_over_the_budget_is_decided_greedily_to_the_same_choice(open_engine) -> None:
    async with (
        open_engine(NumpyModel(400)) as one_pass,
        open_engine(NumpyModel(400), Limits(tree_tokens=0)) as greedy,
    ):
        full = await one_pass.decide(POLICIES, user("translate that"))
        loop = await greedy.decide(POLICIES, user("translate that"))
    assert loop.decision.policy == full.decision.policy
    assert loop.decision.probability == pytest.approx(full.decision.probability, abs=1e-4)
    known = {ranked.policy: ranked.probability for ranked in full.decision.ranking}
    for ranked in loop.decision.ranking:
        assert ranked.probability == pytest.approx(known[ranked.policy], abs=1e-4)


async def test_a_calibrated_engine_decides_the_same_with_other_probabilities(open_engine) -> None:
    messages = user("please review this")
    async with open_engine(NumpyModel(400)) as engine:
        plain = await engine.decide(POLICIES, messages)
        trie, rows = await engine.read_branches(POLICIES, messages)
    calibrated = replace(IDENTITY, temperature=3.0)
    async with open_engine(NumpyModel(400), identity=calibrated) as engine:
        softened = await engine.decide(POLICIES, messages)
        # What a temperature is fitted on does not depend on the one there is.
        assert (await engine.read_branches(POLICIES, messages))[1] == rows
    assert plain.decision == decide(trie, rows, POLICIES)
    assert softened.decision == decide(trie, rows, POLICIES, temperature=3.0)
    assert softened.decision.policy == plain.decision.policy
    assert softened.decision.probability < plain.decision.probability


async def test_a_closed_engine_reads_no_branches(open_engine) -> None:
    async with open_engine(NumpyModel(400)) as engine:
        await engine.close(grace=0)
        with pytest.raises(EngineClosed):
            await engine.read_branches(POLICIES, user("please review this"))


async def test_a_conversation_that_cannot_be_decided_is_refused(open_engine) -> None:
    async with open_engine(NumpyModel(400)) as engine:
        with pytest.raises(InvalidRequest, match="messages"):
            await engine.decide(POLICIES, [Message(Role.SYSTEM, "be brief")])
        assert (await engine.decide(POLICIES, user("still alive?"))).tokens.prompt > 0


async def test_a_cancelled_request_leaves_the_queue_before_it_costs_a_pass(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model) as engine:
        first = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        queued = asyncio.create_task(engine.decide(POLICIES, user("the second")))
        last = asyncio.create_task(engine.decide(POLICIES, user("the last")))
        await asyncio.to_thread(wait_for_queue, engine, 2)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        model.gate.set()
        await asyncio.gather(first, last)
    assert len(model.forwards) == 2


async def test_the_first_error_of_the_model_does_not_end_the_engine(open_engine) -> None:
    class Failing(NumpyModel):
        def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
            if not self.forwards:
                self.forwards.append(forward)
                raise RuntimeError("out of memory")
            return super().run(forward, past)

    async with open_engine(Failing(400)) as engine:
        with pytest.raises(ModelFailed) as failed:
            await engine.decide(POLICIES, user("a"))
        # For the log, and not for the caller.
        assert isinstance(failed.value.__cause__, RuntimeError)
        assert (await engine.decide(POLICIES, user("a"))).tokens.cached == 0


async def test_the_next_prompt_is_tokenized_while_the_model_runs(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model) as engine:
        running = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        following = asyncio.create_task(engine.decide(POLICIES, user("the second")))
        # It stands in the queue with its tokens before the first pass is over.
        await asyncio.to_thread(wait_for_queue, engine, 1)
        assert model.forwards == []
        model.gate.set()
        await asyncio.gather(running, following)


async def test_closing_answers_what_is_under_way(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model) as engine:
        deciding = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        closing = asyncio.create_task(engine.close(grace=30))
        while not engine._closed:
            await asyncio.sleep(0)
        with pytest.raises(EngineClosed):
            await engine.decide(POLICIES, user("too late"))
        model.gate.set()
        assert (await deciding).tokens.forward_passes == 1
        await closing


async def test_closing_without_grace_tells_those_who_wait(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model) as engine:
        running = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        queued = asyncio.create_task(engine.decide(POLICIES, user("the second")))
        await asyncio.to_thread(wait_for_queue, engine, 1)
        closing = asyncio.create_task(engine.close(grace=0))
        with pytest.raises(EngineClosed):
            await queued
        model.gate.set()
        await closing
        assert (await running).tokens.forward_passes == 1


CACHING = Limits(decision_cache_entries=10)


async def test_the_same_prompt_is_decided_once(open_engine) -> None:
    model = NumpyModel(400)
    async with open_engine(model, CACHING) as engine:
        first, second = [await engine.decide(POLICIES, user("translate that")) for _ in range(2)]
        assert len(model.forwards) == engine.batch_statistics.requests == 1
        assert engine.batch_statistics.tokens == len(model.forwards[0].token_ids)
        assert engine.decision_statistics.hits == 1
    assert first.decision == second.decision
    assert (first.from_decision_cache, second.from_decision_cache) == (False, True)
    assert (second.tokens.prompt, second.tokens.cached) == (first.tokens.prompt, 0)
    assert second.tokens.forward_passes == 0
    # All of an answer but its choices; what is recalled was not asked of the model at all.
    assert 0 < first.tokens.forced < 20
    assert second.tokens.forced == 0
    assert second.timings.inference == 0


async def test_the_minimum_is_applied_to_what_is_recalled(open_engine) -> None:
    async with open_engine(NumpyModel(400), CACHING) as engine:
        low = await engine.decide(POLICIES, user("translate that"), min_probability=1.0)
        accepted = await engine.decide(POLICIES, user("translate that"))
        again = await engine.decide(POLICIES, user("translate that"), min_probability=1.0)
    assert accepted.from_decision_cache
    assert again.from_decision_cache
    assert low.decision.outcome is again.decision.outcome is Outcome.LOW_CONFIDENCE
    assert accepted.decision.outcome is not Outcome.LOW_CONFIDENCE


async def test_other_models_for_the_same_policies_are_another_question(open_engine) -> None:
    others = PolicySet("gateway", tuple(replace(policy, models=("new",)) for policy in POLICIES.policies))
    async with open_engine(NumpyModel(400), CACHING) as engine:
        await engine.decide(POLICIES, user("translate that"))
        answer = await engine.decide(others, user("translate that"))
    assert not answer.from_decision_cache


async def test_equal_requests_at_once_take_one_pass(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, CACHING) as engine:
        asked = [asyncio.create_task(engine.decide(POLICIES, user("the same"))) for _ in range(4)]
        await asyncio.to_thread(model.arrived.wait, 30)
        # The first may give up: its pass is finished, but the next in turn needs one of its own.
        asked[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked[0]
        model.gate.set()
        answers = await asyncio.gather(*asked[1:])
    assert len(model.forwards) == 2
    assert sorted(answer.from_decision_cache for answer in answers) == [False, True, True]
    assert len({answer.decision for answer in answers}) == 1


async def test_a_decision_that_cannot_be_made_is_not_kept(open_engine) -> None:
    class NotANumber(NumpyModel):
        def run(self, forward: Forward, past: KeyValueCache) -> tuple[Floats, KeyValueCache]:
            logits, cache = super().run(forward, past)
            return (logits * float("nan") if len(self.forwards) == 1 else logits), cache

    async with open_engine(NotANumber(400), CACHING) as engine:
        with pytest.raises(ModelOutputInvalid):
            await engine.decide(POLICIES, user("a"))
        assert not (await engine.decide(POLICIES, user("a"))).from_decision_cache


async def test_requests_that_wait_are_decided_together(open_engine) -> None:
    texts = ("translate that", "please review this", "write a program")
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, Limits(batch_requests=8)) as engine, open_engine(NumpyModel(400)) as alone:
        first = asyncio.create_task(engine.decide(POLICIES, user("0")))
        await asyncio.to_thread(model.arrived.wait, 30)
        queued = [asyncio.create_task(engine.decide(POLICIES, user(text))) for text in texts]
        await asyncio.to_thread(wait_for_queue, engine, len(texts))
        model.gate.set()
        await first
        answers = await asyncio.gather(*queued)
        assert (engine.batch_statistics.batches, engine.batch_statistics.requests) == (2, 4)
        for text, answer in zip(texts, answers, strict=True):
            expected = (await alone.decide(POLICIES, user(text))).decision
            assert answer.tokens.forward_passes == 1
            assert answer.tokens.cached > 0
            assert answer.decision.policy == expected.policy
            probabilities = {ranked.policy: ranked.probability for ranked in answer.decision.ranking}
            assert probabilities == pytest.approx(
                {ranked.policy: ranked.probability for ranked in expected.ranking}, abs=1e-4
            )
    assert len(model.forwards) == 2


def inline(number: int) -> PolicySet:
    words = f"topic {number} and what else belongs to the topic {number} " * 12
    return PolicySet("", (Policy(f"policy {number}", words),))


async def test_policies_of_callers_do_not_evict_those_that_are_kept(open_engine) -> None:
    model = NumpyModel(400)
    async with open_engine(model) as engine:
        await engine.warm(POLICIES)
        await engine.decide(POLICIES, user("please review this"))
        need = engine.prefix_statistics.held_bytes
    cached = {}
    for kept in ((), (POLICIES,)):
        async with open_engine(model, Limits(prefix_cache_bytes=need * 2)) as engine:
            await engine.warm(POLICIES)
            await engine.keep(kept)
            for number in range(8):
                await engine.decide(inline(number), user("anything"))
            assert engine.prefix_statistics.evictions > 0
            assert engine.prefix_statistics.held_bytes <= need * 2
            cached[kept] = (await engine.decide(POLICIES, user("please review this"))).tokens.cached
    prefix = len(engine._encoder.prefix(POLICIES))
    assert cached[(POLICIES,)] >= prefix
    assert cached[()] < prefix


async def test_a_warm_policy_set_is_read_once(open_engine, encoder: PromptEncoder) -> None:
    model = NumpyModel(400)
    async with open_engine(model, Limits(queue_requests=1)) as engine:
        await engine.warm(POLICIES)
        answer = await engine.decide(POLICIES, user("please review this"))
    assert answer.tokens.cached >= len(encoder.prefix(POLICIES))
    assert len(model.forwards) == 2


async def test_a_policy_set_is_warmed_however_full_the_queue_is(open_engine) -> None:
    model = GatedModel(NumpyModel(400))
    async with open_engine(model, Limits(queue_requests=1)) as engine:
        running = asyncio.create_task(engine.decide(POLICIES, user("the first")))
        await asyncio.to_thread(model.arrived.wait, 30)
        warming = asyncio.create_task(engine.warm(inline(1)))
        await asyncio.to_thread(wait_for_queue, engine, 1)
        model.gate.set()
        await asyncio.gather(running, warming)


async def test_a_policy_set_that_is_too_long_is_not_warmed(open_engine) -> None:
    long = PolicySet("long", tuple(Policy(f"policy {n}", "word " * 200) for n in range(40)))
    async with open_engine(NumpyModel(400)) as engine:
        for call in (engine.warm(long), engine.measure(long), engine.keep([long])):
            with pytest.raises(InvalidRequest, match=r"policies: take .* Use fewer policies"):
                await call


async def test_the_size_of_a_policy_set(open_engine, encoder: PromptEncoder) -> None:
    async with open_engine(NumpyModel(400), Limits(tree_tokens=77)) as engine:
        size = await engine.measure(POLICIES)
        answer = await engine.decide(POLICIES, user("please review this"))
    assert len(encoder.prefix(POLICIES)) < size.prompt_tokens < answer.tokens.prompt
    assert (size.max_prompt_tokens, size.max_branch_tokens) == (encoder.budget, 77)
    assert size.branch_tokens > 0
