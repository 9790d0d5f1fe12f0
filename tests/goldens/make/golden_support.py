"""What all golden makers share: the formula that fills parameters and inputs, layouts, and writing a file.

The formula is described in make_goldens.py; its C++ twin is tests/support/golden_file.cpp.
"""
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

MASK = (1 << 64) - 1


def fnv1a64(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(name, count, seed=0):
    """`count` float64 numbers in [-1, 1) that depend on (name, seed) only."""
    key = (fnv1a64(name) + seed * 0xD1B54A32D192ED03) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def noise(name, shape, seed=0, scale=1.0):
    """A float64 tensor of `shape` whose values are exact in float32, in row-major order."""
    values = uniform(name, math.prod(shape), seed) * scale
    return torch.from_numpy(values.astype(np.float32).astype(np.float64).reshape(shape))


def images(name, batch, size, seed=0):
    """(N,3,H,W); the formula runs in (N,H,W,3) order."""
    return noise(name, (batch, size, size, 3), seed, 1.7).permute(0, 3, 1, 2).contiguous()


def parameter_values(name, shape, seed, gain):
    u = uniform(name, math.prod(shape), seed)
    if len(shape) >= 2:
        u = u * (math.sqrt(3.0 * shape[0] / math.prod(shape)) * gain)
    elif name.endswith("running_var"):
        u = 1.0 + 0.2 * u
    elif name.endswith("weight"):
        u = 1.0 + 0.1 * u
    else:
        u = 0.1 * u
    return u.astype(np.float32).reshape(shape)


@torch.no_grad()
def fill(module, seed, gain):
    """Sets every parameter and floating-point buffer of the module by the formula."""
    for name, tensor in module.state_dict(keep_vars=True).items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(parameter_values(name, tuple(tensor.shape), seed, gain)))


def nhwc(tensor):
    """NCHW -> NHWC, OIHW -> KRSC."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def rsc(tensor):
    """(C,1,R,S) -> (R,S,C), the engine's depthwise weights."""
    return tensor[:, 0].permute(1, 2, 0).contiguous()


def save(folder, name, tensors):
    """Floats as float32, integers as int32; keys sorted, so that the same values give the same bytes."""
    arrays = {}
    for key in sorted(tensors):
        value = torch.as_tensor(tensors[key]).detach()
        value = value.to(torch.float32) if value.is_floating_point() else value.to(torch.int32)
        arrays[key] = np.ascontiguousarray(value.reshape(value.shape or (1,)).numpy())
    path = Path(folder) / f"{name}.safetensors"
    save_file(arrays, str(path))
    print(f"{path.name}: {len(arrays)} tensors, {path.stat().st_size / 1024:.0f} KiB")
