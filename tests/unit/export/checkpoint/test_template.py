import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from archroute_export.checkpoint.checkpoint import Checkpoint
from archroute_export.checkpoint.errors import CheckpointError
from archroute_export.checkpoint.safetensors_folder import SafetensorsFolder
from archroute_export.checkpoint.template import chat_frame
from archroute_server.router.tokenizer import Tokenizer as RouterTokenizer
from support.checkpoints import write_tiny_checkpoint
from synthetic.tokenizer import CHAT_TEMPLATE, SYSTEM_MESSAGE

START = {"token": 1, "text": "<|im_start|>"}
END = {"token": 2, "text": "<|im_end|>"}
CHATML = [
    START,
    {"text": "user\n"},
    {"prompt": True},
    END,
    {"text": "\n"},
    START,
    {"text": "assistant\n"},
]


def with_template(folder: Path, template: str | None, **tokens: str) -> Checkpoint:
    write_tiny_checkpoint(folder)
    fields = {"chat_template": template, **tokens} if template is not None else tokens
    (folder / "tokenizer_config.json").write_text(json.dumps(fields))
    return SafetensorsFolder(folder)


def test_the_default_system_message_is_part_of_the_frame(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path)
    frame = chat_frame(SafetensorsFolder(tmp_path))
    system = [START, {"text": f"system\n{SYSTEM_MESSAGE}"}, END, {"text": "\n"}]
    assert frame.to_json() == [*system, *CHATML]


@pytest.mark.parametrize("prompt", ["hello", "\nTwo  lines,\n12 digits and code_review \n"])
def test_the_frame_gives_the_tokens_of_the_rendered_text(tmp_path: Path, prompt: str) -> None:
    write_tiny_checkpoint(tmp_path)
    checkpoint = SafetensorsFolder(tmp_path)
    rendered = (
        f"<|im_start|>system\n{SYSTEM_MESSAGE}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    tokenizer = RouterTokenizer(Tokenizer.from_str(checkpoint.tokenizer_json()))
    assert chat_frame(checkpoint).encode(prompt, tokenizer) == checkpoint.tokenizer.encode(rendered).ids


@pytest.mark.oracle
def test_a_template_that_trims_gives_a_frame_that_does(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    template = CHAT_TEMPLATE.replace("message['content']", "message['content'] | trim")
    checkpoint = with_template(tmp_path, template)
    frame = chat_frame(checkpoint)
    assert {"prompt": True, "stripped": True} in frame.to_json()
    tokenizer = RouterTokenizer(Tokenizer.from_str(checkpoint.tokenizer_json()))
    prompt = " \n\tYou are a helpful assistant.\n <routes>\n[]\n\u3000 "
    expected = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True
    )
    assert frame.encode(prompt, tokenizer) == expected


@pytest.mark.oracle
def test_the_frame_is_what_transformers_renders(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tiny_checkpoint(tmp_path)
    checkpoint = SafetensorsFolder(tmp_path)
    tokenizer = RouterTokenizer(Tokenizer.from_str(checkpoint.tokenizer_json()))
    prompt = "\nYou are a helpful assistant.\n <routes>\n[]\n"
    expected = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True
    )
    assert chat_frame(checkpoint).encode(prompt, tokenizer) == expected


def test_without_a_template_it_is_plain_chatml(tmp_path: Path) -> None:
    assert chat_frame(with_template(tmp_path, None)).to_json() == CHATML


def test_without_a_template_and_without_chatml_there_is_no_frame(tmp_path: Path) -> None:
    checkpoint = with_template(tmp_path, None)
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<|im_end|>", "<|end|>"))
    with pytest.raises(CheckpointError, match=r"no chat template, and the vocabulary lacks <\|im_start\|>"):
        chat_frame(checkpoint)


def test_templates_see_the_special_tokens_and_what_transformers_gives_them(tmp_path: Path) -> None:
    template = """\
{{ bos_token }}{% if tools %}tools{% endif %}
{% for message in messages %}
    {% if loop.index > 1 %}{% break %}{% endif %}
    {% generation %}{{ {'kept': '<&>'} | tojson }}{% endgeneration %}
    {{- message['content'] }}
{% endfor %}
{% if add_generation_prompt %}{{ eos_token }}{% endif %}"""
    checkpoint = with_template(tmp_path, template, bos_token="<|endoftext|>", eos_token="<|im_end|>")
    assert chat_frame(checkpoint).to_json() == [
        {"token": 0, "text": "<|endoftext|>"},
        {"text": '{"kept": "<&>"}'},
        {"prompt": True},
        {"text": "\n"},
        END,
    ]


def test_the_longest_special_token_is_taken(tmp_path: Path) -> None:
    checkpoint = with_template(tmp_path, "<|im_end|><|im_end|>x{{ messages[0].content }}")
    tokenizer = tmp_path / "tokenizer.json"
    fields = json.loads(tokenizer.read_text())
    longer = {**fields["added_tokens"][2], "id": 400, "content": "<|im_end|>x"}
    fields["added_tokens"].append(longer)
    tokenizer.write_text(json.dumps(fields))
    frame = chat_frame(checkpoint).to_json()
    assert frame == [END, {"token": 400, "text": "<|im_end|>x"}, {"prompt": True}]


def test_a_fixed_date_is_taken_where_a_template_has_one(tmp_path: Path) -> None:
    template = (
        "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}26 Jul 2024{% endif %}"
        "{{ messages[0].content }}"
    )
    assert chat_frame(with_template(tmp_path, template)).to_json()[0] == {"text": "26 Jul 2024"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ strftime_now('%Y') }}{{ messages[0].content }}", "writes today's date"),
        ("{{ messages[0].content | trim }}{{ messages[0].content | trim }}", "more than once"),
        ("{{ messages[0].content | trim('\\n') }}", "leaves out the user's message or changes it"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "more than once"),
        ("no message", "leaves out the user's message or changes it"),
        ("{{ messages[0].content | escape }}", "leaves out the user's message or changes it"),
        ("{{ messages[0].content | upper }}", "leaves out the user's message or changes it"),
        ("{{ raise_exception('no system message') }}", "the chat template fails: no system message"),
        ("{% for %}", "the chat template fails"),
        ("{{ messages[0].content + 1 }}", "the chat template fails"),
        ("{{ 1 // 0 }}", "the chat template fails"),
        ("{{ unknown.field }}", "the chat template fails: 'unknown' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "the chat template fails"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(tmp_path: Path, template: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        chat_frame(with_template(tmp_path, template))
