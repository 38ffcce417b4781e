"""From labelled requests to routing examples: the split, the policy sets, and how they are varied."""
