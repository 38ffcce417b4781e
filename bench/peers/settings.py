"""What archroute is told, in process and as a server."""

# 500 policies, and the places where their answers part, leave little of SmolLM2's 8192 positions.
MAX_PROMPT_TOKENS = 7600
TREE_TOKENS = 512
