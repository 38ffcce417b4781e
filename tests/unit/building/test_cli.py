import subprocess
import sys


def test_reading_the_command_imports_nothing_of_the_extra() -> None:
    script = (
        "import sys, argparse; from archroute_server.building.cli import command; "
        "command.add_arguments(argparse.ArgumentParser()); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    extra = {"onnxruntime", "numpy", "tokenizers", "msgspec", "platformdirs", "rich"}
    assert not extra & set(run.stdout.split())
