"""What a provider lacks, step by step, on machines that are made up; and on this one, as it is."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import onnxruntime as ort
import pytest

from archroute_server.runtime.diagnosis import THIS_MACHINE, Machine, is_installed, make_ready
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import PROVIDERS, Library, Provider
from support.fake_cuda_driver import NO_DEVICE, load_fake_driver

TENSORRT_RTX, TENSORRT, CUDA, CPU = PROVIDERS
LoadLibrary = Callable[[str], ctypes.CDLL]
GPU_BUILD = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class MadeUp:
    """A machine with a driver and with all libraries but those that are `missing`."""

    def __init__(self, load_driver: LoadLibrary, plugin: Path) -> None:
        self.missing: set[str] = set()
        self.loaded: list[str] = []
        self.imported: list[str] = []
        self.packages = {"onnxruntime-gpu": "1.31.1"}
        self.plugin = plugin
        self._load_driver = load_driver
        self.machine = Machine(lambda: GPU_BUILD, "13.0", self.packages.get, self._import_module, self._load)

    def _import_module(self, name: str) -> ModuleType:
        if name in self.missing:
            raise ModuleNotFoundError(f"No module named {name!r}")
        self.imported.append(name)
        module = ModuleType(name)
        module.__file__ = str(self.plugin / "__init__.py")
        module.__path__ = [str(self.plugin)]
        return module

    def _load(self, name: str) -> ctypes.CDLL:
        if name == "libcuda.so.1":
            return self._load_driver(name)
        if name in self.missing:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        self.loaded.append(name)
        return ctypes.CDLL(None)


@pytest.fixture
def made_up(tmp_path: Path) -> MadeUp:
    return MadeUp(load_fake_driver(tmp_path), tmp_path)


def fault(provider: Provider, machine: Machine = THIS_MACHINE) -> str:
    with pytest.raises(RuntimeLoadError, match=f"^the {provider.name} provider cannot run here: ") as refused:
        make_ready(provider, machine)
    message = str(refused.value)
    assert message.endswith(". Or use --provider cpu")
    return message


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_a_machine_that_has_everything(made_up: MadeUp, provider: Provider) -> None:
    make_ready(provider, made_up.machine)
    assert {library.name for library in provider.libraries} <= set(made_up.loaded)


def test_libraries_of_packages_that_are_not_beside_onnxruntime_are_found(made_up: MadeUp) -> None:
    library = made_up.plugin / "cu13" / "lib" / "libcublas.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    make_ready(CUDA, made_up.machine)
    assert made_up.loaded.index(str(library)) < made_up.loaded.index(library.name)
    made_up.missing.add("nvidia")
    make_ready(CUDA, made_up.machine)
    assert made_up.loaded.count(str(library)) == 1


def test_the_cpu_needs_nothing() -> None:
    make_ready(CPU)
    assert is_installed(CPU)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this build has CUDA")
@pytest.mark.parametrize("provider", [CUDA, TENSORRT], ids=lambda provider: provider.name)
def test_the_build_for_cpus_says_which_other_one_is_needed(provider: Provider) -> None:
    message = fault(provider)
    assert f"(onnxruntime {ort.__version__}) has no {provider.onnxruntime_name}" in message
    assert f"which onnxruntime-gpu has: pip uninstall onnxruntime, and then {provider.install}" in message


def test_two_builds_in_one_place(made_up: MadeUp) -> None:
    made_up.packages["onnxruntime"] = "1.31.1"
    machine = replace(made_up.machine, providers=lambda: ["CPUExecutionProvider"])
    message = fault(CUDA, machine)
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 are both installed, and overwrite" in message
    # Somebody wanted a GPU, so what is done without it is a fallback.
    assert is_installed(CUDA, machine)


def test_a_build_of_another_cuda(made_up: MadeUp) -> None:
    assert "was built for CUDA 12.8" in fault(CUDA, replace(made_up.machine, cuda_version="12.8"))


def test_no_plugin(made_up: MadeUp) -> None:
    made_up.missing.add("onnxruntime_ep_nv_tensorrt_rtx")
    message = fault(TENSORRT_RTX, made_up.machine)
    assert "onnxruntime-ep-nv-tensorrt-rtx-cu13 cannot be imported: No module named" in message
    assert "pip install 'archroute[server,tensorrt-rtx]'" in message


@pytest.mark.parametrize(
    ("provider", "library"),
    [(provider, library) for provider in PROVIDERS for library in provider.libraries],
    ids=lambda value: value.name,
)
def test_each_library_is_named_with_where_to_get_it(
    made_up: MadeUp, provider: Provider, library: Library
) -> None:
    made_up.missing.add(library.name)
    message = fault(provider, made_up.machine)
    assert f"(1) {library.name}: cannot open shared object file" in message
    assert f"get it {library.remedy}. Or" in message


def test_everything_is_said_at_once(tmp_path: Path) -> None:
    made_up = MadeUp(load_fake_driver(tmp_path, status=NO_DEVICE), tmp_path)
    made_up.missing |= {"libcurand.so.10", "libnvinfer.so.10"}
    message = fault(TENSORRT, made_up.machine)
    assert "(1) the NVIDIA driver finds no GPU" in message
    assert "(2) libcurand.so.10: " in message
    assert "(3) libnvinfer.so.10: " in message


def test_libraries_come_from_the_packages_that_have_them(made_up: MadeUp) -> None:
    bundled = made_up.plugin / "libcudart.so.13.4.36"
    bundled.touch()
    make_ready(TENSORRT_RTX, made_up.machine)
    # In this order, so that the second is found without being where the dynamic loader looks.
    assert made_up.loaded.index(str(bundled)) < made_up.loaded.index("libcudart.so.13")
    make_ready(TENSORRT, made_up.machine)
    assert "tensorrt_libs" in made_up.imported


def test_a_library_of_the_system_will_do_without_the_package(made_up: MadeUp) -> None:
    made_up.missing.add("tensorrt_libs")
    make_ready(TENSORRT, made_up.machine)
    assert "tensorrt_libs" not in made_up.imported
