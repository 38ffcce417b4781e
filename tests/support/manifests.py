"""Bundles that are a manifest and nothing else, for tests whose engines load nothing."""

from pathlib import Path

from archroute_server.bundle.bundle import read_manifest
from archroute_server.bundle.manifest import (
    MANIFEST_FILE,
    FileDigest,
    Manifest,
    ModelDimensions,
    ParityReport,
    PromptContract,
    Source,
)

WEIGHTS_BYTES = 1000 * 2**20


def write_bundle(folder: Path, created_by: str, weights_bytes: int = WEIGHTS_BYTES) -> str:
    """Write a manifest into `folder`; return its digest."""
    folder.mkdir(exist_ok=True)
    manifest = Manifest(
        schema_version=1,
        created_by=created_by,
        exporter="archroute",
        source=Source(name="a/model", kind="gguf", digest="sha256:00"),
        model=ModelDimensions(
            family="llama",
            layers=1,
            hidden_size=1,
            attention_heads=1,
            key_value_heads=1,
            head_size=1,
            vocabulary_size=1,
            maximum_positions=1,
        ),
        precision="int8",
        prompt=PromptContract(variant="a", chat_frame=[], rendered_chat_frame="", end_of_turn=0),
        files={"model.onnx.data": FileDigest(sha256="00", bytes=weights_bytes)},
        parity=ParityReport(
            reference="a",
            prompts=1,
            positions=1,
            max_error=0.0,
            relative_error=0.0,
            same_choice=1.0,
            bound=1.0,
        ),
    )
    (folder / MANIFEST_FILE).write_bytes(manifest.encode())
    return read_manifest(folder)[1]


def turn(link: Path, name: str) -> None:
    """Let a link lead to its neighbour `name`, at once."""
    turned = link.with_name("turned")
    turned.symlink_to(link.with_name(name))
    turned.replace(link)
