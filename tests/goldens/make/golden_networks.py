"""The networks that goldens are made with: torchvision's, ResNets with all widths multiplied or with a stem for small
images, and the CIFAR networks of He et al. and of the distillation literature.

`Tapped` runs any of them and keeps the pooled features and the output of each stage.
"""
import torch.nn.functional as F
import torchvision
from torch import nn

CIFAR_DEPTHS = {"resnet20_cifar": 3, "resnet32_cifar": 5, "resnet44_cifar": 7, "resnet56_cifar": 9,
                "resnet110_cifar": 18}
IMAGENET_NAMES = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2", "wide_resnet50_2",
                  "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d"]
WIDENED = {"resnet50w2": 2, "resnet50w4": 4, "resnet50w5": 5}
CIFAR_STEMS = ["resnet18_cifar_stem", "resnet34_cifar_stem", "resnet50_cifar_stem"]
# Blocks a stage, and the widths of stem and stages.
PROJECTED = {"resnet8_rd": (1, [16, 16, 32, 64]), "resnet14_rd": (2, [16, 16, 32, 64]),
             "resnet20_rd": (3, [16, 16, 32, 64]), "resnet32_rd": (5, [16, 16, 32, 64]),
             "resnet44_rd": (7, [16, 16, 32, 64]), "resnet56_rd": (9, [16, 16, 32, 64]),
             "resnet110_rd": (18, [16, 16, 32, 64]), "resnet8x4": (1, [32, 64, 128, 256]),
             "resnet32x4": (5, [32, 64, 128, 256])}
WRN_SIZES = {"wrn_16_1": (16, 1), "wrn_16_2": (16, 2), "wrn_40_1": (40, 1), "wrn_40_2": (40, 2)}
VGG_CONVOLUTIONS = {"vgg8_cifar": 1, "vgg13_cifar": 2}
SMALL_NAMES = [*CIFAR_DEPTHS, *CIFAR_STEMS, *PROJECTED, *WRN_SIZES, *VGG_CONVOLUTIONS]


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


class WidenedResNet(torchvision.models.ResNet):
    """ResNet-50 with every width multiplied."""

    def __init__(self, factor):
        block, depths = torchvision.models.resnet.Bottleneck, [3, 4, 6, 3]
        super().__init__(block, [1, 1, 1, 1])
        width = self.inplanes = 64 * factor
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i, depth in enumerate(depths):
            setattr(self, f"layer{i + 1}", self._make_layer(block, width << i, depth, stride=2 if i else 1))
        self.fc = nn.Linear(width * 32, 1000)


def with_cifar_stem(name):
    """solo-learn's: a 3x3 convolution with padding 2, no pooling."""
    net = getattr(torchvision.models, name.removesuffix("_cifar_stem"))(weights=None, num_classes=10)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 2, bias=False)
    net.maxpool = nn.Identity()
    return net


class ProjectedBlock(nn.Module):
    """Two 3x3 convolutions; a 1x1 convolution in the shortcut where the shape changes."""

    def __init__(self, in_width, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride > 1 or in_width != width:
            self.downsample = nn.Sequential(nn.Conv2d(in_width, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class ProjectedResNet(nn.Module):
    """The distillation literature's CIFAR ResNets."""

    def __init__(self, blocks, widths, classes=100):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        for i in (1, 2, 3):
            first = ProjectedBlock(widths[i - 1], widths[i], 2 if i > 1 else 1)
            rest = (ProjectedBlock(widths[i], widths[i], 1) for _ in range(blocks - 1))
            setattr(self, f"layer{i}", nn.Sequential(first, *rest))
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class WrnBlock(nn.Module):
    """Norm before convolution; where the width changes a 1x1 convolution of the normalized input is added."""

    def __init__(self, in_width, width, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_width)
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(in_width, width, 1, stride, bias=False) if in_width != width else None

    def forward(self, x):
        normed = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(normed))))
        return y + (self.convShortcut(normed) if self.convShortcut else x)


class WrnStage(nn.Module):
    def __init__(self, blocks, in_width, width, stride):
        super().__init__()
        rest = (WrnBlock(width, width, 1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(WrnBlock(in_width, width, stride), *rest)

    def forward(self, x):
        return self.layer(x)


class Wrn(nn.Module):
    """Wide ResNets for CIFAR."""

    def __init__(self, depth, widen, classes=100):
        super().__init__()
        blocks, widths = (depth - 4) // 6, [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        for i in (1, 2, 3):
            setattr(self, f"block{i}", WrnStage(blocks, widths[i - 1], widths[i], 2 if i > 1 else 1))
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


class VggCifar(nn.Module):
    """Batch norm, and one linear layer after the mean over the image."""

    def __init__(self, convolutions, classes=100):
        super().__init__()
        width = 3
        for i, out in enumerate([64, 128, 256, 512, 512]):
            layers = []
            for _ in range(convolutions):
                layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
                width = out
            setattr(self, f"block{i}", nn.Sequential(*layers))
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        x = self.block0(x)
        for block in (self.block1, self.block2, self.block3):
            x = block(F.max_pool2d(x, 2))
        return self.classifier(self.block4(x).mean((2, 3)))


def build(name):
    if name in CIFAR_DEPTHS:
        return CifarResNet(CIFAR_DEPTHS[name])
    if name in WIDENED:
        return WidenedResNet(WIDENED[name])
    if name in CIFAR_STEMS:
        return with_cifar_stem(name)
    if name in PROJECTED:
        return ProjectedResNet(*PROJECTED[name])
    if name in WRN_SIZES:
        return Wrn(*WRN_SIZES[name])
    if name in VGG_CONVOLUTIONS:
        return VggCifar(VGG_CONVOLUTIONS[name])
    return getattr(torchvision.models, name)(weights=None)


class Tapped:
    """Calls a network and returns (features, logits); `stages` holds the outputs of layer1, layer2, ...
    or block1, block2, ..."""

    def __init__(self, net):
        self.net = net
        self.stages, self.pooled = [], None
        for child_name, child in net.named_children():
            if child_name.startswith(("layer", "block")):
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
