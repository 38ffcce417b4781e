"""`archroute serve` as in the README: no model named, the embedded one is built or found."""

from pathlib import Path

import pytest

from archroute import Outcome, Router
from support.server_process import serving

EXAMPLE = Path(__file__).parents[3] / "examples" / "policies.yaml"

QUESTION = (
    "My function adds up the prices of an order. Since yesterday it raises a TypeError that says unsupported "
    "operand types for plus. What is wrong with it?"
)

# The first time, the model is fetched and exported.
BUILDING = 600.0


@pytest.mark.embedded
@pytest.mark.timeout(BUILDING + 60)
def test_a_decision_of_the_embedded_model() -> None:
    arguments = ("--policies", EXAMPLE, "--listen", "127.0.0.1:0", "--decision-cache-entries", "0")
    with serving(*arguments) as server:
        server.wait_for("ready", timeout=BUILDING)
        with Router(server.address, timeout=60) as router:
            first, second = router.route(QUESTION), router.route(QUESTION)
            (policy_set,) = router.list_policy_sets()
        assert server.stop() == 0
    assert second.revisions.prompt_variant == "archroute/compact-quoted"
    assert policy_set.name == second.revisions.policy_set == "llm-gateway"
    assert len(second.ranking) == policy_set.policy_count + 1
    assert sum(each.probability for each in second.ranking) == pytest.approx(1)
    assert (second.outcome is Outcome.MATCHED) == (second.policy is not None)
    assert (first.policy, first.outcome) == (second.policy, second.outcome)
    assert first.tokens.forward_passes == second.tokens.forward_passes == 1
    assert first.tokens.prompt_tokens == second.tokens.prompt_tokens
    # The policies were read when the server warmed up, and the conversation by the first request.
    assert 0 < first.tokens.cached_tokens < second.tokens.cached_tokens < second.tokens.prompt_tokens
