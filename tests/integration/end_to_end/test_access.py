"""A server with TLS and tokens, and the commands that make tokens and use them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from archroute import AccessDeniedError, Router, Tls
from support.certificates import CertificateFolder
from support.server_process import run_archroute, serving


def make_token(name: str, access: Path) -> str:
    """Make a token as a person does, and put its line into the access file."""
    # By its module, so that it is the same with an installation of before there was this command.
    script = (
        "import argparse, sys; from archroute_server.access.cli import command; "
        "parser = argparse.ArgumentParser(); command.add_arguments(parser); "
        "sys.exit(command.run(parser.parse_args()))"
    )
    made = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, check=True)
    (line,) = re.findall(r"^  - .*$", made.stderr, re.MULTILINE)
    access.write_text(f"anonymous: [health]\ntokens:\n{line}\n")
    return made.stdout.strip()


def test_who_has_a_token_is_answered_and_nobody_else(bundle: Path, policies: Path, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    token = make_token("gateway", access)
    folder = CertificateFolder.make(tmp_path / "certificates")
    files = folder.issue()
    arguments = ("--model", bundle, "--policies", policies, "--access", access, "--listen", "127.0.0.1:0")
    tls = ("--tls-certificate", files.chain, "--tls-key", files.key, "--tls-client-ca", folder.ca)
    with serving(*arguments, *tls) as server:
        assert server.wait_for("ready")
        client = folder.issue("client")
        call = ("route", "Hello", "--address", server.address, "--tls-ca", folder.ca)
        call += ("--tls-certificate", client.chain, "--tls-key", client.key)
        answered = run_archroute(*call, variables={"ARCHROUTE_TOKEN": token})
        assert answered.returncode == 0, answered.stderr
        token_file = tmp_path / "token"
        token_file.write_text(f"{token}\n")
        assert run_archroute(*call, "--token-file", token_file).returncode == 0
        refused = run_archroute(*call)
        assert refused.returncode == 1
        assert "needs a token" in refused.stderr
        assert "[TOKEN_MISSING]" in refused.stderr
        with Router(
            server.address,
            tls=Tls(ca=folder.ca, certificate=client.chain, key=client.key),
            token=token,
            timeout=60,
        ) as router:
            assert router.route("Hello").outcome
            with pytest.raises(AccessDeniedError, match="SCOPE_MISSING"):
                router.list_policy_sets()
        server.wait_for("request", count=5)
        assert server.stop() == 0
    callers = [(line["code"], line.get("caller")) for line in server.events("request")]
    assert callers == [
        ("OK", "gateway"),
        ("OK", "gateway"),
        ("UNAUTHENTICATED", None),
        ("OK", "gateway"),
        ("PERMISSION_DENIED", None),
    ]
    assert token not in server.log


def test_a_server_without_tls_says_how_to_be_reached_by_others(bundle: Path) -> None:
    refused = run_archroute("serve", "--model", bundle, "--listen", "0.0.0.0:0")
    assert refused.returncode == 1
    assert "archroute: cannot listen on 0.0.0.0:0 without encryption" in refused.stderr
    assert "--allow-plaintext" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_is_wrong_with_an_access_file_is_told_at_the_start(bundle: Path, tmp_path: Path) -> None:
    access = tmp_path / "access.yaml"
    access.write_text("tokens:\n- name: gateway\n  token: archroute_secret\n")
    refused = run_archroute("serve", "--model", bundle, "--access", access)
    assert refused.returncode == 1
    assert f"archroute: {access}:3:3: tokens[0] has the unknown key `token`" in refused.stderr
    assert "archroute_secret" not in refused.stderr
