"""The subcommand `archroute build-engines`. Imports nothing heavy: it is read to list the subcommands."""

import argparse
import os
import sys
from pathlib import Path

from archroute.commands import Command, CommandError
from archroute_server.config import VARIABLE_PREFIX

# Those of `archroute_server.runtime.providers` that have engines. It imports ONNX Runtime.
ENGINE_PROVIDERS = ("tensorrt", "tensorrt-rtx")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="bundle made by `archroute export`"
    )
    parser.add_argument(
        "--provider",
        choices=ENGINE_PROVIDERS,
        default=ENGINE_PROVIDERS[0],
        metavar="NAME",
        help=f"what will run the model: {', '.join(ENGINE_PROVIDERS)} (default: {ENGINE_PROVIDERS[0]})",
    )
    variable = f"{VARIABLE_PREFIX}ENGINE_CACHE"
    parser.add_argument(
        "--engine-cache",
        type=Path,
        default=os.environ.get(variable) or None,
        metavar="DIR",
        help=f"where to keep what is built; without it, in the user's cache folder [{variable}]",
    )
    parser.add_argument("--force", action="store_true", help="build again what is there already")


def _run(arguments: argparse.Namespace) -> int:
    # They need the extra; a missing module is reported by the command line as such.
    from archroute_server.building.build import BUILD_ERRORS, build_engines
    from archroute_server.building.progress import Steps

    steps = Steps()
    try:
        built = build_engines(
            arguments.model.expanduser().resolve(),
            provider=arguments.provider,
            engine_cache=arguments.engine_cache and arguments.engine_cache.expanduser(),
            force=arguments.force,
            steps=steps,
        )
    except BUILD_ERRORS as error:
        raise CommandError(str(error)) from error
    test = built.manifest
    before = "the engines were there already" if built.found else "built the engines"
    sys.stderr.write(
        f"{before}: {built.folder}\n"
        f"They answer {test.prompts} fixed prompts as the bundle recorded: a log probability differs by at "
        f"most {test.difference:.3g}, and {test.bound:.3g} is allowed.\n"
    )
    return 0


command = Command(
    name="build-engines",
    summary="Build and test TensorRT's engines for a bundle, before a server needs them.",
    extra="gpu",
    add_arguments=_add_arguments,
    run=_run,
)
