"""Contender `plain-torch`: the same as `plain-keras` in eager PyTorch, NCHW, batch norm kept, autograd."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.bench import common
from tests.bench.common import BLEND, RESCALE, STEP_SIZE, TILE, Node

TOLERANCE = 1e-4  # of the largest activation


class Network(nn.Module):
    """InceptionV3 to mixed5 from `export.py`'s nodes, with the weights of the Keras model."""

    def __init__(self, nodes: list[Node]) -> None:
        super().__init__()
        self.nodes = nodes
        self.parts = nn.ModuleList(_module(node) for node in nodes)

    def forward(self, image: Any) -> list[Any]:
        """Activations of the output layers."""
        planes: list[Any] = []
        for node, part in zip(self.nodes, self.parts, strict=True):
            inputs = [planes[i] for i in node.inputs] or [image]
            planes.append(torch.cat(inputs, dim=1) if node.kind == "Concatenate" else part(inputs[0]))
        return [plane for node, plane in zip(self.nodes, planes, strict=True) if node.name in common.LAYERS]


def _module(node: Node) -> nn.Module:
    config = node.config
    if node.kind == "Conv2D":
        return _convolution(node)
    if node.kind == "BatchNormalization":
        return _norm(node)
    if node.kind == "MaxPooling2D":
        return nn.MaxPool2d(config["pool_size"], config["strides"], _padding(config, config["pool_size"]))
    if node.kind == "AveragePooling2D":  # as in TensorFlow, an average counts no padding
        padding = _padding(config, config["pool_size"])
        return nn.AvgPool2d(config["pool_size"], config["strides"], padding, count_include_pad=False)
    if node.kind == "Activation":
        assert config["activation"] == "relu"
        return nn.ReLU(inplace=True)
    assert node.kind in ("InputLayer", "Concatenate"), node.kind
    return nn.Identity()


def _convolution(node: Node) -> nn.Module:
    config, (kernel, *bias) = node.config, [torch.from_numpy(w) for w in node.weights]
    assert config["activation"] == "linear"
    size = config["kernel_size"]
    part = nn.Conv2d(*kernel.shape[2:], size, config["strides"], _padding(config, size), bias=bool(bias))
    part.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
    if bias:
        part.bias.data = bias[0]
    return part


def _norm(node: Node) -> nn.Module:
    names = ["weight"] * node.config["scale"] + ["bias"] * node.config["center"] + ["running_mean", "running_var"]
    part = nn.BatchNorm2d(len(node.weights[0]), eps=node.config["epsilon"])
    for name, value in zip(names, node.weights, strict=True):
        getattr(part, name).data = torch.from_numpy(value)
    return part


def _padding(config: dict[str, Any], kernel: tuple[int, int]) -> tuple[int, int]:
    """Keras' `same` is symmetric, as PyTorch's padding is, only where it does not stride and the kernel is odd."""
    if config["padding"] == "valid":
        return (0, 0)
    assert tuple(config["strides"]) == (1, 1)
    assert all(side % 2 for side in kernel)
    return (kernel[0] // 2, kernel[1] // 2)


def gradient(network: nn.Module, image: Any) -> Any:
    """The gradient of the summed mean activations, tile by tile, over its standard deviation."""
    shift = torch.randint(-TILE, TILE, (2,)).tolist()
    rolled = torch.roll(image, shift, dims=(2, 3)).requires_grad_()
    gradients = torch.zeros_like(image)
    for y in range(0, image.shape[2], TILE):
        for x in range(0, image.shape[3], TILE):
            value = objective(network, rolled[:, :, y : y + TILE, x : x + TILE])
            gradients += torch.autograd.grad(value, rolled)[0]
    gradients = torch.roll(gradients, [-s for s in shift], dims=(2, 3))
    return gradients / (gradients.std() + 1e-8)


def objective(network: nn.Module, tile: Any) -> Any:
    """Sum over the layers of their mean activation."""
    return sum(plane.mean() for plane in network(tile))


def dream(image: Any, network: nn.Module, depth: int, steps: int) -> Any:
    """The recursion: dream a smaller one, enlarge it, blend it in, go on from there."""
    if depth > 0:
        size = image.shape[2:]
        half = [round(side * RESCALE) for side in size]
        smaller = functional.interpolate(image, half, mode="bilinear", antialias=True)
        inner = dream(smaller, network, depth - 1, steps)
        image = BLEND * image + (1 - BLEND) * functional.interpolate(inner, size, mode="bicubic")
    for _ in range(steps):
        image = (image + STEP_SIZE * gradient(network, image)).clamp(-1.0, 1.0)
    return image


def play(
    task: common.Task, improve: Callable[[Network], nn.Module] = lambda network: network, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Seconds of one dream, after a check that the network is Keras'; `improve` may make another of it."""
    torch.manual_seed(task.round)
    nodes, probes = pickle.loads((task.place / "network.pickle").read_bytes())
    network = improve(Network(nodes).eval().requires_grad_(False))
    error = max(_error(network, *probe) for probe in probes)
    if not error < tolerance:
        raise SystemExit(f"the PyTorch network differs from the Keras one: {error:.1e} of the largest activation")
    image = _nchw(task.image()[None])
    seconds, dreamed = common.timed(lambda steps: dream(image, network, common.OCTAVES - 1, steps), task.steps)
    return {"seconds": seconds, "objective": float(objective(network, dreamed)), "error": error}


def _error(network: nn.Module, image: Any, expected: list[Any]) -> float:
    """Largest difference of activations, over the largest activation."""
    planes = [plane.permute(0, 2, 3, 1).numpy() for plane in network(_nchw(image))]
    return max(float(np.abs(p - e).max() / np.abs(e).max()) for p, e in zip(planes, expected, strict=True))


def _nchw(images: Any) -> Any:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


if __name__ == "__main__":
    common.main(play)
