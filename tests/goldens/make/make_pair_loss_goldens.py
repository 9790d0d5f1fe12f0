"""Goldens of the losses over pairs of rows: NCE, CC, SMD and SimCLR's NT-Xent; value and gradient of three random
batches each."""
import torch
import torch.nn.functional as F

from golden_support import noise, save

BATCHES = [(5, 7, 2), (13, 33, 4), (37, 19, 3)]  # rows, width, classes


def leaf(name, shape, seed):
    return noise(name, shape, seed).requires_grad_()


def nce(student, teacher, labels, temperature=0.1):
    p = torch.softmax(F.cosine_similarity(student[:, None], teacher[None], dim=2) / temperature, dim=1)
    total = 0
    for i in range(len(labels)):
        same = labels == labels[i]
        total = total - (p[i, same] + 1e-10).log().mean()
        if not same.all():
            total = total - (1 - p[i, ~same] + 1e-10).log().mean()
    return total / len(labels)


def cc(student, teacher):
    delta = (student - teacher).abs()
    return torch.stack([delta[i] @ delta[i + 1] for i in range(len(delta) - 1)]).mean()


def smd(student, teacher, tau=0.04):
    student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
    total = 0
    for i in range(len(student)):
        target = (teacher - teacher[i]).norm(dim=1).clamp(min=1e-6)
        distance = torch.stack([(teacher[i] - row).norm() for row in student]).clamp(min=1e-6)
        negative = target > distance[i]
        n = torch.where(negative, distance, torch.inf).argmin()
        p = torch.where(negative, -torch.inf, distance).argmax()
        logits = torch.zeros(2, dtype=torch.float64)
        if negative.any():
            logits[0] = (target[n] - distance[n]).detach().clamp(min=0) * distance[n] / tau
        logits[1] = (distance[p] - target[p]).detach().clamp(min=0) * distance[p] / tau
        total = total + F.cross_entropy(logits[None], torch.tensor([0]))
    return total / len(student)


def nt_xent(rows, temperature=0.5):
    n = len(rows)
    cosines = F.cosine_similarity(rows[:, None], rows[None], dim=2) / temperature
    logits = torch.stack([torch.cat([cosines[i, :i], cosines[i, i + 1:]]) for i in range(n)])
    partner = torch.tensor([i + n // 2 - 1 if i < n // 2 else i - n // 2 for i in range(n)])
    return F.cross_entropy(logits, partner)


def make(folder):
    out = {}
    for seed, (n, width, classes) in enumerate(BATCHES):
        labels = torch.arange(n) * 7 % 11 % classes
        out[f"{seed}/labels"] = labels
        shapes = {"nce": n, "cc": n, "smd": n, "nt_xent": 2 * n}
        for name, count in shapes.items():
            student = leaf(f"pairs/{name}/student", (count, width), seed)
            teacher = leaf(f"pairs/{name}/teacher", (count, width), seed)
            # The student is near its teacher; otherwise SMD would have no negatives.
            near = student
            if name == "smd":
                near = (0.3 * student + teacher).detach().float().double().requires_grad_()
            loss = {"nce": lambda: nce(near, teacher.detach(), labels), "cc": lambda: cc(near, teacher),
                    "smd": lambda: smd(near, teacher.detach()), "nt_xent": lambda: nt_xent(near)}[name]()
            loss.backward()
            out[f"{seed}/{name}/student"], out[f"{seed}/{name}/dstudent"] = near, near.grad
            out[f"{seed}/{name}/loss"] = loss
            if name != "nt_xent":
                out[f"{seed}/{name}/teacher"] = teacher
            if name == "cc":
                out[f"{seed}/{name}/dteacher"] = teacher.grad
    save(folder, "pair_loss", out)
