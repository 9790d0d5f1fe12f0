"""Goldens of the operations on matrices that losses are made of (autograd/ops_matrix.cpp): results and gradients."""
import torch
import torch.nn.functional as F

from golden_support import noise, save

OPERATIONS = {
    "product": (lambda a, b: a @ b.T, (7, 5), (11, 5)),
    "gram": (lambda a: a @ a.T, (9, 5)),
    "softmax": (lambda a: F.softmax(a / 0.2, 1), (6, 19)),
    "center_rows": (lambda a: a - a.mean(1, keepdim=True), (5, 13)),
    "transpose": (lambda a: a.T.contiguous(), (18, 7)),
    "stack_rows": (lambda a, b: torch.cat((a, b)), (3, 5), (4, 5)),
    "rows_of": (lambda a: a[2:5], (7, 3)),
    "reshape": (lambda a: a.reshape(4, 9), (6, 6)),
}


def make(folder):
    out = {}
    for name, (operation, *shapes) in OPERATIONS.items():
        inputs = [noise(f"{name}/{i}", shape).requires_grad_() for i, shape in enumerate(shapes)]
        y = operation(*inputs)
        y.backward(noise(f"{name}/dy", y.shape))
        out[f"{name}/y"] = y
        for i, x in enumerate(inputs):
            out[f"{name}/d{i}"] = x.grad
    save(folder, "matrix", out)
