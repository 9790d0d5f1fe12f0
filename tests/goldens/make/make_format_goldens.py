"""Goldens of the file readers: small PyTorch files of every container with what PyTorch reads from them, .npy files in
every order, .npz, and checksums of the checkpoints in the shared folder (environment COSS_SHARED, default
../shared)."""
import argparse
import collections
import copyreg
import io
import json
import math
import os
import pickle
import struct
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

REFUSED = {"broken.pt", "resnet18-5c106cde.pth"}


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


class Inert(torch.nn.Module):
    """Stands for the classes of whole pickled modules."""


def load(path):
    for name in ("models", "models.resnet"):
        sys.modules.setdefault(name, types.ModuleType(name))
    for name in ("ResNet", "BasicBlock", "LambdaLayer", "lamda_func"):
        setattr(sys.modules["models.resnet"], name, type(name, (Inert,), {}))
    if "_jit_" in path.name:
        return torch.jit.load(path, map_location="cpu").state_dict()
    value = torch.load(path, map_location="cpu", weights_only=False)
    return value.state_dict() if isinstance(value, torch.nn.Module) else value


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
    """What only newer files can hold: dtypes without a storage class, and NumPy arrays."""
    root["unsigned"] = torch.tensor([1, 40000]).to(torch.uint16)
    root["array"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    root["fortran"] = np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3))
    root["big_endian"] = np.arange(4, dtype=">f4")
    return root


def small_module():
    torch.manual_seed(5)
    module = torch.nn.Sequential(collections.OrderedDict(
        stem=torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)), head=torch.nn.Linear(3, 2)))
    module.stem[1].running_mean.uniform_()
    module.stem.register_buffer("kept", torch.arange(6).reshape(2, 3).t())
    module.stem.register_buffer("passing", torch.ones(2), persistent=False)
    module.image_size, module.activation = 32, torch.nn.functional.relu
    return module


class TarPickler(pickle.Pickler):
    """Pickles as the first releases did: a tensor is the decimal text of its key, a parameter an object with a state."""
    keys = {}

    def persistent_id(self, value):
        return str(self.keys[id(value)]) if type(value) is torch.Tensor else None

    def reducer_override(self, value):
        if not isinstance(value, torch.nn.Parameter):
            return NotImplemented
        return copyreg.__newobj__, (torch.nn.Parameter,), (value.golden_data, None, None, True, False)


def write_tar(path):
    """The container of torch up to 0.1.9: two storages, and a third one that is a part of one of them."""
    base, other = torch.arange(12, dtype=torch.float32) / 4, torch.arange(42, dtype=torch.int64) - 2
    storages = [(70, torch.FloatStorage, base), (71, torch.LongStorage, other)]
    parts = [(72, 70, 4, 6)]
    tensors = [(80, 70, torch.FloatTensor, base.view(3, 4)), (81, 72, torch.FloatTensor, base[4:10].view(2, 3).t()),
               (82, 71, torch.LongTensor, other[1::2])]
    offsets = [0, 0, 1]
    members = {name: io.BytesIO() for name in ("sys_info", "pickle", "tensors", "storages")}
    put = lambda value, name: pickle.dump(value, members[name], protocol=2)
    put({"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, "sys_info")
    put(len(storages), "storages")
    for key, kind, values in storages:
        put((key, "cpu", kind), "storages")
        members["storages"].write(struct.pack("<q", values.numel()) + values.numpy().tobytes())
    put(parts, "storages")
    put(len(tensors), "tensors")
    for (key, storage, kind, values), offset in zip(tensors, offsets):
        put((key, storage, kind), "tensors")
        layout = [*values.shape, *values.stride(), offset]
        members["tensors"].write(struct.pack(f"<q{len(layout)}q", values.dim(), *layout))
        TarPickler.keys[id(values)] = key
    weight = torch.nn.Parameter(tensors[0][3])
    weight.golden_data = tensors[0][3]
    state = collections.OrderedDict([("weight", weight), ("part", tensors[1][3]), ("steps", tensors[2][3])])
    TarPickler(members["pickle"], protocol=2).dump({"state_dict": state, "epoch": 3})
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members.items():
            facts = tarfile.TarInfo(name)
            facts.size, facts.pax_headers = content.tell(), {"mtime": "1483719550.98166"}
            content.seek(0)
            archive.addfile(facts, content)
    # One block of zeros ends it, and the last member nearly fills its block, so a missing padding would not be noticed.
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content + bytes(-len(content) % 512 + 512))


def make_containers(folder):
    module = small_module()
    torch.save(module, folder / "module.pt")
    # The files have no sources of the classes, and only the data of the script: the code of either is never read.
    torch.serialization.get_source_lines_and_file = None
    torch.save(module, folder / "module_legacy.pt", _use_new_zipfile_serialization=False)
    whole = io.BytesIO()
    torch.jit.save(torch.jit.script(module), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(folder / "script.pt", "w") as archive:
        for name in source.namelist():
            if "/code/" not in name:
                archive.writestr(zipfile.ZipInfo(name), source.read(name))
    state = {name: tensor.detach().contiguous().clone() for name, tensor in module.state_dict().items()}
    save_file(state, folder / "module.safetensors")

    write_tar(folder / "tar.pth")
    save_file(flatten(torch.load(folder / "tar.pth", weights_only=False), "", {}), folder / "tar.safetensors")

    arrays = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.float64(2.5),
              "folder/fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
              "empty": np.zeros((0, 3), np.float16), "big_endian": np.arange(4, dtype=">i2")}
    np.savez(folder / "stored.npz", **arrays)
    np.savez_compressed(folder / "deflated.npz", **arrays)
    native = {name: np.array(a, dtype=a.dtype.newbyteorder("="), order="C") for name, a in arrays.items()}
    save_file({name: torch.from_numpy(array) for name, array in native.items()}, folder / "npz.safetensors")


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
    # The expected file has native byte order, which safetensors and torch require.
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

    make_containers(folder)

    shared = Path(os.environ.get("COSS_SHARED", Path(__file__).resolve().parents[3] / "../shared")) / "checkpoints"
    sums = {}
    for path in sorted(shared.rglob("*")):
        if path.suffix not in (".pt", ".pth", ".th") or path.name in REFUSED:
            continue
        tensors = flatten(load(path), "", {})
        sums[str(path.relative_to(shared))] = {name: checksum(tensor) for name, tensor in tensors.items()}
    for path in sorted(shared.rglob("*.safetensors")):
        from safetensors.torch import load_file
        sums[str(path.relative_to(shared))] = {name: checksum(t) for name, t in load_file(path).items()}
    if sums:
        lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sums.items()]
        (folder / "shared_checksums.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
