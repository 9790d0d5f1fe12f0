"""Goldens of the mobile networks, like make_model_goldens'."""
import torch

from golden_mobile_networks import CIFAR_NAMES, DROPPING, MOBILE_NAMES, Tapped, build
from golden_support import images, noise, parameter_values, save
from make_model_goldens import SLICE, thinned

TRAINED = ["efficientnet_b0", "tf_efficientnet_b0", "mobilenet_v3_small", "mobilenetv3_small_100",
           "mobilenet_v3_small_dli14", "shufflenet_v1", "shufflenet_v2_x0_5", *CIFAR_NAMES]
# Keeps the activations of the un-normalized eval pass near 1; exact in float32, the dtype of the file.
GAIN = {"efficientnet": 1.0, "mobilenet": 1.125, "shufflenet_v1": 0.75, "shufflenet_v2": 1.25}


def eval_goldens(name, net, size, out):
    net.eval()
    tapped = Tapped(name, net)
    with torch.no_grad():
        features, logits = tapped(images("images", 2, size))
    out[f"{name}/eval/features"], out[f"{name}/eval/logits"] = thinned(features), thinned(logits)
    rows = [torch.stack([stage.mean(), stage.square().mean().sqrt()]) for stage in tapped.stages]
    out[f"{name}/eval/stages"] = torch.stack(rows)


def train_goldens(name, net, names, size, out):
    """The loss is sum(logits * u); for networks with dropout before the classifier it is sum(features * u)."""
    net.train()
    features, logits = Tapped(name, net)(images("images", 4, size, seed=2))
    target = features if name in DROPPING else logits
    loss = (target * noise("loss", target.shape)).sum()
    loss.backward()
    out[f"{name}/train/features"], out[f"{name}/train/loss"] = thinned(features), loss
    if target is logits:
        out[f"{name}/train/logits"] = thinned(logits)
    # Shifts that the next norm removes have no gradient except rounding.
    parameters = [(names[key], p) for key, p in net.named_parameters() if p.grad is not None and p.grad.norm() > 1e-9]
    middle = len(parameters) // 2
    for key, parameter in (parameters[0], *parameters[middle : middle + 4], *parameters[-3:-1]):
        out[f"{name}/train/grad_norm/{key}"] = parameter.grad.norm()
        out[f"{name}/train/grad/{key}"] = parameter.grad.flatten()[:SLICE]
    buffers = [(names[key], b) for key, b in net.named_buffers() if "running" in key]
    for key, buffer in (buffers[0], buffers[1], buffers[-2], buffers[-1]):
        out[f"{name}/train/stat/{key}"] = buffer[:SLICE]


@torch.no_grad()
def fill(net, names, gain):
    """Like golden_support.fill, with coss's names; counters are zero."""
    for key, tensor in net.state_dict(keep_vars=True).items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(parameter_values(names[key], tuple(tensor.shape), 0, gain)))
        else:
            tensor.zero_()


def make(folder):
    out = {}
    for name in MOBILE_NAMES:
        size = 32 if name in CIFAR_NAMES else 64
        gain = next(gain for family, gain in GAIN.items() if family in name)
        net, names = build(name)
        net = net.double()
        fill(net, names, gain)
        out[f"{name}/gain"], out[f"{name}/size"] = torch.tensor(gain), torch.tensor(size)
        eval_goldens(name, net, size, out)
        if name in TRAINED:
            train_goldens(name, net, names, size, out)
    save(folder, "mobile", out)
