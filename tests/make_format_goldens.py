"""Goldens of the file readers: small PyTorch files of both containers with what PyTorch reads from them, .npy files in
every order, and checksums of the checkpoints in the shared folder (environment COSS_SHARED, default ../shared)."""
import argparse
import collections
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

# Whole modules, TorchScript and the tar container are refused; these files are not read here either.
REFUSED = {"broken.pt", "whole_module_resnet20.pth", "clip_jit_twin_fp32.pt", "resnet18-5c106cde.pth",
           "resnet20_cifar10_tar_format_twin.pth"}


def flatten(value, name, out):
    """The reader's rule: dictionary keys and list positions joined by dots."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, torch.Tensor):
        out[name or "tensor"] = value.detach().contiguous().clone()
    elif isinstance(value, dict):
        for key, item in value.items():
            flatten(item, f"{name}.{key}" if name else str(key), out)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            flatten(item, f"{name}.{i}" if name else str(i), out)
    return out


def checkpoint():
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8
    weights = collections.OrderedDict()
    weights["module.plain"] = base
    weights["module.transposed"] = base.permute(2, 0, 1)
    weights["module.strided"] = base[:, ::2, 1:3]
    weights["module.expanded"] = base[0, 0, :2].unsqueeze(1).expand(2, 5)
    weights["module.scalar"] = torch.tensor(3.25)
    weights["module.empty"] = torch.zeros(0, 3)
    weights["module.parameter"] = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    for kind in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"):
        weights[f"dtypes.{kind}"] = torch.tensor([0, 1, 3, 100]).to(getattr(torch, kind))
    return {"epoch": 7, "arch": "tiny", "accuracy": np.float64(0.5), "state_dict": weights,
            "args": argparse.Namespace(lr=0.1, momentum=torch.tensor([0.5])), "history": [torch.ones(2), (1, 2)]}


def modern(root):
    """What only newer files hold: dtypes without a storage class, and NumPy arrays."""
    root["unsigned"] = torch.tensor([1, 40000]).to(torch.uint16)
    root["array"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    root["fortran"] = np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3))
    root["big_endian"] = np.arange(4, dtype=">f4")
    return root


def checksum(tensor):
    values = tensor.to(torch.complex128).abs() if tensor.is_complex() else tensor.double()
    values = values.flatten()
    finite = torch.isfinite(values)
    place = torch.arange(values.numel(), dtype=torch.float64).remainder(97) + 1
    values = torch.where(finite, values, torch.zeros_like(values)) * place
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), math.fsum(values.tolist()),
            int((~finite).sum())]


def make(folder):
    folder = Path(folder) / "formats"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(modern(checkpoint()), folder / "zip.pt")
    torch.save(checkpoint(), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    # Native byte order for the expectation, which safetensors and torch demand.
    expected = modern(checkpoint())
    expected["big_endian"] = expected["big_endian"].astype("<f4")
    save_file(flatten(expected, "", {}), folder / "expected.safetensors", metadata={"format": "pt"})

    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.save(folder / "c_order.npy", array)
    np.save(folder / "fortran.npy", np.asfortranarray(array))
    np.save(folder / "big_endian.npy", array.astype(">f8"))
    np.save(folder / "scalar.npy", np.int16(-5))
    with open(folder / "version3.npy", "wb") as file:
        np.lib.format.write_array(file, array.astype(np.int32), version=(3, 0))

    shared = Path(os.environ.get("COSS_SHARED", Path(__file__).resolve().parents[1] / "../shared")) / "checkpoints"
    sums = {}
    for path in sorted(shared.rglob("*")):
        if path.suffix not in (".pt", ".pth", ".th") or path.name in REFUSED:
            continue
        tensors = flatten(torch.load(path, map_location="cpu", weights_only=False), "", {})
        sums[str(path.relative_to(shared))] = {name: checksum(tensor) for name, tensor in tensors.items()}
    for path in sorted(shared.rglob("*.safetensors")):
        from safetensors.torch import load_file
        sums[str(path.relative_to(shared))] = {name: checksum(t) for name, t in load_file(path).items()}
    if sums:
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sums.items()]
        (folder / "shared_checksums.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
