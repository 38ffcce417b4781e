"""The drivers of the conformance cases: what each needs, and how it is built and run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.clone import ROOT

# Paths, as commands, are those of the project's root.
DRIVERS = Path("tests/conformance/drivers")
PROTOS = Path("tests/conformance/protos")
HEALTH = PROTOS / "grpc/health/v1/health.proto"
BUILD = Path("build/conformance")
CLASSPATH = "@examples/java/classpath"

# Debian's: https://go-team.pages.debian.net/packaging.html and https://www.debian.org/doc/packaging-manuals/java-policy/
GOCODE = Path("/usr/share/gocode")
JARS = Path("/usr/share/java")

# Seconds. Compiling C++, or all of gRPC for Go, on a slow day.
BUILDING = 1800.0

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Language:
    """One driver."""

    name: str
    run: Command
    programs: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    """What a toolchain has besides programs, a file or folder for each package."""
    example: Path | None = None
    """The README whose commands build what the driver is built on."""
    build: tuple[Command, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """Of the environment that the driver runs in."""

    def missing(self) -> str:
        """Name what is not installed; empty if everything is there."""
        absent = [program for program in self.programs if shutil.which(program) is None]
        absent += [str(path) for path in self.files if not path.exists()]
        return ", ".join(absent)

    def make_stubs(self) -> None:
        """Do for this language what `make protos` does for all, with the programs of this environment."""
        execute(("protos/generate/generate.sh", sys.prefix, self.name))


def execute(command: Command, *, stdin: str = "", variables: Sequence[tuple[str, str]] = ()) -> str:
    """Run a command in the project's root, which must succeed, and return what it printed."""
    finished = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | dict(variables),
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=BUILDING,
        check=False,
    )
    assert finished.returncode == 0, f"{command} failed:\n{finished.stdout}{finished.stderr}"
    return finished.stdout


_NPM = ("npm", "run", "build") if (ROOT / "client/node/node_modules").exists() else ("npm", "ci")
_JAVA_STUBS = BUILD / "java"
# TLS for Netty. Debian gives the library another name than Netty looks for, so it is copied to that one:
# https://netty.io/wiki/forked-tomcat-native.html
_TCNATIVE = next(Path("/usr/lib").glob("*/jni/libnetty-tcnative.so"), Path("libnetty-tcnative.so"))
_JAVA_LIBRARIES = BUILD / "java/native"
_JAVA_PLUGIN = shutil.which("grpc_java_plugin") or ""

LANGUAGES = (
    Language("python", run=(sys.executable, DRIVERS / "python/driver.py")),
    Language(
        "node",
        run=("node", DRIVERS / "node/driver.mjs"),
        programs=("node", "npm"),
        build=((*_NPM, "--prefix", "client/node"),),
    ),
    Language(
        "go",
        run=(BUILD / "go/driver",),
        programs=("go", "protoc-gen-go", "protoc-gen-go-grpc"),
        files=(GOCODE / "src/google.golang.org/grpc", GOCODE / "src/google.golang.org/protobuf"),
        example=Path("examples/go/README.md"),
        build=(
            (
                *("env", "GO111MODULE=off", f"GOPATH={ROOT}/build/stubs/go:{GOCODE}"),
                *("go", "build", "-o", BUILD / "go/driver", f"./{DRIVERS}/go"),
            ),
        ),
        # Off by default before gRPC 1.40: https://github.com/grpc/grpc-go/releases/tag/v1.40.0
        variables=(("GRPC_GO_RETRY", "on"),),
    ),
    Language(
        "java",
        run=("java", CLASSPATH, f"-Djava.library.path={_JAVA_LIBRARIES}", "Driver"),
        programs=("javac", "protoc", "grpc_java_plugin"),
        files=(JARS / "grpc-netty.jar", JARS / "netty-handler.jar", JARS / "protobuf-util.jar", _TCNATIVE),
        example=Path("examples/java/README.md"),
        build=(
            ("mkdir", "-p", _JAVA_LIBRARIES),
            ("cp", _TCNATIVE, _JAVA_LIBRARIES / "libnetty_tcnative.so"),
            (
                *("protoc", "-I", PROTOS, f"--java_out={_JAVA_STUBS}", f"--grpc_out={_JAVA_STUBS}"),
                *(f"--plugin=protoc-gen-grpc={_JAVA_PLUGIN}", HEALTH),
            ),
            (
                *("javac", CLASSPATH, "-d", "build/java", DRIVERS / "java/Driver.java"),
                *(_JAVA_STUBS / f"grpc/health/v1/{name}.java" for name in ("HealthGrpc", "HealthOuterClass")),
            ),
        ),
    ),
    Language(
        "cpp",
        run=(BUILD / "cpp/driver",),
        programs=("cmake", "c++", "protoc", "grpc_cpp_plugin"),
        files=(Path("/usr/include/grpcpp/grpcpp.h"), Path("/usr/include/google/protobuf/struct.pb.h")),
        example=Path("examples/cpp/README.md"),
        build=(
            ("cmake", "-S", DRIVERS / "cpp", "-B", BUILD / "cpp"),
            ("cmake", "--build", BUILD / "cpp"),
        ),
    ),
)
