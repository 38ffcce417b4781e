"""The base as a torch module, with an adapter on every projection of every layer."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PretrainedConfig, Qwen2Config, Qwen2ForCausalLM

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.shape import ModelShape
from archroute_export.finetune.training.attention import ROW_ATTENTION
from archroute_export.finetune.training.batch import Batch
from archroute_export.finetune.training.settings import PROJECTIONS, TrainingSettings


def load_base(checkpoint: Checkpoint) -> torch.nn.Module:
    """Load a checkpoint of any supported format into transformers' own class, in float32."""
    shape = checkpoint.shape
    model: Any = (
        Qwen2ForCausalLM(_config(shape, Qwen2Config))  # type: ignore[no-untyped-call]
        if shape.family == "qwen2"
        else LlamaForCausalLM(_config(shape, LlamaConfig))  # type: ignore[no-untyped-call]
    )
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in checkpoint.tensor_names:
            parameters[name].copy_(torch.from_numpy(checkpoint.tensor(name)))
    base: torch.nn.Module = model
    return base


def add_adapter(base: torch.nn.Module, settings: TrainingSettings, name: str) -> PeftModel:
    """Freeze the base, and add an adapter that changes nothing yet."""
    torch.manual_seed(settings.seed)
    # PEFT writes this name into the adapter's config.
    base.name_or_path = name  # type: ignore[assignment]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(PROJECTIONS),
    )
    return get_peft_model(base, config)


def load_adapter(base: torch.nn.Module, folder: Path, name: str) -> PeftModel:
    """Freeze the base, and put the adapter of a folder on it, to be trained further."""
    # As in `add_adapter`; PEFT looks nothing up under it.
    base.name_or_path = name  # type: ignore[assignment]
    return PeftModel.from_pretrained(base, folder, is_trainable=True)


def choice_logits(model: PeftModel, batch: Batch) -> torch.Tensor:
    """Return the logits of every choice's candidates: `[C, K]`, minus infinity where excluded.

    Only the selected rows meet the language model head, and there only the candidates' columns.
    """
    inner: Any = model.get_base_model()
    # Of a single row, the parts that are seen are computed alone; several go through one biased matrix.
    inner.config._attn_implementation = "sdpa" if batch.parts is None else ROW_ATTENTION
    states = inner.model(
        input_ids=batch.token_ids,
        position_ids=batch.position_ids,
        attention_mask=batch.attention_bias,
        parts=batch.parts,
        use_cache=False,
    ).last_hidden_state
    selected = states.flatten(0, 1)[batch.selected]
    columns = functional.embedding(batch.candidates, inner.lm_head.weight)
    logits = torch.einsum("ch,ckh->ck", selected, columns).float()
    return logits.masked_fill(batch.excluded, float("-inf"))


def negative_log_likelihood(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return minus the log of the right answers' constrained probabilities, summed: a scalar in nats.

    The probability of an answer is the product of its choices', as the server computes it.
    """
    return functional.cross_entropy(logits, batch.right, reduction="sum")


def right_answers(logits: torch.Tensor, batch: Batch) -> int:
    """Count the examples whose greedy answer is right: those that are right at every choice."""
    wrong = batch.example[logits.argmax(dim=1) != batch.right]
    return batch.examples - len(torch.unique(wrong))


def _config(shape: ModelShape, kind: type[PretrainedConfig]) -> PretrainedConfig:
    fields: dict[str, Any] = {
        "vocab_size": shape.vocabulary_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.attention_heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head_size,
        "max_position_embeddings": shape.maximum_positions,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": shape.tied_head,
        "attn_implementation": "sdpa",
    }
    if kind is LlamaConfig:
        fields["attention_bias"] = shape.attention_bias
    if scaling := shape.rope_scaling:
        fields["rope_scaling"] = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            fields["rope_scaling"] |= {
                "low_freq_factor": scaling.low_frequency_factor,
                "high_freq_factor": scaling.high_frequency_factor,
                "original_max_position_embeddings": scaling.original_maximum_positions,
            }
    return kind(**fields)
