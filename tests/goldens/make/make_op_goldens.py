"""Goldens of single operations: convolution, fused norm, activations, channels, pooling, linear, softmax, attention,
losses. Inputs are stored beside the results, all in the engine's layouts: images (N,H,W,C), convolution weights
(K,R,S,C/groups), depthwise (R,S,C)."""
import torch
import torch.nn.functional as F

from golden_networks import coss
from golden_support import nhwc, noise, rsc, save

# name: N H W C, K R stride pad dilation groups
CONVOLUTIONS = {
    "stem7x7": (2, 17, 15, 3, 8, 7, 2, 3, 1, 1),
    "3x3": (2, 9, 7, 8, 12, 3, 1, 1, 1, 1),
    "3x3_stride2": (2, 9, 8, 8, 16, 3, 2, 1, 1, 1),
    "3x3_dilated": (1, 9, 9, 4, 8, 3, 1, 2, 2, 1),
    "3x3_groups": (2, 7, 7, 8, 12, 3, 1, 1, 1, 2),
    "1x1": (2, 6, 5, 16, 24, 1, 1, 0, 1, 1),
    "1x1_stride2": (2, 7, 7, 16, 8, 1, 2, 0, 1, 1),
    "depthwise": (2, 8, 7, 16, 16, 3, 1, 1, 1, 16),
    "depthwise_stride2": (2, 9, 9, 24, 24, 3, 2, 1, 1, 24),
    "same_stride2": (2, 8, 9, 3, 8, 3, 2, 0, 1, 1),
    "depthwise_same_stride2": (1, 10, 9, 16, 16, 5, 2, 0, 1, 16),
}


def leaf(name, shape, scale=1.0):
    return noise(name, shape, scale=scale).requires_grad_()


