"""The manifest of a bundle: what model it is, how it must be spoken to, and the digest of every file.

`manifest.json` stands beside the files that it lists:

    model.onnx            the graph
    model.tensorrt.onnx   the same in the form that TensorRT reads; of fp16 and fp32 bundles
    model.onnx.data       the weights of both (external data)
    tokenizer.json        the tokenizer, in the format of the `tokenizers` library
"""

from typing import Annotated, Any, Literal

import msgspec

from archroute_server.bundle.errors import BundleError

SCHEMA_VERSION = 1
MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
TENSORRT_GRAPH_FILE = "model.tensorrt.onnx"
WEIGHTS_FILE = "model.onnx.data"
TOKENIZER_FILE = "tokenizer.json"

PrecisionName = Literal["fp32", "fp16", "int8", "int4"]

# What msgspec raises for bytes that are not what is wanted: the second for JSON that is nested too deeply,
# the third for text that is not UTF-8.
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the manifest; a field that this version does not know is an error."""


class AdapterSource(_Part, frozen=True):
    """The adapter that was merged into the checkpoint."""

    name: str
    digest: str


class Source(_Part, frozen=True, omit_defaults=True):
    """The checkpoint that was exported; `digest` covers the adapter too, if there is one."""

    name: str
    kind: Literal["safetensors", "gguf"]
    digest: str
    adapter: AdapterSource | None = None


# The server makes arrays for each layer, so the number is bounded before it is believed.
Layers = Annotated[int, msgspec.Meta(ge=1, le=1024)]
Size = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class ModelDimensions(_Part, frozen=True):
    """What the server must know of the model to feed it."""

    family: str
    layers: Layers
    hidden_size: Size
    attention_heads: Size
    key_value_heads: Size
    head_size: Size
    vocabulary_size: Size
    maximum_positions: Size


class PromptContract(_Part, frozen=True):
    """How a conversation is put to the model.

    `chat_frame` holds the segments that `router.frame.ChatFrame.from_json` reads;
    `rendered_chat_frame` is the same as one text, for people.
    """

    variant: str
    chat_frame: list[dict[str, Any]]
    rendered_chat_frame: str
    end_of_turn: int


class FileDigest(_Part, frozen=True):
    """SHA-256 in hexadecimal and size of one file of the bundle."""

    sha256: str
    bytes: int


class ParityReport(_Part, frozen=True):
    """How far the graph's logits were from the reference's when it was exported.

    Logits are those of every candidate token at every selected position of the fixed prompts;
    `relative_error` is the root mean square of their differences over their standard deviation,
    and `same_choice` the share of positions where the likeliest candidate is the same.
    """

    reference: str
    prompts: int
    positions: int
    max_error: float
    relative_error: float
    same_choice: float
    bound: float


Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FixedPolicy(_Part, frozen=True):
    """A policy of the self-test."""

    name: str
    description: str


class FixedMessage(_Part, frozen=True):
    """A message of the self-test."""

    role: Literal["user", "assistant"]
    text: str


class FixedPrompt(_Part, frozen=True):
    """A conversation, and what the bundle said to it when it was exported.

    `branches` holds, for each branch of the tree of answers, the natural logarithm of the probability of each
    of its edges. `choice` and `probability` follow from them, and are there for people.
    """

    messages: list[FixedMessage]
    prompt_sha256: str
    """Of the prompt's token ids, each as four bytes, the least significant first."""
    choice: str
    probability: Share
    branches: list[list[float]]


class SelfTest(_Part, frozen=True):
    """Fixed prompts with the bundle's own answers, by which a server knows the model again.

    Prompts are made with `policies` and cut to `max_prompt_tokens`, whatever a server's settings are. A
    difference is the largest one of a log probability in `branches`. `measured` is that between the graph and
    the reference at the export, and `bound` what a server may differ from `branches`.
    """

    policies: Annotated[list[FixedPolicy], msgspec.Meta(min_length=1)]
    max_prompt_tokens: Annotated[int, msgspec.Meta(ge=1)]
    prompts: Annotated[list[FixedPrompt], msgspec.Meta(min_length=1)]
    measured: float
    bound: Annotated[float, msgspec.Meta(gt=0)]


class Calibration(_Part, frozen=True):
    """What `archroute calibrate` found: how the model's probabilities become those that hold.

    `router.decision` says what the temperature does. Losses and errors are those of the examples that it was
    fitted on: the mean negative log-likelihood of the right answer, in nats, and the expected calibration
    error. `min_probability` is proposed to callers for being right in at least `precision` of the answers
    that reach it, which are `coverage` of all; both are None if no minimum does that.
    """

    temperature: Annotated[float, msgspec.Meta(gt=0)]
    examples: int
    fitted_on: str
    """`sha256:<hex>` of the files of examples, one after the other."""
    loss_before: float
    loss_after: float
    error_before: Share
    error_after: Share
    precision: Share
    min_probability: Share | None
    coverage: Share | None

    def encode(self) -> bytes:
        """Return the calibration as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def decode(cls, content: bytes, path: str) -> "Calibration":
        """Read what `encode` wrote; `path` names it in errors. Raises `BundleError`."""
        try:
            return msgspec.json.decode(content, type=cls)
        except _UNREADABLE as error:
            raise BundleError(f"{path} is not a calibration: {error}") from error


# Without `omit_defaults`, bundles that were never calibrated, or have no self-test, would change their bytes,
# and so their identity.
class Manifest(_Part, frozen=True, omit_defaults=True):
    """The whole manifest. A bundle's identity is the digest of these bytes.

    Calibrating rewrites the manifest, so that a calibrated bundle is another one than it was: it gives other
    probabilities.
    """

    schema_version: int
    created_by: str
    exporter: Literal["archroute", "optimum"]
    source: Source
    model: ModelDimensions
    precision: PrecisionName
    prompt: PromptContract
    files: dict[str, FileDigest]
    parity: ParityReport
    calibration: Calibration | None = None
    self_test: SelfTest | None = None
    """None in bundles of before there were self-tests."""

    def encode(self) -> bytes:
        """Return the manifest as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def with_calibration(self, calibration: Calibration) -> "Manifest":
        """Return the manifest with another calibration, or a first one."""
        return msgspec.structs.replace(self, calibration=calibration)

    @classmethod
    def decode(cls, content: bytes, path: str) -> "Manifest":
        """Read a manifest; `path` names it in errors.

        Raises `BundleError` for JSON that is malformed, a schema version of the future, and
        fields that are missing, unknown or of the wrong type.
        """
        try:
            version = msgspec.json.decode(content, type=_Version).schema_version
        except _UNREADABLE as error:
            raise BundleError(f"{path} is not a bundle's manifest: {error}") from error
        if version != SCHEMA_VERSION:
            advice = (
                "install a newer archroute" if version > SCHEMA_VERSION else "export the checkpoint again"
            )
            raise BundleError(
                f"{path} has schema version {version}, but this archroute reads version {SCHEMA_VERSION}: "
                f"{advice}"
            )
        try:
            return msgspec.json.decode(content, type=cls)
        except _UNREADABLE as error:
            raise BundleError(f"{path}: {error}; export the checkpoint again") from error


class _Version(msgspec.Struct):
    """The one field that every version of the schema has."""

    schema_version: int
