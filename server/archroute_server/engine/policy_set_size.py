"""PolicySetSize: how much of the model's budget a policy set takes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicySetSize:
    """Tokens of a policy set, and how many there may be."""

    prompt_tokens: int
    """Of a prompt without a conversation."""
    max_prompt_tokens: int
    """Of a prompt with one."""
    branch_tokens: int
    """Of the answers' branches, which are read behind the prompt."""
    max_branch_tokens: int
    """With more, the set is decided greedily."""
