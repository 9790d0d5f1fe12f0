"""Goldens of the losses over relations between rows, in float64: each formula in plain PyTorch, from features to loss,
with the full tensors (N,N,N) and (N,N,D) where the engine has none. Values and gradients of three
random batches, whose features both sides draw by their names."""
import torch
import torch.nn.functional as F

from golden_support import noise, save

BATCHES = [(7, 5, 9), (13, 11, 4), (19, 33, 33)]  # rows, widths of student and teacher


def unit_rows(x):
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


def sp(s, t):
    return ((unit_rows(s @ s.T) - unit_rows(t @ t.T)) ** 2).sum() / len(s) ** 2


def pkt(s, t):
    def probabilities(x):
        x = x / x.norm(dim=1, keepdim=True).clamp(min=1e-7)
        p = (x @ x.T + 1) / 2
        return p / p.sum(dim=1, keepdim=True)

    p, q = probabilities(s), probabilities(t)
    return (q * ((q + 1e-7) / (p + 1e-7)).log()).mean()


def squares(x):
    """(N,N) from explicit differences."""
    return ((x[:, None] - x[None]) ** 2).sum(dim=2)


def rkd(s, t):
    def distances(x):
        apart = 1 - torch.eye(len(x), dtype=x.dtype)
        d = (squares(x) + 1 - apart).clamp(min=1e-12).sqrt() * apart
        return d / d[d > 0].mean()

    def angles(x):
        e = x[None] - x[:, None]  # [corner, end]
        e = e / (e ** 2).sum(dim=2, keepdim=True).clamp(min=1e-24).sqrt()
        return torch.einsum("jid,jkd->jik", e, e)

    distance = F.smooth_l1_loss(distances(s), distances(t))
    angle = F.smooth_l1_loss(angles(s), angles(t))
    return 25 * distance + 50 * angle


def irg(s, t):
    a, b = squares(s), squares(t)
    return ((a / a.max() - b / b.max()) ** 2).mean()


def irg_path(s, t):
    a, b = (s ** 2).sum(dim=1), (t ** 2).sum(dim=1)
    return ((a / a.max() - b / b.max()) ** 2).mean()


def ega(s, t):
    def correlations(x, y):
        n = len(x)
        return torch.corrcoef(torch.cat([x, y]))[:n, n:]

    edges = (correlations(s, s) - correlations(t, t)).norm()
    nodes = (correlations(t, s) - torch.eye(len(s), dtype=s.dtype)).norm()
    return 0.8 * nodes + 0.24 * edges


LOSSES = {"sp": sp, "pkt": pkt, "rkd": rkd, "irg": irg, "irg_path": irg_path, "ega": ega}


def make(folder):
    tensors = {}
    for batch, (rows, of_student, of_teacher) in enumerate(BATCHES):
        for name, loss in LOSSES.items():
            same = name == "ega"  # both sides have one width there
            student = noise("student", (rows, of_student), batch).requires_grad_()
            teacher = noise("teacher", (rows, of_student if same else of_teacher), batch)
            value = loss(student, teacher)
            value.backward()
            key = f"{name}.{batch}"
            tensors[f"{key}.loss"], tensors[f"{key}.gradient"] = value, student.grad
    save(folder, "relation_loss", tensors)
