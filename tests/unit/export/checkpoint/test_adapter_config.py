import json
from pathlib import Path

import pytest

from archroute_export.checkpoint.adapter_config import AdapterConfig
from archroute_export.checkpoint.errors import CheckpointError
from support.adapters import PLAIN_CONFIG

QUERY, KEY, DOWN = (
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.k_proj",
    "model.layers.11.mlp.down_proj",
)


def config(tmp_path: Path, **fields: object) -> AdapterConfig:
    values = {**PLAIN_CONFIG, "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], **fields}
    (tmp_path / "adapter_config.json").write_text(json.dumps(values))
    return AdapterConfig.read(tmp_path / "adapter_config.json")


def test_the_scale_is_alpha_over_rank(tmp_path: Path) -> None:
    plain = config(tmp_path)
    assert (plain.rank_of(QUERY), plain.scale_of(QUERY)) == (4, 2.0)


def test_the_rank_stabilized_scale_is_alpha_over_its_root(tmp_path: Path) -> None:
    assert config(tmp_path, use_rslora=True).scale_of(QUERY) == 4.0


@pytest.mark.parametrize(
    ("pattern", "module", "matches"),
    [
        ("q_proj", QUERY, True),
        ("self_attn.q_proj", QUERY, True),
        (QUERY, QUERY, True),
        ("proj", QUERY, False),
        ("layers.1.mlp.down_proj", DOWN, False),
        (r"layers\.\d+\.mlp\.\w+", DOWN, True),
        (r"^model\.layers\.(0|11)\..*", DOWN, True),
    ],
)
def test_ranks_and_alphas_differ_by_module(tmp_path: Path, pattern: str, module: str, matches: bool) -> None:
    ranks = config(tmp_path, rank_pattern={pattern: 2})
    assert (ranks.rank_of(module), ranks.scale_of(module)) == ((2, 4.0) if matches else (4, 2.0))
    assert config(tmp_path, alpha_pattern={pattern: 2.0}).scale_of(module) == (0.5 if matches else 2.0)


def test_of_several_patterns_the_first_counts(tmp_path: Path) -> None:
    assert config(tmp_path, rank_pattern={"q_proj": 2, "self_attn.q_proj": 1}).rank_of(QUERY) == 2


@pytest.mark.parametrize(
    ("fields", "targeted"),
    [
        ({}, {QUERY, DOWN}),
        ({"target_modules": "all-linear"}, {QUERY, KEY, DOWN}),
        ({"target_modules": r".*\.(q|k)_proj"}, {QUERY, KEY}),
        ({"target_modules": ["self_attn.k_proj"]}, {KEY}),
        ({"target_modules": [QUERY]}, {QUERY}),
        ({"target_modules": ["proj"]}, set()),
        ({"exclude_modules": ["mlp.down_proj"]}, {QUERY}),
        ({"exclude_modules": r".*self_attn.*"}, {DOWN}),
        ({"layers_to_transform": 11}, {DOWN}),
        ({"layers_to_transform": [0, 1], "layers_pattern": "layers"}, {QUERY}),
        ({"layers_to_transform": []}, {QUERY, DOWN}),
    ],
)
def test_which_modules_have_an_adapter(tmp_path: Path, fields: dict[str, object], targeted: set[str]) -> None:
    found = config(tmp_path, **fields)
    assert {module for module in (QUERY, KEY, DOWN) if found.targets(module)} == targeted


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only 'LORA' can be merged"),
        ({"peft_type": None}, "peft_type is None; only 'LORA'"),
        ({"bias": "all"}, "bias is 'all'; only 'none'"),
        ({"use_dora": True}, "use_dora is True; an adapter with that cannot be merged here"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out is True"),
        ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\]"),
        ({"lora_bias": True}, "lora_bias is True"),
        ({"layer_replication": [[0, 4]]}, "layer_replication is"),
        ({"target_parameters": ["experts"]}, "target_parameters is"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices is"),
        ({"of_a_later_version": 0.5}, "of_a_later_version is 0.5"),
        ({"init_lora_weights": "pissa_niter_4"}, r"'pissa_niter_4', which changes the base as well; convert"),
        ({"r": 0}, "r is 0; expected a whole number greater than zero"),
        ({"r": True}, "r is True; expected a whole"),
        ({"r": None}, "r is None; expected a whole"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'; expected a number"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf; expected a number"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'; expected true or false"),
        ({"rank_pattern": ["q_proj"]}, r"rank_pattern is \['q_proj'\]; expected an object"),
        ({"rank_pattern": {"q_proj": 1.5}}, r"rank_pattern\['q_proj'\] is 1.5; expected a whole number"),
        ({"alpha_pattern": {"(": 1}}, r"alpha_pattern holds .* which is no pattern"),
        ({"target_modules": None}, "target_modules is None; expected a list of module names, or a pattern"),
        ({"target_modules": [1]}, r"target_modules is \[1\]"),
        ({"target_modules": "("}, r"target_modules holds '\(', which is no pattern"),
        ({"layers_to_transform": "all"}, "layers_to_transform is 'all'; expected the numbers of layers"),
        ({"layers_pattern": "blocks"}, "layers_pattern is 'blocks'; expected 'layers'"),
    ],
)
def test_what_cannot_be_merged_is_named_with_its_file(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=rf"adapter_config\.json: .*{message}"):
        config(tmp_path, **fields)


@pytest.mark.parametrize("content", ["", "{", "[]", "\ufeff{"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(
        CheckpointError, match=r"adapter_config\.json: (not valid JSON|expected a JSON object)"
    ):
        AdapterConfig.read(path)