def padded_same(x, window, stride, dilation):
    """TensorFlow's SAME: zeros that make the output ceil(in / stride) long, an odd one at the end."""
    widths = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + dilation * (window - 1) + 1 - size, 0)
        widths += [total // 2, total - total // 2]
    return F.pad(x, widths)


def convolutions(out):
    for name, (n, h, w, c, k, window, stride, pad, dilation, groups) in CONVOLUTIONS.items():
        depthwise = name.startswith("depthwise")
        x = leaf(f"conv/{name}/x", (n, c, h, w))
        weight = leaf(f"conv/{name}/w", (k, c // groups, window, window))
        same = "same" in name
        padded = padded_same(x, window, stride, dilation) if same else x
        y = F.conv2d(padded, weight, None, stride, pad, dilation, groups)
        dy = noise(f"conv/{name}/dy", y.shape)
        y.backward(dy)
        to_engine = rsc if depthwise else nhwc
        out[f"conv/{name}/options"] = torch.tensor([stride, pad, dilation, groups, int(depthwise), int(same)])
        for key, value in (("x", nhwc(x)), ("w", to_engine(weight)), ("y", nhwc(y)), ("dy", nhwc(dy)),
                           ("dx", nhwc(x.grad)), ("dw", to_engine(weight.grad))):
            out[f"conv/{name}/{key}"] = value


def norms(out):
    activations = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "hardswish": F.hardswish}
    for kind, act in activations.items():
        for residual in (False, True) if kind not in ("silu", "hardswish") else (False,):
            name = f"norm/{kind}{'_residual' if residual else ''}"
            x, add = leaf(f"{name}/x", (4, 24, 5, 3), 2.0), leaf(f"{name}/residual", (4, 24, 5, 3), 2.0)
            gamma = (3.0 + noise(f"{name}/gamma", (24,))).requires_grad_()
            beta = leaf(f"{name}/beta", (24,))
            mean, var = noise(f"{name}/mean", (24,)), 1.0 + 0.5 * noise(f"{name}/var", (24,))
            out[f"{name}/running_mean"], out[f"{name}/running_var"] = mean.clone(), var.clone()
            y = F.batch_norm(x, mean, var, gamma, beta, training=True, momentum=0.1, eps=1e-5)
            y = act(y + add if residual else y)
            dy = noise(f"{name}/dy", y.shape)
            y.backward(dy)
            out[f"{name}/new_mean"], out[f"{name}/new_var"] = mean, var
            for key, value in (("x", nhwc(x)), ("gamma", gamma), ("beta", beta), ("y", nhwc(y)), ("dy", nhwc(dy)),
                               ("dx", nhwc(x.grad)), ("dgamma", gamma.grad), ("dbeta", beta.grad)):
                out[f"{name}/{key}"] = value
            if residual:
                out[f"{name}/residual"], out[f"{name}/dresidual"] = nhwc(add), nhwc(add.grad)


def activations(out):
    kinds = {"silu": F.silu, "hardswish": F.hardswish, "sigmoid": torch.sigmoid, "hardsigmoid": F.hardsigmoid,
             "gelu": F.gelu, "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x)}
    for kind, act in kinds.items():
        x = leaf(f"activation/{kind}/x", (7, 23), 6.0)
        y = act(x)
        dy = noise(f"activation/{kind}/dy", y.shape)
        y.backward(dy)
        for key, value in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
            out[f"activation/{kind}/{key}"] = value


def channels(out):
    x, s = leaf("scale_channels/x", (2, 11, 5, 4)), leaf("scale_channels/s", (2, 11))
    y = x * s[:, :, None, None]
    dy = noise("scale_channels/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", nhwc(x)), ("s", s), ("y", nhwc(y)), ("dy", nhwc(dy)), ("dx", nhwc(x.grad)),
                       ("ds", s.grad)):
        out[f"scale_channels/{key}"] = value
    # ShuffleNetV2's unit without its convolutions: half of the channels, twice the other half, shuffled.
    x = leaf("shuffle/x", (2, 12, 3, 4))
    first, second = x.chunk(2, 1)
    y = F.channel_shuffle(torch.cat((first, 2 * second), 1), 3)
    dy = noise("shuffle/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
        out[f"shuffle/{key}"] = nhwc(value)


def pooling(out):
    # Values on a coarse grid, so that most windows hold their maximum several times; the first one takes the gradient.
    x = (noise("max_pool/x", (2, 8, 11, 10)) * 2).round().div(2).requires_grad_()
    y = F.max_pool2d(x, 3, 2, 1)
    dy = noise("max_pool/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
        out[f"max_pool/{key}"] = nhwc(value)
    x = leaf("avg_pool/x", (2, 6, 7, 8))
    y = F.avg_pool2d(x, 3, 2, 1)
    dy = noise("avg_pool/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
        out[f"avg_pool/{key}"] = nhwc(value)
    x = leaf("mean_hw/x", (3, 10, 5, 4))
    y = F.adaptive_avg_pool2d(x, 1).flatten(1)
    dy = noise("mean_hw/dy", y.shape)
    y.backward(dy)
    out["mean_hw/x"], out["mean_hw/y"], out["mean_hw/dy"], out["mean_hw/dx"] = nhwc(x), y, dy, nhwc(x.grad)


def linear_and_softmax(out):
    x, w, b = leaf("linear/x", (5, 18)), leaf("linear/w", (7, 18)), leaf("linear/b", (7,))
    y = F.linear(x, w, b)
    dy = noise("linear/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("w", w), ("b", b), ("y", y), ("dy", dy), ("dx", x.grad), ("dw", w.grad),
                       ("db", b.grad)):
        out[f"linear/{key}"] = value
    x = noise("softmax/x", (6, 33), scale=4.0)
    out["softmax/x"], out["softmax/temperature"] = x, torch.tensor(0.2)
    out["softmax/y"], out["softmax/log_y"] = F.softmax(x / 0.2, 1), F.log_softmax(x / 0.2, 1)


def transformers(out):
    """Attention with every token and with only the first as query; a patch embedding by a convolution, as in PyTorch."""
    x = leaf("layer_norm/x", (3, 4, 20), 2.0)
    gamma, beta = leaf("layer_norm/gamma", (20,)), leaf("layer_norm/beta", (20,))
    y = F.layer_norm(x, (20,), gamma, beta, 1e-6)
    dy = noise("layer_norm/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("gamma", gamma), ("beta", beta), ("y", y), ("dy", dy), ("dx", x.grad),
                       ("dgamma", gamma.grad), ("dbeta", beta.grad)):
        out[f"layer_norm/{key}"] = value

    for name, (n, t, heads, channels, queries) in {"all": (2, 19, 3, 8, 19), "first": (3, 10, 2, 20, 1)}.items():
        qkv = leaf(f"attention/{name}/qkv", (n, t, 3 * heads * channels), 2.0)
        q, k, v = qkv.unflatten(2, (3, heads, channels)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q[:, :, :queries], k, v).transpose(1, 2).flatten(2)
        dy = noise(f"attention/{name}/dy", y.shape)
        y.backward(dy)
        out[f"attention/{name}/options"] = torch.tensor([heads, queries])
        for key, value in (("qkv", qkv), ("y", y), ("dy", dy), ("dqkv", qkv.grad)):
            out[f"attention/{name}/{key}"] = value

    x, w, b = leaf("embedding/x", (2, 3, 8, 12)), leaf("embedding/w", (10, 3, 4, 4)), leaf("embedding/b", (10,))
    first, position = leaf("embedding/first", (10,)), leaf("embedding/position", (7, 10))
    tokens = F.conv2d(x, w, b, 4).flatten(2).transpose(1, 2)
    y = torch.cat((first.expand(2, 1, -1), tokens), 1) + position
    mean = y[:, 1:].mean(1)
    dy, dmean = noise("embedding/dy", y.shape), noise("embedding/dmean", mean.shape)
    ((y * dy).sum() + (mean * dmean).sum()).backward()
    for key, value in (("x", nhwc(x)), ("w", nhwc(w).flatten(1)), ("b", b), ("first", first), ("position", position),
                       ("y", y), ("mean", mean), ("dy", dy), ("dmean", dmean), ("dx", nhwc(x.grad)),
                       ("dw", nhwc(w.grad).flatten(1)), ("db", b.grad), ("dfirst", first.grad),
                       ("dposition", position.grad)):
        out[f"embedding/{key}"] = value

    x = leaf("normalize_rows/x", (6, 11))
    y = F.normalize(x, dim=1)
    dy = noise("normalize_rows/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
        out[f"normalize_rows/{key}"] = value


def losses(out):
    """CoSS at the released temperatures (0.1, 0.07). The teacher has a zero row and a zero column, as features after a
    ReLU do."""
    scale = 1.0 / (0.1 * 0.07)
    for rows, width, row_weight, column_weight in ((7, 5, 1.0, 1.0), (16, 64, 1.0, 0.5), (33, 130, 1.0, 1.0)):
        name = f"coss/{rows}x{width}"
        student, teacher = leaf(f"{name}/student", (rows, width), 2.0), noise(f"{name}/teacher", (rows, width)).relu()
        teacher[3], teacher[:, 2] = 0, 0
        total, row_term, column_term = coss(student, teacher, scale, row_weight, column_weight)
        total.backward()
        out[f"{name}/options"] = torch.tensor([scale, row_weight, column_weight])
        out[f"{name}/student"], out[f"{name}/teacher"] = student, teacher
        out[f"{name}/terms"] = torch.stack([total, row_term, column_term])
        out[f"{name}/dstudent"] = student.grad
    logits = leaf("cross_entropy/logits", (9, 11), 5.0)
    labels = torch.tensor([3, 0, -1, 10, 7, -1, 7, 1, 2])
    loss = F.cross_entropy(logits, labels, ignore_index=-1)
    loss.backward()
    out["cross_entropy/logits"], out["cross_entropy/labels"] = logits, labels
    out["cross_entropy/loss"], out["cross_entropy/dlogits"] = loss, logits.grad


def make(folder):
    out = {}
    for part in (convolutions, norms, activations, channels, pooling, linear_and_softmax, transformers, losses):
        part(out)
    save(folder, "ops", out)
