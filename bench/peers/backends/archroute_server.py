"""archroute as a server of its own, asked over gRPC by its client."""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import archroute
from peers.backends.backend import Backend, Decided, process_memory
from peers.cases import Case, Request
from peers.settings import MAX_PROMPT_TOKENS, TREE_TOKENS

# Far longer than any decision; a server that hangs must not hang the benchmark.
_TIMEOUT_SECONDS = 60.0


class ArchrouteServer(Backend):
    """`archroute serve`, with the decision cache off, and one client for all threads."""

    concurrent = True

    def __init__(self, bundle: Path, threads: int, cases: dict[str, Case]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="archroute-bench-")
        policies = Path(self._folder.name) / "policies.yaml"
        # JSON is YAML.
        policies.write_text(json.dumps(_policy_file(cases), ensure_ascii=False), encoding="utf-8")
        command = [sys.executable, "-m", "archroute", "serve"]
        command += ["--model", str(bundle), "--policies", str(policies), "--listen", "127.0.0.1:0"]
        command += ["--provider", "cpu", "--threads", str(threads), "--decision-cache-entries", "0"]
        command += ["--max-prompt-tokens", str(MAX_PROMPT_TOKENS), "--tree-tokens", str(TREE_TOKENS)]
        command += ["--log-format", "json"]
        self._server = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self._router = archroute.Router(self._wait(), timeout=_TIMEOUT_SECONDS)

    def decide(self, case: Case, request: Request) -> Decided:
        """Ask the server, and say what time it took itself."""
        conversation = [{"role": message.role, "content": message.text} for message in request.messages]
        decision = self._router.route(conversation, policy_set=case.name, top_k=1)
        policy = decision.policy if decision.outcome is archroute.Outcome.MATCHED else "other"
        return Decided(policy or "other", decision.tokens.prompt_tokens, decision.timings.total)

    def peak_bytes(self) -> int:
        """Return the server's peak; the client's is not the model's."""
        return process_memory(self._server.pid, "VmHWM")

    def resident_bytes(self) -> int:
        """Return the server's."""
        return process_memory(self._server.pid, "VmRSS")

    def close(self) -> None:
        """Stop the server."""
        self._router.close()
        self._server.terminate()
        self._server.wait(_TIMEOUT_SECONDS)
        self._folder.cleanup()

    def _wait(self) -> str:
        """Read the server's log until it is ready, and return where it listens."""
        assert self._server.stderr is not None
        address = ""
        for line in self._server.stderr:
            event = json.loads(line) if line.startswith("{") else {}
            address = event.get("address", address) if "listening" in event.get("event", "") else address
            if event.get("event") == "ready":
                # Nobody reads it from here on, and a full pipe would stop the server.
                threading.Thread(target=self._server.stderr.read, daemon=True).start()
                return address
        raise RuntimeError(f"archroute serve ended with status {self._server.wait()} before it was ready")


def _policy_file(cases: dict[str, Case]) -> dict[str, object]:
    sets = [
        {
            "name": case.name,
            "policies": [
                {"name": name, "description": description} for name, description in case.policies.items()
            ],
        }
        for case in cases.values()
    ]
    return {"default": next(iter(cases)), "policy_sets": sets}
