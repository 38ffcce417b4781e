"""The prompts that an export records, asked of the bundle by an engine as a server loads it."""

from pathlib import Path

import msgspec
import pytest

from archroute_server.bundle.bundle import open_bundle
from archroute_server.bundle.errors import BundleError
from archroute_server.bundle.manifest import MANIFEST_FILE, Manifest, PrecisionName
from archroute_server.engine.loading import load_engine
from archroute_server.engine.self_test import SelfTestFailed, SelfTestReport
from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint

# As large as rounding on a CPU makes it, or larger.
LEAST_BOUND = 0.05


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    write_tiny_checkpoint(folder)
    return folder


async def run_self_test(folder: Path, **settings: int) -> SelfTestReport | None:
    engine = load_engine(
        folder,
        provider="cpu",
        threads=1,
        max_prompt_tokens=settings.get("max_prompt_tokens", 2048),
        self_test=True,
    )
    try:
        return await engine.run_self_test()
    finally:
        await engine.close(grace=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4"])
async def test_a_bundle_is_known_again(checkpoint: Path, tmp_path: Path, precision: PrecisionName) -> None:
    recorded = export_bundle(checkpoint, tmp_path / "bundle", precision).manifest.self_test
    assert recorded is not None
    assert len(recorded.prompts) == 6
    assert recorded.bound == max(LEAST_BOUND, 2 * recorded.measured)
    # The graph rounds, and the reference does not.
    assert recorded.measured > 0
    # Settings of the server do not change the prompts.
    for max_prompt_tokens in (512, 2048):
        report = await run_self_test(tmp_path / "bundle", max_prompt_tokens=max_prompt_tokens)
        assert report is not None
        assert report.prompts == 6
        # On the machine of the export, in the other order of the server's passes.
        assert report.difference <= recorded.bound / 2


async def test_answers_of_other_weights_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    """Weights that were swapped together with their digests: nothing but the answers tells."""
    write_tiny_checkpoint(tmp_path / "other", seed=1)
    recorded = export_bundle(checkpoint, tmp_path / "bundle", "int8").manifest.self_test
    other = export_bundle(tmp_path / "other", tmp_path / "swapped", "int8").manifest
    write_manifest(tmp_path / "swapped", other, recorded)
    with pytest.raises(SelfTestFailed, match=r"to prompt \d of 6 it should say \w+ \("):
        await run_self_test(tmp_path / "swapped")


async def test_a_bundle_of_before_has_nothing_to_test(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_bundle(checkpoint, tmp_path / "bundle").manifest
    write_manifest(tmp_path / "bundle", manifest, None)
    assert open_bundle(tmp_path / "bundle").manifest.self_test is None
    assert await run_self_test(tmp_path / "bundle") is None


async def test_who_does_not_ask_for_it_need_not_pass_it(checkpoint: Path, tmp_path: Path) -> None:
    content = export_bundle(checkpoint, tmp_path / "bundle").manifest.encode()
    altered = content.replace(b"three days in Lisbon", b"four days in Lisbon")
    (tmp_path / "bundle" / MANIFEST_FILE).write_bytes(altered)
    with pytest.raises(SelfTestFailed, match=r"prompt 4 of 6 is not written, or not tokenized, as it was"):
        await run_self_test(tmp_path / "bundle")
    engine = load_engine(tmp_path / "bundle", provider="cpu", threads=1, max_prompt_tokens=2048)
    assert await engine.run_self_test() is None
    await engine.close(grace=0)


async def test_a_self_test_that_cannot_be_asked(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_bundle(checkpoint, tmp_path / "bundle").manifest
    assert manifest.self_test is not None
    content = manifest.encode().replace(b'"name": "code_review"', b'"name": "code_generation"')
    (tmp_path / "bundle" / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=r"self-test cannot be asked: policies\[1\]\.name: .*; export"):
        await run_self_test(tmp_path / "bundle")


def write_manifest(folder: Path, manifest: Manifest, self_test: object) -> None:
    changed = msgspec.structs.replace(manifest, self_test=self_test)
    (folder / MANIFEST_FILE).write_bytes(changed.encode())
