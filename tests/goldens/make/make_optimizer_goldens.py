"""Goldens of optimizers, schedules and averages: a few updates of two small tensors with given gradients."""
import torch

from golden_support import noise, save

STEPS = 5
SHAPES = {"weight": (6, 10), "other": (9, 3)}


def start():
    return [noise(f"optimizer/{name}", shape).requires_grad_() for name, shape in SHAPES.items()]


def gradients(step):
    return [noise(f"optimizer/{name}/grad", shape, seed=step) for name, shape in SHAPES.items()]


class Lars:
    """You et al., "Large batch training of convolutional networks": each tensor's gradient, decay included, is scaled
    by trust * |w| / (|g| + decay * |w|), then goes through plain momentum."""

    def __init__(self, weights, lr, momentum, weight_decay, trust=0.001, eps=1e-8):
        self.weights, self.lr, self.momentum, self.decay = weights, lr, momentum, weight_decay
        self.trust, self.eps = trust, eps
        self.velocity = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self):
        for weight, velocity in zip(self.weights, self.velocity):
            size = weight.norm()
            ratio = self.trust * size / (weight.grad.norm() + self.decay * size + self.eps)
            velocity.mul_(self.momentum).add_(ratio * (weight.grad + self.decay * weight))
            weight.sub_(self.lr * velocity)


OPTIMIZERS = {
    "sgd": lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd_plain": lambda w: torch.optim.SGD(w, lr=0.1),
    "sgd_nesterov": lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adamw": lambda w: torch.optim.AdamW(w, lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
    # The usual trust of 0.001 would change too little in five steps.
    "lars": lambda w: Lars(w, lr=1.0, momentum=0.9, weight_decay=0.01, trust=0.1),
}


def optimizers(out):
    for step in range(STEPS):
        for name, value in zip(SHAPES, gradients(step)):
            out[f"grad/{step}/{name}"] = value
    for name, value in zip(SHAPES, start()):
        out[f"start/{name}"] = value
    for kind, make_one in OPTIMIZERS.items():
        weights = start()
        optimizer = make_one(weights)
        average = [w.detach().clone() for w in weights]
        for step in range(STEPS):
            for weight, grad in zip(weights, gradients(step)):
                weight.grad = grad
            optimizer.step()
            for mean, weight in zip(average, weights):
                mean.lerp_(weight.detach(), 0.1)
        for name, weight, mean in zip(SHAPES, weights, average):
            out[f"{kind}/{name}"] = weight
            if kind == "sgd":
                out[f"ema/{name}"] = mean  # decay 0.9


def rates(make_scheduler, steps, base=0.03):
    optimizer = torch.optim.SGD([torch.zeros(1, dtype=torch.float64)], lr=base)
    scheduler = make_scheduler(optimizer)
    out = []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor(out, dtype=torch.float64)


def schedules(out):
    lr = torch.optim.lr_scheduler
    out["schedule/cosine"] = rates(lambda o: lr.CosineAnnealingLR(o, 20), 20)
    out["schedule/cosine_final"] = rates(lambda o: lr.CosineAnnealingLR(o, 20, eta_min=0.003), 20)
    out["schedule/step"] = rates(lambda o: lr.MultiStepLR(o, [6, 12], 0.1), 20)
    out["schedule/warmup_cosine"] = rates(
        lambda o: lr.SequentialLR(o, [lr.LinearLR(o, 0.1, 1.0, 5), lr.CosineAnnealingLR(o, 15)], [5]), 20)


def make(folder):
    out = {}
    optimizers(out)
    schedules(out)
    save(folder, "optimizers", out)
