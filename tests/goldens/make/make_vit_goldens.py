"""Goldens of the vision transformers and of CLIP's image towers, and of the projection heads."""
import timm
import torch
from torch import nn
from torch.nn import functional as F

from golden_support import fill, images, noise, save

SLICE = 64
GAIN = 0.7


def thinned(rows):
    """At most SLICE columns, evenly spread, so that the file stays small."""
    return rows[:, :: (rows.shape[1] + SLICE - 1) // SLICE]


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class ClipBlock(nn.Module):
    """Norm before attention and before the MLP, each added to its input."""

    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGelu())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ClipVit(nn.Module):
    """CLIP's ViT: no bias in the patch embedding, a norm before the blocks, a projection of the class token."""

    def __init__(self, width, heads, depth, patch, embedding, size=224):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, width))
        self.proj = nn.Parameter(torch.zeros(width, embedding))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(ClipBlock(width, heads) for _ in range(depth))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(x.shape[0], 1, -1), x], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer.resblocks:
            x = block(x)
        return self.ln_post(x[:, 0]) @ self.proj


class ClipBottleneck(nn.Module):
    """Strides are average pooling, before the last convolution and before the shortcut's."""

    def __init__(self, in_width, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(in_width, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.stride, self.downsample = stride, None
        if stride > 1 or in_width != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(in_width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        if self.stride > 1:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class AttentionPool(nn.Module):
    """Attention pooling: the mean of all pixels is the query; all pixels and the mean are keys."""

    def __init__(self, side, width, heads, embedding):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(side * side + 1, width))
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, embedding)
        self.heads = heads

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding

        def split(rows):
            return rows.unflatten(2, (self.heads, -1)).transpose(1, 2)

        y = F.scaled_dot_product_attention(split(self.q_proj(x[:, :1])), split(self.k_proj(x)), split(self.v_proj(x)))
        return self.c_proj(y.transpose(1, 2).flatten(1))


class ClipResNet(nn.Module):
    """CLIP's ModifiedResNet."""

    def __init__(self, blocks, width, embedding, heads, size=224):
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        in_width = width
        for stage, count in enumerate(blocks):
            layers = []
            for i in range(count):
                layers.append(ClipBottleneck(in_width, width << stage, 2 if i == 0 and stage > 0 else 1))
                in_width = 4 * (width << stage)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.attnpool = AttentionPool(size // 32, in_width, heads, embedding)

    def forward(self, x):
        for i in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        x = F.avg_pool2d(x, 2)
        for i in (1, 2, 3, 4):
            x = getattr(self, f"layer{i}")(x)
        return self.attnpool(x)


def vit(name, **options):
    return timm.create_model(name, pretrained=False, **options)


TINY_VIT = dict(img_size=32, patch_size=8, embed_dim=64, depth=4, num_heads=4, num_classes=10)
# Networks of the registry, seen at their own image size.
FULL = {
    "vit_tiny_patch16_224": lambda: vit("vit_tiny_patch16_224"),
    "vit_small_patch16_224": lambda: vit("vit_small_patch16_224"),
    "vit_small_patch32_224": lambda: vit("vit_small_patch32_224"),
    "vit_base_patch32_224": lambda: vit("vit_base_patch32_224"),
    "vit_small_patch16_224_gap": lambda: vit("vit_small_patch16_224", global_pool="avg"),
    "vit_small_patch16_224_mocov3": lambda: vit("vit_small_patch16_224", num_heads=12),
    "clip_rn50": lambda: ClipResNet([3, 4, 6, 3], 64, 1024, 32),
    "clip_vit_b32": lambda: ClipVit(768, 12, 12, 32, 512),
}
# Small networks with options; these are also trained.
SMALL = {
    "vit": lambda: timm.models.VisionTransformer(**TINY_VIT),
    "vit_gap": lambda: timm.models.VisionTransformer(global_pool="avg", **TINY_VIT),
    "clip_vit": lambda: ClipVit(64, 4, 2, 8, 24, 32),
    "clip_resnet": lambda: ClipResNet([1, 2, 1, 1], 8, 24, 4, 64),
}
SIZES = {"vit": 32, "vit_gap": 32, "clip_vit": 32, "clip_resnet": 64}


def run(net, x):
    """(features, logits); CLIP's towers have no classifier."""
    if not hasattr(net, "forward_head"):
        return net(x), None
    features = net.forward_head(net.forward_features(x), pre_logits=True)
    return features, net.head(features)


def stage_tokens(net, x):
    """Mean and root mean square of the tokens after each quarter of the blocks, or of each stage."""
    if hasattr(net, "layer1"):
        parts = [net.layer1, net.layer2, net.layer3, net.layer4]
    else:
        blocks = net.blocks if hasattr(net, "blocks") else net.transformer.resblocks
        quarter = max(len(blocks) // 4, 1)
        parts = [blocks[i] for i in range(quarter - 1, len(blocks), quarter)]
    rows = []

    def keep(_module, _inputs, y):
        rows.append(torch.stack([y.mean(), y.square().mean().sqrt()]))

    hooks = [part.register_forward_hook(keep) for part in parts]
    run(net, x)
    for hook in hooks:
        hook.remove()
    return torch.stack(rows)


def eval_goldens(key, net, size, out):
    net.eval()
    with torch.no_grad():
        x = images("images", 2, size)
        features, logits = run(net, x)
        out[f"{key}/eval/features"] = thinned(features)
        out[f"{key}/eval/stages"] = stage_tokens(net, x)
        if logits is not None:
            out[f"{key}/eval/logits"] = thinned(logits)


def train_goldens(key, net, size, out):
    """The loss is sum(y * u), y the logits or, where there are none, the features."""
    net.train()
    features, logits = run(net, images("images", 4, size, seed=2))
    target = features if logits is None else logits
    (target * noise("loss", target.shape)).sum().backward()
    out[f"{key}/train/features"] = thinned(features)
    if logits is not None:
        out[f"{key}/train/logits"] = thinned(logits)
    for name, parameter in net.named_parameters():
        out[f"{key}/train/grad_norm/{name}"] = parameter.grad.norm()
        out[f"{key}/train/grad/{name}"] = parameter.grad.flatten()[:8]
    for name, buffer in net.named_buffers():
        if "running" in name:
            out[f"{key}/train/stat/{name}"] = buffer[:8]


class Head(nn.Module):
    """A projection head: layers by name, perhaps rows of unit length, perhaps weight-normalized prototypes."""

    def __init__(self, layers, scope="", unit=False, prototypes=None):
        super().__init__()
        inner = self
        if scope:
            inner = nn.Module()
            setattr(self, scope, inner)
        for name, layer in layers.items():
            inner.add_module(name, layer)
        self.layers, self.unit = list(layers.values()), unit
        if prototypes:
            self.last_layer = nn.Module()
            self.last_layer.weight_g = nn.Parameter(torch.ones(prototypes[0], 1))
            self.last_layer.weight_v = nn.Parameter(torch.zeros(*prototypes))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        if self.unit:
            x = F.normalize(x, dim=1)
        if hasattr(self, "last_layer"):
            v = self.last_layer.weight_v
            x = x @ (v * self.last_layer.weight_g / v.norm(dim=1, keepdim=True)).T
        return x


def heads():
    linear, norm = nn.Linear, nn.BatchNorm1d

    def bare(a, b):
        return nn.Linear(a, b, bias=False)

    return {
        "mocov2": Head({"0": linear(24, 24), "1": nn.ReLU(), "2": linear(24, 8)}),
        "mocov3": Head({"0": bare(24, 40), "1": norm(40), "2": nn.ReLU(), "3": bare(40, 8),
                        "4": norm(8, affine=False)}),
        "mocov3_vit": Head({"0": bare(24, 40), "1": norm(40), "2": nn.ReLU(), "3": bare(40, 40), "4": norm(40),
                            "5": nn.ReLU(), "6": bare(40, 8), "7": norm(8, affine=False)}),
        "simclr": Head({"0": linear(24, 24), "1": norm(24), "2": nn.ReLU(), "3": linear(24, 8)}),
        "swav": Head({"0": linear(24, 40), "1": norm(40), "2": nn.ReLU(), "3": linear(40, 8)}, unit=True),
        "dino": Head({"0": linear(24, 40), "1": nn.GELU(), "2": linear(40, 40), "3": nn.GELU(), "4": linear(40, 16)},
                     "mlp", True, (56, 16)),
        "byol": Head({"0": linear(24, 40), "1": norm(40), "2": nn.ReLU(), "3": linear(40, 8)}, "net"),
    }


def head_goldens(out):
    for name, head in heads().items():
        head = head.double()
        fill(head, seed=0, gain=GAIN)
        key = f"head_{name}"
        head.eval()
        out[f"{key}/eval"] = head(noise("rows", (6, 24)))
        head.train()
        x = noise("rows", (6, 24), seed=1).requires_grad_()
        y = head(x)
        (y * noise("loss", y.shape)).sum().backward()
        out[f"{key}/train"], out[f"{key}/input_grad"] = y, x.grad
        for parameter_name, parameter in head.named_parameters():
            out[f"{key}/grad/{parameter_name}"] = parameter.grad.norm()
        for buffer_name, buffer in head.named_buffers():
            if "running" in buffer_name:
                out[f"{key}/stat/{buffer_name}"] = buffer


def make(folder):
    out = {}
    for key, build in {**FULL, **SMALL}.items():
        size = SIZES.get(key, 224)
        net = build().double()
        fill(net, seed=0, gain=GAIN)
        out[f"{key}/gain"], out[f"{key}/size"] = torch.tensor(GAIN), torch.tensor(size)
        eval_goldens(key, net, size, out)
        if key in SMALL:
            train_goldens(key, net, size, out)
    head_goldens(out)
    save(folder, "vit", out)
