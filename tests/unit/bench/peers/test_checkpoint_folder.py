"""The checkpoint that all peers have in common; a tiny model stands for the embedded one."""

from pathlib import Path

import numpy as np
import pytest

from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.checkpoint.shape import ModelShape
from peers.conversion.checkpoint_folder import write_checkpoint
from peers.shapes import SHAPES, Shape
from support.checkpoints import tiny_config, write_tiny_checkpoint


@pytest.fixture
def embedded(tmp_path: Path) -> SafetensorsFolder:
    write_tiny_checkpoint(tmp_path / "embedded", "llama")
    return SafetensorsFolder(tmp_path / "embedded")


def test_the_embedded_model_keeps_its_weights(tmp_path: Path, embedded: SafetensorsFolder) -> None:
    write_checkpoint(SHAPES["135m"], embedded, tmp_path / "checkpoint")
    found = SafetensorsFolder(tmp_path / "checkpoint")
    assert found.shape == embedded.shape
    for name in embedded.tensor_names:
        np.testing.assert_array_equal(found.tensor(name), embedded.tensor(name))
    assert found.tokenizer_json() == embedded.tokenizer_json()
    assert found.chat_template() == embedded.chat_template()
    assert found.end_of_turn == embedded.end_of_turn


def test_another_shape_has_random_weights_and_the_same_tokenizer(
    tmp_path: Path, embedded: SafetensorsFolder
) -> None:
    config = tiny_config("qwen2", layers=1)
    write_checkpoint(Shape("tiny", "Tiny", config), embedded, tmp_path / "checkpoint")
    found = SafetensorsFolder(tmp_path / "checkpoint")
    assert (found.shape.family, found.shape.layers) == ("qwen2", 1)
    assert (found.tensor("model.norm.weight") == 1).all()
    weights = found.tensor("model.layers.0.mlp.up_proj.weight")
    assert 0.01 < weights.std() < 0.03
    assert abs(weights.mean()) < 0.01
    assert found.tokenizer_json() == embedded.tokenizer_json()


def test_the_shapes_are_those_of_the_models_that_they_are_named_after() -> None:
    sizes = {"0.5b": 494_032_768, "1.5b": 1_543_714_304}  # as their model cards have them
    for name, size in sizes.items():
        shapes = ModelShape.from_config(SHAPES[name].config or {}).tensor_shapes()
        assert sum(int(np.prod(shape)) for shape in shapes.values()) == size
