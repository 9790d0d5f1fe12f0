"""Makes a checkpoint in the layout and container of every published kind, with PyTorch's features of two images:

  python tests/goldens/make/make_layout_files.py KEYS FOLDER

KEYS holds one manifest per kind, `name<TAB>dtype<TAB>shape` per line (shared/reference/keys). FOLDER, several gigabytes in
the end, is what the test PublishedFiles takes from COSS_LAYOUT_FILES. Besides PyTorch this needs torchvision, timm and
efficientnet_pytorch. Weights follow the formula of make_goldens.py, by the names of the library that builds the network.
"""
import json
import sys
from pathlib import Path

import efficientnet_pytorch
import timm
import torch
import torchvision
from torch import nn

import make_vit_goldens as transformers
from golden_mobile_networks import gate_first
from golden_support import fill, images, noise

GAIN = 0.7


class Manifest:
    def __init__(self, folder, name):
        lines = (folder / f"{name}.tsv").read_text().splitlines()
        self.rows = []
        for line in lines:
            key, dtype, dims = (line + "\t").split("\t")[:3]
            self.rows.append((key, getattr(torch, dtype), [int(size) for size in dims.split("x") if size]))

    def filled(self, tensors):
        """The dictionary of the manifest: `tensors` by their names in it, noise for all else."""
        out = {}
        for key, dtype, shape in self.rows:
            value = tensors.pop(key, None)
            if value is None:
                value = noise(key, shape) if dtype.is_floating_point else torch.zeros(shape)
            out[key] = value.reshape(shape).to(dtype)
        assert not tensors, f"the manifest lacks {sorted(tensors)[:3]}"
        return out


def network(name):
    """(network, its features in eval mode, image size)"""
    if name.startswith("resnet"):
        net = getattr(torchvision.models, name)(weights=None)
        return net, lambda x: nn.Sequential(*list(net.children())[:-1])(x).flatten(1), 64
    if name.startswith(("vit_", "clip_")):
        net = transformers.FULL[name]()
        return net, lambda x: transformers.run(net, x)[0], 224
    if name.startswith("timm:"):
        net = timm.create_model(name[5:], pretrained=False)
        return net, lambda x: net.forward_features(x).mean((2, 3)), 64
    if name.startswith("lukemelas:"):
        net = efficientnet_pytorch.EfficientNet.from_name(name[10:])
        net.set_swish(memory_efficient=False)
        return net, lambda x: net.extract_features(x).mean((2, 3)), 64
    if name.startswith("dli14:"):
        net = gate_first(name[6:])
    else:
        net = getattr(torchvision.models, name)(weights=None)
    if name.startswith("shufflenet"):
        return net, lambda x: nn.Sequential(*list(net.children())[:-1])(x).mean((2, 3)), 64
    return net, lambda x: net.features(x).mean((2, 3)), 64


def prefixed(prefix, drop=("fc.",)):
    return lambda state: {prefix + key: value for key, value in state.items() if not key.startswith(drop)}


def simclr_v2(state):
    """conv1 -> net.0.0; layer1.0.conv1 -> net.1.blocks.0.net.0, and so on."""
    out = {}
    for key, value in state.items():
        parts = key.split(".")
        if key.startswith(("conv1.", "bn1.")):
            name = ["net.0.0" if parts[0] == "conv1" else "net.0.1.0"] + parts[1:]
        elif parts[0] == "fc":
            name = parts
        else:
            block = f"net.{parts[0][5:]}.blocks.{parts[1]}"
            if parts[2] == "downsample":
                inner = ["projection.shortcut" if parts[3] == "0" else "projection.bn.0"] + parts[4:]
            else:
                number = 2 * int(parts[2][-1]) - (2 if parts[2].startswith("conv") else 1)
                inner = [f"net.{number}" + (".0" if number % 2 else "")] + parts[3:]
            name = [block] + inner
        out[".".join(name)] = value
    return out


def same(state):
    return dict(state)


def run_state(inner, **more):
    return {"epoch": 200, "arch": "resnet50", "state_dict": inner, **more}


