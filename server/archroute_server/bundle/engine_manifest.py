"""The manifest of built engines: what they were built from, and how they answered before anybody used them.

`engines.json` stands beside the files that it lists, whose names and format are those of the provider.
"""

import hashlib
from typing import Literal

import msgspec

from archroute_server.bundle.errors import BundleError

ENGINE_MANIFEST_FILE = "engines.json"


class EngineKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What engines depend on: with another value of any of these they are other engines."""

    provider: str
    bundle_digest: str
    compute_capability: str
    """Of the GPU, such as "9.0"."""
    versions: dict[str, str]
    """Of ONNX Runtime, and of the library that builds engines."""
    profile: dict[str, str]
    """The sizes of every input at the profile's "min", "opt" and "max", as the provider reads them."""

    @property
    def folder_name(self) -> str:
        """A name of its own for each key, whose parts people can read but for the digest of the profile."""
        bundle = self.bundle_digest.removeprefix("sha256:")[:12]
        architecture = "sm" + self.compute_capability.replace(".", "")
        versions = "-".join(f"{name.lower()}-{version}" for name, version in self.versions.items())
        profile = hashlib.sha256(msgspec.json.encode(self.profile, order="sorted")).hexdigest()[:8]
        return f"{bundle}-{self.provider}-{architecture}-{versions}-{profile}"

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.provider}, compute capability {self.compute_capability}, {versions}"


class EngineManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole manifest. It is written last, after the engines answered the bundle's fixed prompts."""

    schema_version: Literal[1] = 1
    key: EngineKey
    files: list[str]
    prompts: int
    """How many fixed prompts the engines answered."""
    difference: float
    """The largest one of a log probability from what the bundle recorded."""
    bound: float
    """What it might have been."""

    def encode(self) -> bytes:
        """Return the manifest as indented JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def decode(cls, content: bytes, path: str) -> "EngineManifest":
        """Read what `encode` wrote; `path` names it in errors. Raises `BundleError`."""
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise BundleError(f"{path} is not a manifest of engines: {error}") from error
