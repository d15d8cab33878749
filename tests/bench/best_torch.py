"""Contender `best-torch`: `plain-torch` with batch norm folded, channels_last, and bfloat16 where the CPU has it."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tests.bench import common, plain_torch
from tests.bench.plain_torch import Network

TOLERANCE = 0.1  # of the largest activation: bfloat16 has eight bits, and the largest of all errors is looked at


class Best(nn.Module):
    """A network that computes in bfloat16, if it pays; activations are float32."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.half = common.has_fast_bfloat16()

    def forward(self, image: Any) -> list[Any]:
        """Activations of the output layers."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            planes = self.network(image.contiguous(memory_format=torch.channels_last))
        return [plane.float() for plane in planes]


def best(network: Network) -> nn.Module:
    """The network with each batch norm folded into the convolution before it."""
    for place, node in enumerate(network.nodes):
        if node.kind == "BatchNormalization":
            (before,) = node.inputs
            network.parts[before] = fuse_conv_bn_eval(network.parts[before], network.parts[place])
            network.parts[place] = nn.Identity()
    return Best(network)


if __name__ == "__main__":
    common.main(lambda task: plain_torch.play(task, best, TOLERANCE))
