import pytest

from archroute import Decision, Outcome, RankedPolicy, Revisions, Timings, TokenUsage


@pytest.fixture
def decision() -> Decision:
    return Decision(
        policy="code_generation",
        outcome=Outcome.MATCHED,
        probability=0.875,
        ranking=(
            RankedPolicy("code_generation", 0.875),
            RankedPolicy("bug_fixing", 0.1),
            RankedPolicy("other", 0.025),
        ),
        models=("large-coder", "small-coder"),
        revisions=Revisions(
            bundle_digest="sha256:" + "ab" * 32,
            prompt_variant="arch-router/model-card",
            policy_set="llm-gateway",
            policy_set_revision="sha256:" + "cd" * 32,
            provider="cpu",
        ),
        tokens=TokenUsage(
            prompt_tokens=412, cached_tokens=380, dropped_tokens=0, dropped_messages=0, forward_passes=1
        ),
        timings=Timings(total=0.0413, queue=0.0001, tokenize=0.002, inference=0.038),
        session_id="session-7",
    )
