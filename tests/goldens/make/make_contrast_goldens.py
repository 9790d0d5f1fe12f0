"""Goldens of the losses with queues: SEED, CompRess, InfoNCE and DisCo's squared distance; value and gradient of three
random batches each."""
import torch
import torch.nn.functional as F

from golden_support import noise, save

BATCHES = [(5, 7, 9, 11), (13, 33, 20, 67), (37, 19, 19, 130)]  # rows, width, teacher's width, queue


def seed(student, teacher, queue, student_temperature, teacher_temperature):
    student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
    total = 0
    for s, t in zip(student, teacher):
        dictionary = torch.cat([t[None], queue])
        p = torch.softmax(dictionary @ t / teacher_temperature, 0)
        total = total - (p * torch.log_softmax(dictionary @ s / student_temperature, 0)).sum()
    return total / len(student)


def compress(student, student_queue, teacher, teacher_queue, temperature):
    log_s = torch.log_softmax(F.normalize(student, dim=1) @ student_queue.T / temperature, 1)
    log_t = torch.log_softmax(F.normalize(teacher, dim=1) @ teacher_queue.T / temperature, 1)
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


def info_nce(query, key, queue, temperature):
    query, key = F.normalize(query, dim=1), F.normalize(key, dim=1)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long))


def distance(student, teacher):
    gap = F.normalize(student, dim=1) - F.normalize(teacher, dim=1)
    return F.mse_loss(gap, torch.zeros_like(gap), reduction="sum") / len(student)


def make(folder):
    out = {}
    for batch, (n, width, teacher_width, keys) in enumerate(BATCHES):
        student = noise("student", (n, width), batch).requires_grad_()
        alike, teacher = noise("alike", (n, width), batch), noise("teacher", (n, teacher_width), batch)
        queue = F.normalize(noise("queue", (keys, width), batch), dim=1)
        teacher_queue = F.normalize(noise("teacher_queue", (keys, teacher_width), batch), dim=1)
        losses = {
            "seed": seed(student, alike, queue, 0.2, 0.07),
            "seed_sharp": seed(student, alike, queue, 0.2, 1e-4),
            "compress": compress(student, queue, teacher, teacher_queue, 0.04),
            "info_nce": info_nce(student, alike, queue, 0.2),
            "distance": distance(student, alike),
        }
        for name, loss in losses.items():
            out[f"{batch}/{name}"] = loss
            out[f"{batch}/{name}/gradient"] = torch.autograd.grad(loss, student)[0]
    save(folder, "contrast", out)
