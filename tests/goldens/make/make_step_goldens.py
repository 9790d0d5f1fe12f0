"""Golden of training: ten steps of ResNet-18 with CoSS from a ResNet-50 teacher, batch 8 at 64 px, loss scale 142.857,
SGD 0.03 with momentum 0.9 and weight decay 1e-4 on every parameter; new images in each step.

The run is in float64. The same run in float32 drifts: rounding grows in ten coupled updates, and a ReLU whose input
lies within rounding of zero may open in one run and not in the other. How far PyTorch's own float32 drifts is
printed, and the bounds of the later steps follow from it (4e-4 of the loss after ten).
"""
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from golden_networks import coss
from golden_support import fill, images, save

STEPS, BATCH, SIZE = 10, 8, 64
SCALE = 1.0 / (0.1 * 0.07)
TEACHER_SEED, STUDENT_SEED, HEAD_SEED = 1, 2, 3
# Weights of the student and its head are large enough that the first steps at this rate do not overshoot; where they
# do, float32 rounding grows to per cents within ten steps.
TEACHER_GAIN, STUDENT_GAIN, HEAD_GAIN = 0.7, 2.0, 1.4
# Chosen from fifteen: it keeps the ReLU inputs of the first step furthest from zero, so that rounding flips none.
IMAGE_SEED = 103

# Gradients that are stored: the first values of each, in PyTorch's order.
GRADIENTS = ["student.conv1.weight", "student.layer1.0.bn1.weight", "student.layer1.0.bn1.bias",
             "student.layer2.0.downsample.0.weight", "student.layer4.1.conv2.weight", "head.0.weight", "head.2.bias"]
SLICE = 1024


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = resnet18(weights=None)
        self.student.fc = nn.Identity()
        self.head = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 2048))
        self.teacher = resnet50(weights=None).requires_grad_(False)
        self.teacher.fc = nn.Identity()
        self.double()
        fill(self.student, STUDENT_SEED, STUDENT_GAIN)
        fill(self.head, HEAD_SEED, HEAD_GAIN)
        fill(self.teacher, TEACHER_SEED, TEACHER_GAIN)

    def forward(self, x):
        self.teacher.eval()
        with torch.no_grad():
            target = self.teacher(x)
        return coss(self.head(self.student(x)), target, SCALE)


def run(dtype, out=None):
    """Returns the ten losses as (total, rows, columns)."""
    pair = Pair().to(dtype).train()
    parameters = {name: p for name, p in pair.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    losses = []
    for step in range(STEPS):
        terms = pair(images("step", BATCH, SIZE, IMAGE_SEED + step).to(dtype))
        optimizer.zero_grad()
        terms[0].backward()
        if step == 0 and out is not None:
            for name, parameter in parameters.items():
                out[f"grad_norm/{name}"] = parameter.grad.norm()
            for name in GRADIENTS:
                out[f"grad/{name}"] = parameters[name].grad.flatten()[:SLICE].clone()
        optimizer.step()
        losses.append(torch.stack(terms).detach())
    if out is not None:
        for name in GRADIENTS:
            out[f"weight/{name}"] = parameters[name].flatten()[:SLICE]
        out["stat/student.layer4.1.bn2.running_mean"] = pair.student.layer4[1].bn2.running_mean
        out["stat/student.layer4.1.bn2.running_var"] = pair.student.layer4[1].bn2.running_var
    return torch.stack(losses)


def make(folder):
    out = {}
    out["losses"] = run(torch.float64, out)
    drift = (run(torch.float32).double() / out["losses"] - 1).abs()[:, 0]
    print("step: relative drift of float32:", " ".join(f"{value:.0e}" for value in drift))
    save(folder, "step", out)
