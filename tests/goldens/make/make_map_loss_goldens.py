"""Losses over feature maps (FitNet, AT, NST, VID, FT) from PyTorch in double: three random batches of odd sizes, value
and gradient, each written down from its formula. Keys: "0.student" (N,H,W,C), "0.at.loss", "0.at.gradient" ..."""
import os

import torch
from torch.nn import functional as F

from safetensors.torch import save_file

SIZES = [(3, 5, 3, 7, 11), (5, 2, 3, 13, 4), (2, 7, 7, 6, 9)]  # images, height, width, channels of student and teacher


def unit_map(x):
    return F.normalize(x.square().mean(1).flatten(1), dim=1)


def at(student, teacher):
    return (unit_map(student) - unit_map(teacher)).square().mean()


def nst(student, teacher):
    x, y = (F.normalize(maps.flatten(2), dim=2) for maps in (student, teacher))

    def mean_kernel(a, b):
        return torch.einsum("ncp,ndp->ncd", a, b).square().mean()

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def ft_map(student, teacher):
    return (unit_map(student) - unit_map(teacher)).abs().mean()


def ft_whole(student, teacher):
    return (F.normalize(student.flatten(1), dim=1) - F.normalize(teacher.flatten(1), dim=1)).abs().mean()


def vid(student, teacher, spread):
    variance = (F.softplus(spread) + 1e-5)[None, :, None, None]
    return F.gaussian_nll_loss(student, teacher, variance.expand_as(student), eps=0)


def make(folder):
    torch.manual_seed(6)
    tensors = {}
    for batch, (images, height, width, channels, of_teacher) in enumerate(SIZES):
        def drawn(count):
            return torch.randn(images, count, height, width).double()  # with the precision of the file

        def keep(key, value, in_nhwc=True):
            value = value.detach().float()
            tensors[f"{batch}.{key}"] = (value.permute(0, 2, 3, 1) if in_nhwc else value).contiguous()

        student, teacher, alike = drawn(channels).requires_grad_(), drawn(of_teacher), drawn(channels)
        spread = torch.randn(channels).mul(2).double().requires_grad_()
        keep("student", student)
        keep("teacher", teacher)
        keep("alike", alike)
        keep("spread", spread, False)
        losses = {"mse": F.mse_loss(student, alike), "at": at(student, teacher), "nst": nst(student, teacher),
                  "ft_map": ft_map(student, teacher), "ft_whole": ft_whole(student, alike),
                  "vid": vid(student, alike, spread)}
        for name, loss in losses.items():
            keep(f"{name}.loss", loss.reshape(1), False)
            gradient, of_spread = torch.autograd.grad(loss, [student, spread], allow_unused=True)
            keep(f"{name}.gradient", gradient)
            if of_spread is not None:
                keep(f"{name}.spread_gradient", of_spread, False)
    save_file(tensors, os.path.join(folder, "map_loss.safetensors"))
