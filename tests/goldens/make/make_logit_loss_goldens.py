"""Goldens of the losses between logits and of those that take features for logits: terms and gradients of the student,
from the papers' formulas in float64. Inputs are computed from their names on both sides."""
import torch
import torch.nn.functional as F

from golden_support import noise, save

SHAPES = ((5, 7), (13, 18), (9, 33))


def divergence(t, s):
    return (t * (t.log() - s.log())).sum(1).mean()


def kd(s, t, labels, tau=4.0):
    loss = tau**2 * F.kl_div(F.log_softmax(s / tau, 1), F.softmax(t / tau, 1), reduction="batchmean")
    return [loss]


def soft_cross_entropy(s, t):
    return -(F.softmax(t / 0.07, 1) * F.log_softmax(s / 0.1, 1)).sum(1).mean()


def dino(s, t, labels):
    return [soft_cross_entropy(s, t)]


def dinoss(s, t, labels):
    rows, columns = soft_cross_entropy(s, t), soft_cross_entropy(s.T, t.T)
    return [rows + 0.5 * columns, rows, columns]


def dist(s, t, labels):
    p, q = F.softmax(s / 0.1, 1), F.softmax(t / 0.07, 1)

    def distance(a, b):
        both = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b)]
        return 1 - torch.stack(both).mean()

    rows, columns = distance(p, q), distance(p.T, q.T)
    return [rows + columns, rows, columns]


def dkd(s, t, labels, tau=4.0):
    """The two divergences, written with probabilities; rows without a label do not count."""
    kept = labels >= 0
    p, q = F.softmax(s[kept] / tau, 1), F.softmax(t[kept] / tau, 1)
    own = F.one_hot(labels[kept], s.shape[1]).bool()

    def coin(x):
        return torch.stack((x[own], x.masked_fill(own, 0).sum(1)), 1)

    def others(x):
        return (x[~own] / (1 - x[own]).repeat_interleave(x.shape[1] - 1)).reshape(len(x), -1)

    target, other = tau**2 * divergence(coin(q), coin(p)), tau**2 * divergence(others(q), others(p))
    return [1 * target + 8 * other, target, other]


def make(folder):
    out = {}
    for loss in (kd, dino, dinoss, dist, dkd):
        for rows, width in SHAPES:
            name = f"{loss.__name__}/{rows}x{width}"
            scale = 5.0 if loss in (kd, dkd) else 0.5
            s, t = (noise(f"{name}/{side}", (rows, width), scale=scale) for side in ("student", "teacher"))
            labels = torch.tensor([-1 if r % 4 == 3 else r * 7 % width for r in range(rows)])
            terms = loss(s.requires_grad_(), t, labels)
            terms[0].backward()
            out[f"{name}/terms"], out[f"{name}/dstudent"] = torch.stack(terms), s.grad
    save(folder, "logit_loss", out)
