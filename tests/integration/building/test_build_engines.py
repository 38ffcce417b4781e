"""`archroute build-engines` and the server that uses what it built, with the CPU in the place of TensorRT."""

import argparse
import asyncio
import signal
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archroute.commands import CommandError
from archroute_server import app
from archroute_server.app import Application
from archroute_server.building.cli import ENGINE_PROVIDERS, command
from archroute_server.bundle.bundle import Bundle, open_bundle
from archroute_server.bundle.engine_manifest import ENGINE_MANIFEST_FILE, EngineManifest
from archroute_server.bundle.manifest import MANIFEST_FILE
from archroute_server.config import Settings
from archroute_server.engine.loading import load_engine
from archroute_server.engine.self_test import SelfTestFailed
from archroute_server.rpc.address import Address
from archroute_server.runtime.engines import cache as engine_cache
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import PROVIDERS
from archroute_server.telemetry.logging import LogFormat
from support import engine_provider
from support.bundles import export_bundle
from support.checkpoints import write_tiny_checkpoint
from support.engine_calls import POLICIES, user
from support.engine_provider import BUCKETS, FakeEngineBuilds, disk_full, permuting, perturbing
from support.rpc_calls import Log, logging_to_memory
from support.signals import given_back


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(folder / "checkpoint", config_fields={"max_position_embeddings": 4096})
    return export_bundle(folder / "checkpoint", folder / "bundle")


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> FakeEngineBuilds:
    return engine_provider.install(monkeypatch)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "engines"


