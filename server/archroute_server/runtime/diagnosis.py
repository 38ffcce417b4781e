"""Diagnosis: whether a provider can run on this machine, and everything that it lacks if not.

    package     ONNX Runtime's build has the provider, or its plugin can be imported
    driver      the NVIDIA driver is there, finds a GPU, and is new enough
    libraries   each library that the provider is linked to can be loaded

ONNX Runtime itself names one missing library at a time, in its log, and goes on with the CPU.
"""

import contextlib
import ctypes
import importlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import onnxruntime as ort

from archroute_server.runtime.cuda_driver import LoadLibrary, driver_fault
from archroute_server.runtime.errors import RuntimeLoadError
from archroute_server.runtime.providers import Plugin, Provider

# Two builds of one module: whichever was installed last has overwritten the other.
_ONNXRUNTIME_BUILDS = ("onnxruntime", "onnxruntime-gpu")


def installed_version(package: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Machine:
    """What a diagnosis looks at."""

    providers: Callable[[], Sequence[str]] = ort.get_available_providers
    """ONNX Runtime's names of those that its build has; plugins are not among them."""
    cuda_version: str = ort.cuda_version
    """What ONNX Runtime was built for, such as "13.0"; empty for a build without CUDA."""
    installed: Callable[[str], str | None] = installed_version
    import_module: Callable[[str], ModuleType] = importlib.import_module
    load: LoadLibrary = ctypes.CDLL


THIS_MACHINE = Machine()


def make_ready(provider: Provider, machine: Machine = THIS_MACHINE) -> None:
    """Load the libraries that the provider needs, so that ONNX Runtime finds them.

    Raises `RuntimeLoadError` that names everything missing, and what to install.
    """
    faults = list(_faults(provider, machine))
    if faults:
        numbered = [f"({number}) {fault}" for number, fault in enumerate(faults, start=1)]
        raise RuntimeLoadError(
            f"the {provider.name} provider cannot run here: {'; '.join(numbered)}. Or use --provider cpu"
        )


def is_installed(provider: Provider, machine: Machine = THIS_MACHINE) -> bool:
    """Whether somebody installed the provider, even if it does not work."""
    return provider.onnxruntime_name in machine.providers() or bool(machine.installed(provider.package))


def _faults(provider: Provider, machine: Machine) -> Iterator[str]:
    package_fault = _package_fault(provider, machine)
    if package_fault is not None:
        yield package_fault
    if provider.cuda is not None and (fault := driver_fault(provider.cuda, machine.load)) is not None:
        yield fault
    if package_fault is None:
        yield from _library_faults(provider, machine)


def _package_fault(provider: Provider, machine: Machine) -> str | None:
    if provider.plugin is not None:
        return _plugin_fault(provider, provider.plugin, machine)
    if provider.onnxruntime_name not in machine.providers():
        builds = [f"{name} {found}" for name in _ONNXRUNTIME_BUILDS if (found := machine.installed(name))]
        if len(builds) > 1:
            return (
                f"{' and '.join(builds)} are both installed, and overwrite each other's files: pip uninstall "
                f"{' '.join(_ONNXRUNTIME_BUILDS)}, and then {provider.install}"
            )
        return (
            f"the installed ONNX Runtime ({''.join(builds) or 'of no package'}) has no "
            f"{provider.onnxruntime_name}, which {provider.package} has: pip uninstall onnxruntime, and then "
            f"{provider.install}"
        )
    built_for = machine.cuda_version.partition(".")[0]
    if provider.cuda is not None and built_for and built_for != str(provider.cuda):
        return (
            f"ONNX Runtime was built for CUDA {machine.cuda_version}, and archroute knows the libraries of "
            f"CUDA {provider.cuda}: {provider.install}"
        )
    return None


def _plugin_fault(provider: Provider, plugin: Plugin, machine: Machine) -> str | None:
    try:
        machine.import_module(plugin.module)
    except ImportError as error:
        return f"{provider.package} cannot be imported: {error}; {provider.install}"
    return None


def _library_faults(provider: Provider, machine: Machine) -> Iterator[str]:
    _preload(provider, machine)
    for library in provider.libraries:
        try:
            machine.load(library.name)
        except OSError as error:
            yield f"{error}: get it {library.remedy}"


def _preload(provider: Provider, machine: Machine) -> None:
    """Load libraries from Python packages, where the dynamic loader does not look by itself.

    One that is loaded is found again by its name, whoever asks for it. What fails is found out afterwards.
    """
    if provider.cuda is not None:
        # It does nothing in a build without CUDA, and prints what it does not find.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
        _preload_packages(provider, machine)
    for module in provider.library_modules:
        with contextlib.suppress(ImportError, OSError):
            machine.import_module(module)
    if provider.plugin is not None:
        folder = Path(str(machine.import_module(provider.plugin.module).__file__)).parent
        for pattern in provider.plugin.bundled:
            for library in sorted(folder.glob(pattern)):
                with contextlib.suppress(OSError):
                    machine.load(str(library))


def _preload_packages(provider: Provider, machine: Machine) -> None:
    """Load the libraries of NVIDIA's packages wherever they are, of which `preload_dlls` knows one place.

    That is beside ONNX Runtime; what PYTHONPATH or another environment adds lies elsewhere. Each package has
    its libraries under `nvidia/<name>/lib`.
    """
    try:
        roots = [Path(root) for root in machine.import_module("nvidia").__path__]
    except ImportError:
        return
    for library in provider.libraries:
        for path in (path for root in roots for path in sorted(root.glob(f"*/lib/{library.name}"))):
            with contextlib.suppress(OSError):
                machine.load(str(path))
                break
