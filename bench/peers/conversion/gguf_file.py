"""The checkpoint as a GGUF file, laid out as llama.cpp's `convert_hf_to_gguf.py` lays it out, and quantized.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import ctypes
import json
import tempfile
from pathlib import Path

import gguf
import numpy as np

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.open import open_checkpoint

_ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}


def write_quantized(checkpoint: Path, target: Path, kind: str, vocabulary: Path) -> None:
    """Write the checkpoint with llama.cpp's own quantization; `kind` is `Q4_0` or `Q8_0`.

    `vocabulary` is as in `write_gguf`.
    """
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole, quantized = Path(scratch) / "f16.gguf", Path(scratch) / "quantized.gguf"
        write_gguf(open_checkpoint(str(checkpoint)), whole, vocabulary)
        status = llama_cpp.llama_model_quantize(
            str(whole).encode(), str(quantized).encode(), ctypes.byref(parameters)
        )
        if status:
            raise RuntimeError(f"llama_model_quantize returned {status}")
        quantized.replace(target)


def write_gguf(checkpoint: Checkpoint, target: Path, vocabulary: Path) -> None:
    """Write a checkpoint with matrices in float16, and vectors in float32.

    `vocabulary` is a GGUF file with the checkpoint's tokenizer: which pre-tokenizer of llama.cpp's it has is
    not said in a `tokenizer.json`.
    """
    shape = checkpoint.shape
    architecture = _ARCHITECTURES[shape.family]
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.maximum_positions)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.attention_heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_vocab_size(shape.vocabulary_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, checkpoint, vocabulary)
    names = gguf.get_tensor_name_map(architecture, shape.layers)
    for name in checkpoint.tensor_names:
        values = checkpoint.tensor(name)
        # llama.cpp rotates neighbouring elements of a head, and only a Llama's are so rearranged.
        if shape.family == "llama" and ".q_proj." in name:
            values = _interleaved(values, shape.attention_heads)
        if shape.family == "llama" and ".k_proj." in name:
            values = _interleaved(values, shape.key_value_heads)
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            raise ValueError(f"GGUF has no name for {name}")
        writer.add_tensor(stored, values.astype(np.float16) if values.ndim > 1 else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, checkpoint: Checkpoint, vocabulary: Path) -> None:
    """Write the tokenizer as the other file has it, filled up to the embedding's rows."""
    fields = gguf.GGUFReader(vocabulary).fields
    model, pre_tokenizer = (
        str(fields[key].contents()) for key in ("tokenizer.ggml.model", "tokenizer.ggml.pre")
    )
    tokens = list(fields["tokenizer.ggml.tokens"].contents())
    types = list(fields["tokenizer.ggml.token_type"].contents())
    padding = checkpoint.shape.vocabulary_size - len(tokens)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(tokens + [f"[PAD{number}]" for number in range(padding)])
    writer.add_token_types(types + [int(gguf.TokenType.UNUSED)] * padding)
    merges = json.loads(checkpoint.tokenizer_json())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in merges])
    writer.add_eos_token_id(checkpoint.end_of_turn)
    writer.add_add_bos_token(False)


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Lay out in turn the halves of each head, which Hugging Face rotates against one another.

    one head of 6:  a0 a1 a2 b0 b1 b2   ->   a0 b0 a1 b1 a2 b2
    """
    rows = values.shape[0]
    pairs = values.reshape(heads, 2, rows // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
