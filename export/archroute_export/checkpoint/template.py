"""The chat frame: a checkpoint's own chat template, rendered once and cut at its special tokens.

Renders as transformers does (`transformers.utils.chat_template_utils`), except that a template cannot
ask for today's date: the frame is stored, and the same conversation must route alike tomorrow.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from tokenizers import Tokenizer

from archroute_export.checkpoint.checkpoint import CHATML_END, CHATML_START, Checkpoint
from archroute_export.checkpoint.errors import CheckpointError
from archroute_server.router.frame import (
    ChatFrame,
    ChatFrameError,
    PromptHere,
    Segment,
    SpecialToken,
    Text,
)
from archroute_server.router.tokenizer import Tokenizer as RouterTokenizer

# Stands in for the prompt, which begins and ends with whitespace too. Its punctuation shows a template
# that escapes what it is given.
_BARE = "⟦archroute: \"the\" <prompt> & 'only' this⟧"
_PLACEHOLDER = f"\n{_BARE} \n"

# Jinja drops a template's own last newline.
_CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant{{ '\n' }}"
)


def chat_frame(checkpoint: Checkpoint) -> ChatFrame:
    """Return what stands around a single user message, up to where the answer begins.

    A default system message that the template adds is part of it. A checkpoint without a template gets
    plain ChatML if its vocabulary has ChatML's tokens.

    Raises:
        CheckpointError: no template and no ChatML, a template that fails, needs today's date, or does
            not write the message exactly once, as it is or stripped.
    """
    special_tokens = {
        token.content: id
        for id, token in checkpoint.tokenizer.get_added_tokens_decoder().items()
        if token.special
    }
    template = checkpoint.chat_template()
    if template is None:
        if not {CHATML_START, CHATML_END} <= special_tokens.keys():
            raise CheckpointError(
                f"{checkpoint.name}: there is no chat template, and the vocabulary lacks "
                f"{CHATML_START} and {CHATML_END}; add a chat_template to tokenizer_config.json"
            )
        template = _CHATML
    rendered = _render(template, checkpoint, _PLACEHOLDER)
    # Llama 3's templates trim every message: with whitespace around it and without, the result is the same.
    stripped = rendered == _render(template, checkpoint, _BARE)
    written = _BARE if stripped else _PLACEHOLDER
    if rendered.count(written) != 1:
        what = "writes the user's message more than once"
        if written not in rendered:
            what = "leaves out the user's message or changes it"
        raise CheckpointError(f"{checkpoint.name}: the chat template {what}")
    before, after = rendered.split(written)
    frame = ChatFrame(
        (
            *_segments(before, special_tokens),
            PromptHere(stripped),
            *_segments(after, special_tokens),
        )
    )
    try:
        frame.check(RouterTokenizer(Tokenizer.from_str(checkpoint.tokenizer_json())))
    except ChatFrameError as error:
        raise CheckpointError(f"{checkpoint.name}: {error}") from error
    return frame


def _render(template: str, checkpoint: Checkpoint, message: str) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    try:
        return environment.from_string(template).render(
            messages=[{"role": "user", "content": message}],
            tools=None,
            documents=None,
            add_generation_prompt=True,
            **checkpoint.special_tokens(),
        )
    except jinja2.UndefinedError as error:
        # Templates that can do without it ask `if strftime_now is defined`.
        if "strftime_now" in str(error):
            raise CheckpointError(
                f"{checkpoint.name}: the chat template writes today's date, so the same conversation could "
                "route differently tomorrow; put a fixed date into the template"
            ) from error
        raise CheckpointError(f"{checkpoint.name}: the chat template fails: {error}") from error
    except jinja2.TemplateError as error:
        raise CheckpointError(f"{checkpoint.name}: the chat template fails: {error}") from error
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:  # from expressions inside it
        raise CheckpointError(f"{checkpoint.name}: the chat template fails: {error}") from error


def _segments(text: str, special_tokens: Mapping[str, int]) -> Iterator[Segment]:
    """Cut a text at its special tokens, the longest where several match."""
    if not special_tokens:
        pieces = [text]
    else:
        longest_first = sorted(special_tokens, key=len, reverse=True)
        pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
    for piece in pieces:
        if piece in special_tokens:
            yield SpecialToken(special_tokens[piece], piece)
        elif piece:
            yield Text(piece)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON without Jinja's own HTML escapes."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


class _GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}`, which marks the assistant's text for training: nothing but its content here."""

    tags = {"generation"}  # noqa: RUF012  the base class declares it a plain set

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        """Return the nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
