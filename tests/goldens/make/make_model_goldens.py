"""Goldens of the models: logits, features and stages in eval mode; logits, gradients and statistics in train mode."""
import torch

from golden_networks import IMAGENET_NAMES, SMALL_NAMES, Tapped, build
from golden_support import fill, images, noise, save

TRAINED = ["resnet18", "resnet34", "resnet50", "resnet20_cifar", "resnet56_cifar", "mobilenet_v2", "resnext50_32x4d",
           "resnet18_cifar_stem", "resnet8x4", "wrn_16_2", "vgg8_cifar", "squeezenet1_1"]
# Keeps the activations of the un-normalized eval pass near 1: residual networks add up, MobileNetV2's chains shrink.
GAIN = {"mobilenet_v2": 1.5}
DEFAULT_GAIN = 0.7
SLICE = 64


def thinned(rows):
    """At most SLICE columns, evenly spread, so that the file stays small."""
    return rows[:, :: (rows.shape[1] + SLICE - 1) // SLICE]


def tapped(name, net):
    """Calls the network and returns (features, logits); SqueezeNet has no classifier after its features."""
    if name == "squeezenet1_1":
        return lambda x: (net.features(x).mean((2, 3)), None)
    return Tapped(net)


def eval_goldens(name, net, size, out):
    net.eval()
    call = tapped(name, net)
    with torch.no_grad():
        features, logits = call(images("images", 2, size))
    out[f"{name}/eval/features"] = thinned(features)
    if logits is not None:
        out[f"{name}/eval/logits"] = thinned(logits)
    if getattr(call, "stages", None):
        rows = [torch.stack([stage.mean(), stage.square().mean().sqrt()]) for stage in call.stages]
        out[f"{name}/eval/stages"] = torch.stack(rows)


def train_goldens(name, net, size, out):
    """The loss is sum(logits * u); MobileNetV2 has dropout before its classifier, so there it is sum(features * u)."""
    net.train()
    features, logits = tapped(name, net)(images("images", 4, size, seed=2))
    target = features if name in ("mobilenet_v2", "squeezenet1_1") else logits
    loss = (target * noise("loss", target.shape)).sum()
    loss.backward()
    out[f"{name}/train/features"], out[f"{name}/train/loss"] = thinned(features), loss
    if target is logits:
        out[f"{name}/train/logits"] = thinned(logits)
    parameters = [(key, p) for key, p in net.named_parameters() if p.grad is not None]
    for key, parameter in (parameters[0], parameters[len(parameters) // 2], *parameters[-3:-1]):
        out[f"{name}/train/grad_norm/{key}"] = parameter.grad.norm()
        out[f"{name}/train/grad/{key}"] = parameter.grad.flatten()[:SLICE]
    buffers = [(key, b) for key, b in net.named_buffers() if "running" in key]
    for key, buffer in buffers[:2] + buffers[-2:]:
        out[f"{name}/train/stat/{key}"] = buffer[:SLICE]


def make(folder):
    out = {}
    for name in [*IMAGENET_NAMES, "resnet50w2", *SMALL_NAMES, "squeezenet1_1"]:
        gain = GAIN.get(name, DEFAULT_GAIN)
        size = 32 if name in SMALL_NAMES else 64
        net = build(name).double()
        fill(net, seed=0, gain=gain)
        out[f"{name}/gain"] = torch.tensor(gain)
        out[f"{name}/size"] = torch.tensor(size)
        eval_goldens(name, net, size, out)
        if name in TRAINED:
            train_goldens(name, net, size, out)
    save(folder, "models", out)
