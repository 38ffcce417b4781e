"""Flags of commands that call a server: how to encrypt, and who is calling."""

import argparse
import os
from pathlib import Path

from archroute.commands import CommandError
from archroute.tls import Tls

__all__ = ["add_connection_arguments", "tls_of", "token_of"]

# No flag has the token itself: everyone on the machine can read the flags of a process.
TOKEN_VARIABLE = "ARCHROUTE_TOKEN"


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags. Read them with `tls_of` and `token_of`."""
    parser.add_argument("--tls", action="store_true", help="encrypt; each of the next three does, too")
    parser.add_argument("--tls-ca", metavar="FILE", help="authorities to trust, in PEM, instead of the usual")
    parser.add_argument("--tls-certificate", metavar="FILE", help="certificate of your own, for mutual TLS")
    parser.add_argument("--tls-key", metavar="FILE", help="private key of that certificate")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="file with the token that says who is calling (the environment variable "
        f"{TOKEN_VARIABLE} may hold the token itself)",
    )


def tls_of(arguments: argparse.Namespace) -> bool | Tls:
    """What a client takes as `tls`."""
    tls = Tls(ca=arguments.tls_ca, certificate=arguments.tls_certificate, key=arguments.tls_key)
    return bool(arguments.tls) if tls == Tls() else tls


def token_of(arguments: argparse.Namespace) -> str | None:
    """What a client takes as `token`. Raises `CommandError` if its file cannot be read."""
    path: str | None = arguments.token_file
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # Without its cause, which holds the file.
        raise CommandError(f"{path} is not UTF-8 text") from None
