"""AttentionBias: what is added to the scores of attention so that tokens see what they may, on a device."""

import numpy as np
import numpy.typing as npt

from archroute_server.runtime.device.memory import DeviceMemory
from archroute_server.runtime.forward import hidden_score


class AttentionBias:
    """The bias `[1, 1, new, cached + new]` of forward passes with so many tokens or fewer.

    It is written in memory of this process and copied to the device, where it is `device`. Both are kept.
    """

    def __init__(self, memory: DeviceMemory, cached: int, new: int) -> None:
        self._cached = cached
        self._new = new
        self._hidden = hidden_score(memory.float_type)
        self._host = np.empty((1, 1, new, cached + new), memory.float_type)
        self.device = memory.array(self._host.shape, memory.float_type.type)

    def write(self, visible: npt.NDArray[np.bool_]) -> None:
        """Write the bias of a pass; see `Forward.visible`, and `BoundPass` for where its tokens stand."""
        new, total = visible.shape
        left = self._cached - (total - new)
        bias = self._host[0, 0]
        bias.fill(self._hidden)
        np.copyto(bias[:new, left : left + total], 0, where=visible)
        padding = np.arange(new, self._new)
        bias[padding, self._cached + padding] = 0
        self.device.update_inplace(self._host)
