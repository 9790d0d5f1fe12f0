"""The mobile networks that goldens are made with: EfficientNets, MobileNetV3s and ShuffleNets, from torchvision and timm
where they have them.

`build` gives a network and, for each of its parameters and buffers, the name that coss has for it, torchvision's.
"""
from functools import partial

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

EFFICIENTNETS = [*(f"efficientnet_b{size}" for size in range(8)), "efficientnet_v2_s", "efficientnet_v2_m",
                 "efficientnet_v2_l"]
TENSORFLOW_EFFICIENTNETS = [f"tf_efficientnet_b{size}" for size in range(8)]
TORCHVISION_NAMES = [*EFFICIENTNETS, "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x0_5",
                     "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"]
# timm's networks, and the torchvision networks whose parameter names they get.
TIMM_TWINS = {**{name: name.removeprefix("tf_") for name in TENSORFLOW_EFFICIENTNETS},
              "mobilenetv3_small_100": "mobilenet_v3_small", "mobilenetv3_large_100": "mobilenet_v3_large"}
GATE_FIRST = {"mobilenet_v3_small_dli14": "mobilenet_v3_small", "mobilenet_v3_large_dli14": "mobilenet_v3_large"}
CIFAR_NAMES = ["shufflenet_v1_cifar", "shufflenet_v2_cifar", "mobilenet_v2_cifar"]
MOBILE_NAMES = [*TORCHVISION_NAMES, *TIMM_TWINS, *GATE_FIRST, "shufflenet_v1", *CIFAR_NAMES]
# These networks have dropout before their classifier.
DROPPING = [*EFFICIENTNETS, *TIMM_TWINS, *GATE_FIRST, "mobilenet_v3_small", "mobilenet_v3_large"]


def shuffled(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def conv_1x1(in_width, width, groups=1):
    return nn.Conv2d(in_width, width, 1, groups=groups, bias=False)


def depthwise(width, stride):
    return nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False)


class ShuffleV1Block(nn.Module):
    """Grouped 1x1, shuffle, 3x3 depthwise, grouped 1x1; the input is added, or averaged and concatenated."""

    def __init__(self, in_width, width, stride, narrow, middle_relu):
        super().__init__()
        self.groups = 1 if in_width == 24 else 3
        self.stride, self.middle_relu = stride, middle_relu
        self.conv1, self.bn1 = conv_1x1(in_width, narrow, self.groups), nn.BatchNorm2d(narrow)
        self.conv2, self.bn2 = depthwise(narrow, stride), nn.BatchNorm2d(narrow)
        self.conv3, self.bn3 = conv_1x1(narrow, width, 3), nn.BatchNorm2d(width)

    def forward(self, x):
        y = shuffled(F.relu(self.bn1(self.conv1(x))), self.groups)
        y = self.bn2(self.conv2(y))
        y = self.bn3(self.conv3(F.relu(y) if self.middle_relu else y))
        if self.stride == 1:
            return F.relu(x + y)
        return F.relu(torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1))


class ShuffleV1(nn.Module):
    """The paper's network with three groups, or the distillation literature's for CIFAR."""

    def __init__(self, cifar):
        super().__init__()
        self.cifar = cifar
        self.conv1 = conv_1x1(3, 24) if cifar else nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        in_width = 24
        for stage, (width, blocks) in enumerate([(240, 4), (480, 8), (960, 4)], 1):
            computed = width - in_width
            layers = [ShuffleV1Block(in_width, computed, 2, (computed if cifar else width) // 4, cifar)]
            layers += [ShuffleV1Block(width, width, 1, width // 4, cifar) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            in_width = width
        self.linear = nn.Linear(in_width, 100 if cifar else 1000)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.cifar:
            x = F.max_pool2d(x, 3, 2, 1)
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class ShuffleV2Block(nn.Module):
    """Half of the channels are passed on unchanged."""

    def __init__(self, width):
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = conv_1x1(half, half), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = depthwise(half, 1), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv_1x1(half, half), nn.BatchNorm2d(half)

    def forward(self, x):
        kept, y = x.chunk(2, 1)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(y)))))
        return shuffled(torch.cat([kept, F.relu(self.bn3(self.conv3(y)))], 1), 2)


class ShuffleV2Down(nn.Module):
    """All channels go through both branches."""

    def __init__(self, in_width, width):
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = depthwise(in_width, 2), nn.BatchNorm2d(in_width)
        self.conv2, self.bn2 = conv_1x1(in_width, half), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = conv_1x1(in_width, half), nn.BatchNorm2d(half)
        self.conv4, self.bn4 = depthwise(half, 2), nn.BatchNorm2d(half)
        self.conv5, self.bn5 = conv_1x1(half, half), nn.BatchNorm2d(half)

    def forward(self, x):
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)))))
        right = F.relu(self.bn5(self.conv5(right)))
        return shuffled(torch.cat([left, right], 1), 2)


