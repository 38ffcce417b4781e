"""Where training computes, and in which precision."""

from dataclasses import dataclass

import torch

from archroute_export.errors import ExportError

_GPU_ROWS = 8


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the arithmetic happens, and how many rows go through the model at once.

    A CPU is busy with a single row; a GPU wants several.
    """

    device: torch.device
    dtype: torch.dtype
    rows_per_batch: int


def choose_machine(device: str, precision: str) -> Machine:
    """Resolve `auto` in either. Raises `ExportError` for a device that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    # RuntimeError from the parser, AssertionError from a build without CUDA.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ExportError(
            f"--device {device} cannot be used: {reason}. Give it cpu, or leave it out"
        ) from error
    if precision == "auto":
        fast = chosen.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16", False)
        precision = "bf16" if fast else "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Machine(chosen, dtype, 1 if chosen.type == "cpu" else _GPU_ROWS)
