"""What a training run is asked to do."""

from dataclasses import dataclass

# The projections of a layer that get an adapter: every one.
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything but the data and the base that decides what a run computes.

    `rank` and `alpha` are LoRA's (Hu et al. 2021, arXiv:2106.09685): a projection W becomes
    W + alpha / rank * B A. The learning rate rises linearly over the first `warmup` of the steps and then
    falls to zero along a half cosine. A step reads `rows_per_step` rows; a row holds one policy set and
    at most `requests_per_row` conversations within `row_tokens` tokens. A prompt has at most
    `prompt_tokens` tokens, and a conversation at most `conversation_tokens` of them: what is longer is cut
    as the server cuts it.
    """

    variant: str
    rank: int = 8
    alpha: int = 16
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    epochs: int = 1
    rows_per_step: int = 4
    requests_per_row: int = 32
    row_tokens: int = 2048
    prompt_tokens: int = 2048
    conversation_tokens: int = 384
    seed: int = 0
