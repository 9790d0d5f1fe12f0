"""Goldens of the methods with memory banks and mixtures: CRD's loss, BINGO's and BYOL's, value and gradient in float64.

CRD's negatives are given: as many are drawn as there are images of other classes, so that each is drawn once, whatever
the order. Inputs come from their names (golden_support.noise); rows of unit length are made on both sides.
"""
import torch
import torch.nn.functional as F

from golden_support import noise, save

# name: rows, width, images, classes, temperature, whether the constants are there already
CRD = {"first": (5, 7, 12, 3, 0.5, False), "later": (3, 16, 22, 2, 0.07, True), "wide": (9, 33, 30, 5, 0.2, False)}
EPS = 1e-7


def unit(name, shape):
    return F.normalize(noise(name, shape), dim=1)


def crd(out, name, rows, width, images, classes, temperature, given):
    labels = torch.arange(images) % classes
    indices = torch.arange(rows) * 5 % images
    banks = [unit(f"{name}/teacher_bank", (images, width)), unit(f"{name}/student_bank", (images, width))]
    sides = [unit(f"{name}/{side}", (rows, width)).requires_grad_() for side in ("student", "teacher")]
    negatives = images - images // classes  # all classes are of one size
    total, parts, constants = 0, [], []
    for side, bank in zip(sides, banks):
        score = torch.exp(side @ bank.T / temperature)  # (rows, images)
        own = F.one_hot(indices, images).bool()
        other = labels[indices][:, None] != labels[None, :]
        chosen = score[own | other].detach()
        constant = torch.tensor(40.0 * images).double() if given else chosen.mean() * images
        probability = score / constant
        mu = negatives / images
        positive = (probability / (probability + mu + EPS)).log()[own].sum()
        negative = (mu / (probability + mu + EPS)).log()[other].sum()
        parts.append(-(positive + negative) / rows)
        constants.append(constant)
    total = sum(parts)
    total.backward()
    out[f"crd/{name}/terms"] = torch.stack([total, *parts]).detach()
    out[f"crd/{name}/constants"] = torch.stack(constants)
    out[f"crd/{name}/dstudent"], out[f"crd/{name}/dteacher"] = sides[0].grad, sides[1].grad


def bingo(out, name, rows, width, queue_rows, temperature, weights, share):
    q, qp, qm = [unit(f"{name}/{part}", (rows, width)).requires_grad_() for part in ("anchor", "neighbour", "mixed")]
    k, kp = unit(f"{name}/anchor_key", (rows, width)), unit(f"{name}/neighbour_key", (rows, width))
    queue = unit(f"{name}/queue", (queue_rows, width))

    def contrast(x, key):
        logits = torch.cat([(x * key).sum(1, keepdim=True), x @ queue.T], 1) / temperature
        return F.cross_entropy(logits, torch.zeros(rows, dtype=torch.long))

    anchor = weights[0] * contrast(q, k) + weights[1] * contrast(q, kp)
    neighbour = weights[0] * contrast(qp, kp) + weights[1] * contrast(qp, k)
    total = (anchor + neighbour + share * contrast(qm, k) + (1 - share) * contrast(qm, kp)) / 3
    total.backward()
    out[f"bingo/{name}/total"] = total.detach().reshape(1)
    for part, x in (("anchor", q), ("neighbour", qp), ("mixed", qm)):
        out[f"bingo/{name}/d{part}"] = x.grad


def byol(out, name, rows, width):
    first, second = [noise(f"{name}/{part}", (rows, width)).requires_grad_() for part in ("first", "second")]
    targets = [noise(f"{name}/{part}_target", (rows, width)) for part in ("first", "second")]
    distance = lambda x, y: ((F.normalize(x, dim=1) - F.normalize(y, dim=1)) ** 2).sum(1).mean()
    loss = distance(first, targets[1]) + distance(second, targets[0]) - 4
    loss.backward()
    out[f"byol/{name}/total"] = loss.detach().reshape(1)
    out[f"byol/{name}/dfirst"], out[f"byol/{name}/dsecond"] = first.grad, second.grad


def make(folder):
    out = {}
    for name, case in CRD.items():
        crd(out, name, *case)
    bingo(out, "early", 3, 7, 19, 0.2, (1, 0), 0.75)
    bingo(out, "late", 5, 16, 41, 0.1, (0.5, 0.5), 0.375)
    bingo(out, "one", 1, 33, 10, 0.5, (0.5, 0.5), 0.0)
    for name, rows, width in (("small", 3, 5), ("odd", 7, 17), ("row", 1, 9)):
        byol(out, name, rows, width)
    save(folder, "bank", out)