def build(model: Path, cache: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--model", str(model), "--engine-cache", str(cache), *arguments]))


def folders(cache: Path) -> list[Path]:
    return sorted(cache.iterdir()) if cache.exists() else []


# Building.


def test_the_command_is_found_by_its_entry_point() -> None:
    (entry_point,) = entry_points(group="archroute.commands", name="build-engines")
    assert entry_point.load() is command


def test_it_builds_for_every_provider_that_has_engines() -> None:
    assert set(ENGINE_PROVIDERS) == {provider.name for provider in PROVIDERS if provider.engines}


def test_engines_are_built_tested_and_kept(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(bundle.folder, cache) == 0
    (folder,) = folders(cache)
    manifest = EngineManifest.decode((folder / ENGINE_MANIFEST_FILE).read_bytes(), "engines.json")
    assert manifest.key.bundle_digest == bundle.digest
    assert manifest.key.versions["TensorRT"] == "10.16.1"
    assert (manifest.prompts, manifest.bound) == (6, 0.05)
    assert manifest.difference < 0.05
    assert set(manifest.files) == {path.name for path in folder.iterdir()} - {ENGINE_MANIFEST_FILE}
    # Built once, and tested as it was read back.
    assert tensorrt.built == 1
    assert len(tensorrt.profiles) == 2
    written = capsys.readouterr().err
    assert f"built the engines: {folder}\n" in written
    # Without a terminal there are lines in the place of bars.
    steps = [line for line in written.splitlines() if line.endswith(" ...")]
    assert steps == [
        "building engines for tensorrt ...",
        "running them in their shapes ...",
        "testing them on the fixed prompts ...",
    ]


def record_passes(tensorrt: FakeEngineBuilds) -> list[tuple[int, int, int, int]]:
    """Collect cached tokens, new tokens, rows and candidates of each pass from now on."""
    passes: list[tuple[int, int, int, int]] = []

    def recording(model: Any) -> Any:
        def run(forward: Any, past: Any) -> Any:
            sizes = (past.tokens, len(forward.token_ids), len(forward.select), len(forward.candidates))
            passes.append(sizes)
            return type(model).run(model, forward, past)

        model.run = run
        return model

    tensorrt.doctor = recording
    return passes


def test_the_shapes_of_the_profile_are_run(tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path) -> None:
    shapes = record_passes(tensorrt)
    build(bundle.folder, cache)
    assert {(0, 1, 1, 1), (2048, 1024, 1024, 512)} <= set(shapes)
    assert all(new <= BUCKETS.new[-1] and cached <= BUCKETS.cached[-1] for cached, new, _, _ in shapes)


def test_engines_that_are_there_are_not_built_again_unless_asked(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(bundle.folder, cache)
    assert build(bundle.folder, cache) == 0
    assert "the engines were there already" in capsys.readouterr().err
    assert tensorrt.built == 1
    assert build(bundle.folder, cache, "--force") == 0
    assert tensorrt.built == 2
    assert len(folders(cache)) == 1


def test_another_version_has_engines_of_its_own(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path
) -> None:
    build(bundle.folder, cache)
    tensorrt.version = "10.17.0"
    build(bundle.folder, cache)
    tensorrt.capability = "8.9"
    build(bundle.folder, cache)
    assert tensorrt.built == len(folders(cache)) == 3


# What can go wrong on the way; nothing is kept of it.


def fail_to_build(tensorrt: FakeEngineBuilds) -> None:
    tensorrt.fails = RuntimeError("TensorRT EP could not build engine for fused node")


def fill_the_disk_while_it_builds(tensorrt: FakeEngineBuilds) -> None:
    tensorrt.truncates = True


def write_nothing(tensorrt: FakeEngineBuilds) -> None:
    tensorrt.writes = False


def permute(tensorrt: FakeEngineBuilds) -> None:
    tensorrt.doctor = permuting


def perturb(tensorrt: FakeEngineBuilds) -> None:
    tensorrt.doctor = perturbing


def give_no_numbers_in_a_shape(tensorrt: FakeEngineBuilds) -> None:
    tensorrt.doctor = lambda model: engine_provider.DoctoredModel(model, lambda logits: logits * float("nan"))


def run_out_of_memory(tensorrt: FakeEngineBuilds) -> None:
    def fail(logits: Any) -> Any:
        raise RuntimeError("out of memory")

    tensorrt.doctor = lambda model: engine_provider.DoctoredModel(model, fail)


FAULTS = [
    (fail_to_build, "cannot load .*could not build engine"),
    (fill_the_disk_while_it_builds, "built engines instead of using those in .* more space on the disk"),
    (write_nothing, "wrote no engine, .* use --provider cuda"),
    (permute, r"were not kept: the model does not answer .*: to prompt \d of 6 it should say \w+ "),
    (perturb, r"were not kept: the model does not answer .*: to prompt \d of 6 .* and 0\.05 is allowed"),
    (give_no_numbers_in_a_shape, r"do not run a pass of 1 tokens on 0 cached .*not numbers"),
    (
        run_out_of_memory,
        r"do not run a pass of 1 tokens on 0 cached .*RuntimeError: out of memory.*enough memory",
    ),
]


@pytest.mark.parametrize(("inject", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_nothing_is_kept_of_what_failed(
    tensorrt: FakeEngineBuilds,
    bundle: Bundle,
    cache: Path,
    inject: Callable[[FakeEngineBuilds], None],
    words: str,
) -> None:
    inject(tensorrt)
    with pytest.raises(CommandError, match=words):
        build(bundle.folder, cache)
    assert folders(cache) == []


@pytest.mark.parametrize("inject", [fault for fault, _ in FAULTS])
def test_what_was_there_stays_and_serves(
    tensorrt: FakeEngineBuilds,
    bundle: Bundle,
    cache: Path,
    inject: Callable[[FakeEngineBuilds], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build(bundle.folder, cache)
    inject(tensorrt)
    with pytest.raises(CommandError):
        build(bundle.folder, cache, "--force")
    monkeypatch.undo()
    engine_provider.install(monkeypatch)
    assert build(bundle.folder, cache) == 0
    assert len(folders(cache)) == 1


def test_a_disk_that_is_full_when_they_are_sealed(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise disk_full()

    monkeypatch.setattr("archroute_server.building.build.seal", full)
    with pytest.raises(CommandError, match=f"the disk of {cache} is full; no engines were kept. Free some"):
        build(bundle.folder, cache)
    assert folders(cache) == []


def test_a_bundle_without_fixed_prompts_has_nothing_to_test_them_with(
    tensorrt: FakeEngineBuilds, bundle: Bundle, tmp_path: Path, cache: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for path in bundle.folder.iterdir():
        (old / path.name).hardlink_to(path)
    (old / MANIFEST_FILE).unlink()
    manifest = msgspec.structs.replace(bundle.manifest, self_test=None)
    (old / MANIFEST_FILE).write_bytes(manifest.encode())
    with pytest.raises(
        CommandError, match=r"no fixed prompts to test engines with.*export the checkpoint again"
    ):
        build(old, cache)
    assert tensorrt.built == 0


def test_a_folder_that_is_no_bundle(tensorrt: FakeEngineBuilds, tmp_path: Path, cache: Path) -> None:
    with pytest.raises(CommandError, match="is not a bundle"):
        build(tmp_path, cache)


def test_a_model_of_few_positions(tensorrt: FakeEngineBuilds, tmp_path: Path, cache: Path) -> None:
    write_tiny_checkpoint(tmp_path / "checkpoint", config_fields={"max_position_embeddings": 1024})
    small = export_bundle(tmp_path / "checkpoint", tmp_path / "bundle")
    assert build(small.folder, cache) == 0


# Serving.


def settings(bundle: Bundle, cache: Path, tmp_path: Path, **fields: Any) -> Settings:
    listen = Address(unix_path=str(tmp_path / "socket"))
    return Settings(
        model=bundle.folder,
        provider="tensorrt",
        engine_cache=cache,
        threads=1,
        listen=listen,
        log_format=LogFormat.JSON,
        **fields,
    )


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_to_memory() as log:
        yield log


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    with given_back():
        yield


async def serve_until_ready(settings: Settings, log: Log) -> None:
    """Start a server, and stop it when it is ready. Raises what the start raises."""
    task = asyncio.create_task(Application(settings).run())
    while not log.lines("ready") and not task.done():
        await asyncio.sleep(0.01)
    if not task.done():
        signal.raise_signal(signal.SIGTERM)
    await task


async def test_a_server_uses_what_was_built(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log
) -> None:
    await asyncio.to_thread(build, bundle.folder, cache)
    await serve_until_ready(settings(bundle, cache, tmp_path), log)
    (ready,) = log.lines("ready")
    assert ready["provider"] == "tensorrt"
    assert tensorrt.built == 1
    # As it was told when they were built.
    assert len({str(profile) for profile in tensorrt.profiles}) == 1


async def test_a_server_without_engines_does_not_start_and_names_the_command(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log
) -> None:
    command = rf"`archroute build-engines --model {bundle.folder} --provider tensorrt --engine-cache {cache}`"
    with pytest.raises(RuntimeLoadError, match=f"holds no engines of .*{command}"):
        await serve_until_ready(settings(bundle, cache, tmp_path), log)
    assert tensorrt.built == 0
    assert folders(cache) == []


async def test_engines_of_another_version_are_not_used(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log
) -> None:
    await asyncio.to_thread(build, bundle.folder, cache)
    tensorrt.version = "10.17.0"
    with pytest.raises(RuntimeLoadError, match=r"TensorRT 10\.17\.0.*build-engines"):
        await serve_until_ready(settings(bundle, cache, tmp_path), log)
    assert tensorrt.built == 1


async def test_engines_that_onnx_runtime_takes_for_others_are_not_served(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log
) -> None:
    await asyncio.to_thread(build, bundle.folder, cache)
    (folder,) = folders(cache)
    (folder / "TRTKernel_0_sm90.engine").write_text("damaged")
    with pytest.raises(RuntimeLoadError, match=r"built engines instead of using those in .* --force`"):
        await serve_until_ready(settings(bundle, cache, tmp_path), log)


@pytest.mark.parametrize("doctor", [permuting, perturbing])
async def test_a_server_refuses_engines_that_answer_otherwise_by_now(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log, doctor: Any
) -> None:
    await asyncio.to_thread(build, bundle.folder, cache)
    tensorrt.doctor = doctor
    with pytest.raises(SelfTestFailed, match=r"to prompt \d of 6 it should say \w+ .* 0\.05 is allowed"):
        await serve_until_ready(settings(bundle, cache, tmp_path), log)
    assert log.lines("ready") == []


async def test_a_server_refuses_any_provider_that_answers_otherwise(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log
) -> None:
    tensorrt.doctor = permuting
    listen = Address(unix_path=str(tmp_path / "socket"))
    with pytest.raises(SelfTestFailed, match=r"to prompt \d of 6"):
        await serve_until_ready(Settings(model=bundle.folder, provider="cpu", threads=1, listen=listen), log)


async def test_a_first_pass_may_take_longer_than_a_later_one(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path, tmp_path: Path, log: Log
) -> None:
    """Every pass of the start takes longer than it may: nothing looks before the server is ready."""
    await asyncio.to_thread(build, bundle.folder, cache)
    await serve_until_ready(settings(bundle, cache, tmp_path, forward_timeout_seconds=1e-9), log)
    assert log.lines("ready")


def test_the_limits_keep_to_what_the_engines_hold(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path
) -> None:
    build(bundle.folder, cache)
    with pytest.raises(
        RuntimeLoadError, match=r"--tree-tokens is 2000, .* the engines of the tensorrt provider have 2048"
    ):
        load_served(bundle, cache, tree_tokens=2000)


def load_served(bundle: Bundle, cache: Path, **fields: Any) -> Any:
    return app.load_served_engine(
        bundle.folder, Settings(provider="tensorrt", engine_cache=cache, threads=1, **fields)
    )


async def test_no_pass_is_larger_than_the_engines_hold(
    tensorrt: FakeEngineBuilds, bundle: Bundle, cache: Path
) -> None:
    await asyncio.to_thread(build, bundle.folder, cache)
    passes = record_passes(tensorrt)
    engine = load_served(bundle, cache, max_prompt_tokens=4000, tree_tokens=256)
    try:
        answer = await engine.decide(POLICIES, user("write a program " * 2000))
    finally:
        await engine.close(grace=0)
    assert answer.tokens.prompt <= BUCKETS.cached[-1] - 256
    assert answer.tokens.dropped > 0
    assert all(cached <= BUCKETS.cached[-1] and new <= BUCKETS.new[-1] for cached, new, *_ in passes)


def test_the_users_cache_folder_is_the_default(
    tensorrt: FakeEngineBuilds, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cache, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.delenv("ARCHROUTE_ENGINE_CACHE", raising=False)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["--model", str(bundle.folder)])) == 0
    assert len(folders(tmp_path / "archroute" / "engines")) == 1


def test_optimums_graphs_have_other_inputs(
    tensorrt: FakeEngineBuilds, bundle: Bundle, tmp_path: Path, cache: Path
) -> None:
    other = tmp_path / "optimum"
    other.mkdir()
    for path in bundle.folder.iterdir():
        if path.name != MANIFEST_FILE:
            (other / path.name).hardlink_to(path)
    manifest = msgspec.structs.replace(bundle.manifest, exporter="optimum")
    (other / MANIFEST_FILE).write_bytes(manifest.encode())
    assert open_bundle(other).manifest.exporter == "optimum"
    with pytest.raises(CommandError, match="has one of optimum: export the checkpoint without --exporter"):
        build(other, cache)
    with pytest.raises(RuntimeLoadError, match="has one of optimum"):
        load_engine(other, provider="tensorrt", threads=1, max_prompt_tokens=512, engine_cache=cache)
