"""The GGUF files that llama.cpp is given, read by the reader that the exporter has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archroute_export.checkpoint.gguf_file import GgufFile
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.checkpoint.shape import Family
from peers.conversion.gguf_file import write_gguf
from support.checkpoints import write_tiny_checkpoint
from support.gguf_checkpoints import write_tiny_gguf


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_a_checkpoint_is_the_same_as_gguf(tmp_path: Path, family: Family) -> None:
    write_tiny_checkpoint(tmp_path / "checkpoint", family)
    write_tiny_gguf(tmp_path / "vocabulary.gguf", family)
    checkpoint = SafetensorsFolder(tmp_path / "checkpoint")
    write_gguf(checkpoint, tmp_path / "model.gguf", tmp_path / "vocabulary.gguf")
    found = GgufFile(tmp_path / "model.gguf")
    # Numbers of the header are float32.
    assert found.shape == replace(checkpoint.shape, norm_epsilon=found.shape.norm_epsilon)
    assert found.shape.norm_epsilon == pytest.approx(checkpoint.shape.norm_epsilon)
    for name in checkpoint.tensor_names:
        np.testing.assert_allclose(found.tensor(name), checkpoint.tensor(name), rtol=1e-3, atol=1e-6)
    text = 'a program, {"route": "code"}'
    assert found.tokenizer.encode(text).ids == checkpoint.tokenizer.encode(text).ids
    assert found.end_of_turn == checkpoint.end_of_turn