class ShuffleV2Cifar(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv_1x1(3, 24), nn.BatchNorm2d(24)
        in_width = 24
        for stage, (width, blocks) in enumerate([(116, 3), (232, 7), (464, 3)], 1):
            layers = [ShuffleV2Down(in_width, width), *(ShuffleV2Block(width) for _ in range(blocks))]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            in_width = width
        self.conv2, self.bn2, self.last = conv_1x1(in_width, 1024), nn.BatchNorm2d(1024), nn.ReLU()
        self.linear = nn.Linear(1024, 100)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.last(self.bn2(self.conv2(x))).mean((2, 3)))


class InvertedResidual(nn.Module):
    def __init__(self, in_width, width, stride, expansion):
        super().__init__()
        wide = in_width * expansion
        self.conv = nn.Sequential(conv_1x1(in_width, wide), nn.BatchNorm2d(wide), nn.ReLU(),
                                  depthwise(wide, stride), nn.BatchNorm2d(wide), nn.ReLU(),
                                  conv_1x1(wide, width), nn.BatchNorm2d(width))
        self.adds = stride == 1 and in_width == width

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileV2Cifar(nn.Module):
    """Half as wide as MobileNetV2, expansion 6."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks, in_width = nn.ModuleList(), 16
        for expansion, width, blocks, stride in [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2),
                                                 (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            layers = []
            for i in range(blocks):
                layers.append(InvertedResidual(in_width, width // 2, 1 if i else stride, expansion))
                in_width = width // 2
            self.blocks.append(nn.Sequential(*layers))
        self.conv2 = nn.Sequential(conv_1x1(in_width, 1280), nn.BatchNorm2d(1280), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(1280, 100))

    def forward(self, x):
        x = self.conv1(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(self.conv2(x).mean((2, 3)))


def gate_first(twin):
    """PyTorch's norm parameters, and squeeze-and-excitation before the activation in blocks that expand."""
    norm = partial(nn.BatchNorm2d, eps=1e-5, momentum=0.1)
    net = getattr(torchvision.models, twin)(weights=None, dropout=0.0, norm_layer=norm)
    for child in net.features:
        block = getattr(child, "block", [])
        if len(block) == 4:
            activation = block[1][2]
            block[1][2] = nn.Identity()
            block[2].register_forward_hook(lambda _module, _inputs, output, act=activation: act(output))
    return net


def torchvision_net(name):
    # Without dropout and stochastic depth, whose draws are PyTorch's own.
    rates = {"dropout": 0.0} if "shufflenet" not in name else {}
    if name in EFFICIENTNETS:
        rates["stochastic_depth_prob"] = 0.0
    return getattr(torchvision.models, name)(weights=None, **rates)


def build(name):
    """(network, {its name of a tensor: coss's name}); the values are not initialized."""
    with torch.device("meta"):
        net, names = build_empty(name)
    return net.to_empty(device="cpu"), names


def build_empty(name):
    if name in TIMM_TWINS:
        # timm's default momentum is PyTorch's; TensorFlow and efficientnet-pytorch have 0.01.
        tensorflow = {"bn_momentum": 0.01} if name.startswith("tf_") else {}
        net = timm.create_model(name, **tensorflow)
        return net, dict(zip(net.state_dict(), torchvision_net(TIMM_TWINS[name]).state_dict(), strict=True))
    if name in GATE_FIRST:
        net = gate_first(GATE_FIRST[name])
    elif name in TORCHVISION_NAMES:
        net = torchvision_net(name)
    elif name in ("shufflenet_v1", "shufflenet_v1_cifar"):
        net = ShuffleV1(cifar=name.endswith("_cifar"))
    else:
        net = ShuffleV2Cifar() if name == "shufflenet_v2_cifar" else MobileV2Cifar()
    return net, {key: key for key in net.state_dict()}


class Tapped:
    """Calls a network and returns (features, logits); `stages` holds the last output of each resolution, beginning with
    the blocks."""

    def __init__(self, name, net):
        self.net, self.pooled, self.outputs = net, None, []
        head = None
        for child_name, child in net.named_modules():
            if child_name in self.blocks_of(name, net):
                child.register_forward_hook(lambda _module, _inputs, output: self.outputs.append(output))
            if head is None and self.is_head(child_name, child):
                head = child
        head.register_forward_pre_hook(self.keep_pooled)

    @staticmethod
    def is_head(name, child):
        # timm's MobileNetV3 has the first layer of its classifier as a convolution.
        if name == "conv_head" and child.bias is not None:
            return True
        return isinstance(child, nn.Linear)

    @staticmethod
    def blocks_of(name, net):
        if "shufflenet" in name:
            return ("layer1", "layer2", "layer3", "last", "stage2", "stage3", "stage4", "conv5")
        if name == "mobilenet_v2_cifar":
            return ("conv1", "conv2", *(f"blocks.{i}" for i in range(7)))
        if hasattr(net, "features"):
            return tuple(f"features.{i}" for i in range(len(net.features)))
        return ("bn1", "bn2", *(f"blocks.{i}" for i in range(len(net.blocks))))

    def keep_pooled(self, _module, inputs):
        self.pooled = inputs[0].flatten(1)

    @property
    def stages(self):
        sizes = [output.shape[2] for output in self.outputs] + [0]
        return [self.outputs[i] for i in range(len(self.outputs)) if sizes[i] != sizes[i + 1]]

    def __call__(self, x):
        self.outputs = []
        logits = self.net(x)
        return self.pooled, logits
