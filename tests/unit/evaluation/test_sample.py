"""The labelled requests that the README measures with."""

from pathlib import Path

from archroute_server.router.example_file import read_examples
from archroute_server.router.policy import OTHER
from archroute_server.router.policy_file import load_policy_sets

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_sample_asks_for_every_policy_of_the_example_set() -> None:
    policies = load_policy_sets(EXAMPLES / "policies.yaml").get("").policies
    examples = read_examples(EXAMPLES / "labelled.jsonl")
    shown = {tuple((policy.name, policy.description) for policy in each.policies) for each in examples}
    assert shown == {tuple((policy.name, policy.description) for policy in policies)}
    assert {each.expected for each in examples} == {policy.name for policy in policies} | {OTHER}
    assert len({each.language for each in examples}) > 2
    assert any(each.tags.get("conversation") for each in examples)