def cases(keys):
    """(file, model of coss, network, {part: (manifest, renaming)}, the whole object from the parts, legacy container)"""
    def one(file, model, source, manifest, rename, whole=lambda parts: parts["all"], legacy=False):
        return file, model, source, {"all": (manifest, rename)}, whole, legacy

    state = lambda parts: run_state(parts["all"])
    yield one("moco_v1.pth.tar", "resnet50", "resnet50", "moco_v1_resnet50", prefixed("module.encoder_q."), state, True)
    yield one("moco_v2.pth.tar", "resnet50", "resnet50", "moco_v2_resnet50", prefixed("module.encoder_q."), state, True)
    yield one("moco_v3.pth.tar", "resnet50", "resnet50", "moco_v3_resnet50", prefixed("module.base_encoder."), state)
    yield one("swav_800ep.pth.tar", "resnet50", "resnet50", "swav_resnet50", prefixed("module."), legacy=True)
    yield one("swav_training.pth.tar", "resnet50", "resnet50", "swav_resnet50", prefixed("module."), state)
    yield one("simclr_v1.pth", "resnet50", "resnet50", "simclr_v1_tonylins_resnet50x1", same,
              lambda parts: {"state_dict": parts["all"]}, True)
    yield ("simclr_v2.pth", "resnet50", "resnet50",
           {"resnet": ("simclr_v2_separius_r50_1x_sk0_resnet", simclr_v2),
            "head": ("simclr_v2_separius_r50_1x_sk0_head", None)}, dict, False)
    for size, model in (("resnet50", "resnet50"), ("vit_small", "vit_small_patch16_224")):
        source = model
        drop = ("fc.", "head.")
        yield one(f"dino_{size}_pretrain.pth", model, source, f"dino_{size}_backbone_only", prefixed("", drop))
        yield (f"dino_{size}_full.pth", model, source,
               {"student": (f"dino_{size}_full_student", None),
                "teacher": (f"dino_{size}_full_teacher", prefixed("backbone.", drop))},
               lambda parts: {**parts, "epoch": 800, "optimizer": {}}, False)
    for name in ("barlowtwins", "vicreg"):
        yield one(f"{name}_resnet50.pth", "resnet50", "resnet50", f"{name}_resnet50_pth", prefixed(""))
        yield one(f"{name}_checkpoint.pth", "resnet50", "resnet50", f"{name}_checkpoint_model",
                  prefixed("module.backbone."), lambda parts: {"epoch": 1000, "model": parts["all"], "optimizer": {}})
    for name in ("resnet18", "resnet34", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
                 "efficientnet_b0", "efficientnet_v2_s", "shufflenet_v2_x1_0", "squeezenet1_1"):
        yield one(f"torchvision_{name}.pth", name, name, f"torchvision_{name}", same)
    for name in ("resnet18", "resnet50"):
        yield one(f"timm_{name}.pth", name, name, f"timm_{name}", same)
    for name, model in (("efficientnet_b0", "efficientnet_b0"), ("tf_efficientnet_b0", "tf_efficientnet_b0"),
                        ("mobilenetv3_large_100", "mobilenet_v3_large"), ("mobilenetv3_small_100", "mobilenet_v3_small")):
        yield one(f"timm_{name}.pth", model, f"timm:{name}", f"timm_{name}", same)
    yield one("lukemelas_efficientnet_b0.pth", "efficientnet_b0", "lukemelas:efficientnet-b0",
              "lukemelas_efficientnet_b0", same)
    for size in ("small", "large"):
        names = dict(line.split("\t")[::2] for line in
                     (keys / f"MAP_mobilenetv3_{size}.tsv").read_text().splitlines()[1:])
        yield one(f"dli14_mobilenetv3_{size}.pth", f"mobilenet_v3_{size}", f"dli14:mobilenet_v3_{size}",
                  f"dli14_mobilenetv3_{size}",
                  lambda state, names=names: {names[key]: value for key, value in state.items()})
    yield one("clip_RN50.pt", "clip_rn50", "clip_rn50", "clip_RN50", prefixed("visual."), "TorchScript")


class Holder(nn.Module):
    """Tensors by their paths, as nested modules, with the three numbers that CLIP's archives have besides."""

    def __init__(self, tensors):
        super().__init__()
        children = {}
        for path, value in tensors.items():
            first, _, rest = path.partition(".")
            if rest:
                children.setdefault(first, {})[rest] = value
            elif value.is_floating_point():
                self.register_parameter(first, nn.Parameter(value))
            else:
                self.register_buffer(first, value)
        for name, inner in children.items():
            setattr(self, name, Holder(inner))

    def forward(self, x: torch.Tensor):
        return x


def save_torchscript(tensors, path):
    halves = {key: value.half() if value.dim() > 1 and value.is_floating_point() and "embedding" not in key else value
              for key, value in tensors.items()}
    torch.jit.script(Holder(halves)).save(str(path))
    return halves


def main():
    keys, folder = Path(sys.argv[1]), Path(sys.argv[2])
    only = sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for file, model, source, parts, whole, container in cases(keys):
        if only and file not in only:
            continue
        net, features, size = network(source)
        net.eval()
        fill(net, seed=0, gain=GAIN)
        made = {part: Manifest(keys, manifest).filled(rename(net.state_dict()) if rename else {})
                for part, (manifest, rename) in parts.items()}
        if whole == "TorchScript":
            halves = save_torchscript(made["all"], folder / file)
            net.load_state_dict({key.removeprefix("visual."): value.float() for key, value in halves.items()
                                 if key.startswith("visual.")}, strict=False)
        else:
            torch.save(whole(made), folder / file, _use_new_zipfile_serialization=not container)
        with torch.no_grad():
            rows = features(images("images", 2, size).float())
        index.append({"file": file, "model": model, "size": size, "features": rows.double().flatten().tolist()})
        print(file, flush=True)
        (folder / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
