"""The networks that goldens are made with: torchvision's, and the CIFAR ResNets of He et al. with option-A shortcuts.

`Tapped` runs any of them and keeps the pooled features and the output of each stage.
"""
import torch.nn.functional as F
import torchvision
from torch import nn

CIFAR_DEPTHS = {"resnet20_cifar": 3, "resnet32_cifar": 5, "resnet44_cifar": 7, "resnet56_cifar": 9,
                "resnet110_cifar": 18}
IMAGENET_NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2"]


class CifarBlock(nn.Module):
    """Two 3x3 convolutions; where the width grows the shortcut takes every second pixel and pads with zeros."""

    def __init__(self, in_width, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.grown = stride, width - in_width

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.grown:
            before = self.grown // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.grown - before))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """6n + 2 layers in three stages of 16, 32 and 64 channels."""

    def __init__(self, blocks, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self.stage(16, 16, blocks, 1)
        self.layer2 = self.stage(16, 32, blocks, 2)
        self.layer3 = self.stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def stage(in_width, width, blocks, stride):
        first = CifarBlock(in_width, width, stride)
        return nn.Sequential(first, *(CifarBlock(width, width, 1) for _ in range(blocks - 1)))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def build(name):
    if name in CIFAR_DEPTHS:
        return CifarResNet(CIFAR_DEPTHS[name])
    return getattr(torchvision.models, name)(weights=None)


class Tapped:
    """Calls a network and returns (features, logits); `stages` holds the outputs of layer1, layer2, ..."""

    def __init__(self, net):
        self.net = net
        self.stages, self.pooled = [], None
        for child_name, child in net.named_children():
            if child_name.startswith("layer"):
                child.register_forward_hook(lambda _module, _inputs, output: self.stages.append(output))
        head = getattr(net, "fc", None) or getattr(net, "linear", None) or net.classifier
        head.register_forward_pre_hook(self.keep_pooled)

    def keep_pooled(self, _module, inputs):
        self.pooled = inputs[0]

    def __call__(self, x):
        self.stages = []
        logits = self.net(x)
        return self.pooled, logits


def coss(student, teacher, scale=1.0, row_weight=1.0, column_weight=1.0):
    """The CoSS loss: (total, L_co over rows, L_ss over columns), the two terms unscaled."""
    unit = F.normalize
    row_term = -(unit(student, dim=1) * unit(teacher, dim=1)).sum(1).mean()
    column_term = -(unit(student, dim=0) * unit(teacher, dim=0)).sum(0).mean()
    total = scale * (row_weight * row_term + column_weight * column_term)
    return total, row_term, column_term
