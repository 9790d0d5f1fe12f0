"""Goldens of single operations: convolution, fused norm, pooling, linear, softmax, losses. Inputs are stored beside the
results, all in the engine's layouts: images (N,H,W,C), convolution weights (K,R,S,C/groups), depthwise (R,S,C)."""
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
}


def leaf(name, shape, scale=1.0):
    return noise(name, shape, scale=scale).requires_grad_()


def convolutions(out):
    for name, (n, h, w, c, k, window, stride, pad, dilation, groups) in CONVOLUTIONS.items():
        depthwise = name.startswith("depthwise")
        x = leaf(f"conv/{name}/x", (n, c, h, w))
        weight = leaf(f"conv/{name}/w", (k, c // groups, window, window))
        y = F.conv2d(x, weight, None, stride, pad, dilation, groups)
        dy = noise(f"conv/{name}/dy", y.shape)
        y.backward(dy)
        to_engine = rsc if depthwise else nhwc
        out[f"conv/{name}/options"] = torch.tensor([stride, pad, dilation, groups, int(depthwise)])
        for key, value in (("x", nhwc(x)), ("w", to_engine(weight)), ("y", nhwc(y)), ("dy", nhwc(dy)),
                           ("dx", nhwc(x.grad)), ("dw", to_engine(weight.grad))):
            out[f"conv/{name}/{key}"] = value


def norms(out):
    activations = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6}
    for kind, act in activations.items():
        for residual in (False, True):
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


def pooling(out):
    # Values on a coarse grid, so that most windows hold their maximum several times; the first one takes the gradient.
    x = (noise("max_pool/x", (2, 8, 11, 10)) * 2).round().div(2).requires_grad_()
    y = F.max_pool2d(x, 3, 2, 1)
    dy = noise("max_pool/dy", y.shape)
    y.backward(dy)
    for key, value in (("x", x), ("y", y), ("dy", dy), ("dx", x.grad)):
        out[f"max_pool/{key}"] = nhwc(value)
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
    for part in (convolutions, norms, pooling, linear_and_softmax, losses):
        part(out)
    save(folder, "ops", out)
