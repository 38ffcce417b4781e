"""The unit, as systemd itself judges it."""

import configparser
import re
import sys
from pathlib import Path

import pytest

from support.deployment import SETTINGS, UNIT, needs, run_tool

# Tenths of systemd's exposure level, which goes from 0 to 10; a service without a sandbox has 9.6.
MOST_EXPOSED = "20"

needs_systemd = needs("systemd-analyze", "systemd")
COMMAND = "/opt/archroute/bin/archroute"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with a command that is there."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(COMMAND, sys.executable))
    return path


@needs_systemd
def test_systemd_has_nothing_to_say_against_it(installed: Path) -> None:
    assert run_tool("systemd-analyze", "verify", "--man=no", installed) == ""


@needs_systemd
def test_a_mistake_would_be_seen(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    assert "protect system" in run_tool("systemd-analyze", "verify", "--man=no", installed)


@needs_systemd
def test_little_of_the_machine_is_exposed_to_it() -> None:
    run_tool("systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)


def test_every_variable_is_a_setting() -> None:
    named = set(re.findall(r"^Environment=(ARCHROUTE_\w+)=", UNIT.read_text(), re.MULTILINE))
    assert named
    assert named <= SETTINGS


def test_it_reloads_and_stops_by_signals() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["ExecStart"] == f"{COMMAND} serve"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["KillSignal"] == "SIGTERM"
    # The server tells systemd nothing, so anything but its being executed would be waited for in vain.
    assert service["Type"] == "exec"
