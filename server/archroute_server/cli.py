"""The subcommand `archroute serve`. Imports nothing heavy: it is read to list the subcommands."""

import argparse
import os

from archroute.commands import Command
from archroute_server.config import Settings, add_arguments


def _run(arguments: argparse.Namespace) -> int:
    settings = Settings.read(arguments, os.environ)
    # Needs the extra; a missing module is reported by the command line as such.
    from archroute_server.app import serve

    return serve(settings)


command = Command(
    name="serve",
    summary="Serve routing decisions over gRPC.",
    extra="server",
    add_arguments=add_arguments,
    run=_run,
)
