#!/usr/bin/env python3
"""A CoSS training step in PyTorch (CPU, eager, channels-last) and in coss, side by side.

The two run in turn, each in a process of its own, for several rounds, so that a machine that drifts drifts under both;
what counts is the ratio of each round. Images are synthetic. A step is: teacher forward (eval, no gradient), student
forward and backward, head Linear-ReLU-Linear where the widths differ, CoSS loss, SGD. bf16 is torch.autocast over fp32
weights in PyTorch.

  python tools/bench_pytorch.py --teacher resnet50 --student resnet18 --size 224 --batch 64 --dtype bf16 \\
      --coss build/cpu/coss

Needs torch and torchvision. Without --coss PyTorch is measured alone.
"""
import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time

CIFAR_BLOCKS = {"resnet20_cifar": 3, "resnet32_cifar": 5, "resnet44_cifar": 7, "resnet56_cifar": 9,
                "resnet110_cifar": 18}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--size", type=int, default=224, help="image size")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each program in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--coss", help="the program to compare with, build/cpu/coss")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if min(args.size, args.batch, args.steps, args.rounds, args.threads) < 1:
        parser.error("sizes, steps, rounds and threads must be at least 1")
    if args.coss and not os.access(args.coss, os.X_OK):
        parser.error(f"{args.coss} is not a program; build it with: cmake --preset cpu && cmake --build --preset cpu")
    return args


def cifar_resnet(blocks):
    """He et al.'s network for 32 px with option-A shortcuts, without its classifier."""
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, in_width, width):
            super().__init__()
            self.stride, self.grown = (2, width - in_width) if width > in_width > 3 else (1, 0)
            self.conv1 = nn.Conv2d(in_width, width, 3, self.stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.grown:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.grown // 2, self.grown // 2))
            return F.relu(y + x)

    layers, width = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for out in (16, 32, 64):
        for _ in range(blocks):
            layers.append(Block(width, out))
            width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), width


def build(name):
    """A backbone that gives pooled features, and their width."""
    if name in CIFAR_BLOCKS:
        return cifar_resnet(CIFAR_BLOCKS[name])
    import torchvision
    from torch import nn

    net = getattr(torchvision.models, name)(weights=None)
    head = "fc" if hasattr(net, "fc") else "classifier"
    linear = [m for m in getattr(net, head).modules() if isinstance(m, nn.Linear)][0]
    setattr(net, head, nn.Identity())
    return net, linear.in_features


def median_seconds(work, steps):
    work()
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def worker(args):
    """Measures PyTorch; prints what `coss bench --json` prints."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    teacher, teacher_width = build(args.teacher)
    student, student_width = build(args.student)
    head = nn.Identity()
    if student_width != teacher_width:
        head = nn.Sequential(nn.Linear(student_width, 2048), nn.ReLU(), nn.Linear(2048, teacher_width))
    teacher.eval().requires_grad_(False)
    for net in (teacher, student):
        net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=1e-4, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(args.batch, 3, args.size, args.size).to(memory_format=torch.channels_last)

    def precision():
        return torch.autocast("cpu", torch.bfloat16) if args.dtype == "bf16" else contextlib.nullcontext()

    def target():
        with torch.no_grad(), precision():
            return teacher(images)

    def cosine(a, b, dim):
        return (F.normalize(a, dim=dim) * F.normalize(b, dim=dim)).sum(dim).mean()

    def step():
        wanted = target().float()
        with precision():
            got = head(student(images))
        got = got.float()
        loss = -(cosine(got, wanted, 1) + cosine(got, wanted, 0)) / (0.1 * 0.07)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    whole = median_seconds(step, args.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    alone = median_seconds(target, args.steps)
    print(json.dumps({"images_per_second": args.batch / whole, "teacher_images_per_second": args.batch / alone,
                      "student_images_per_second": args.batch / max(whole - alone, 1e-9), "peak_bytes": peak,
                      "steps": args.steps}))


def measure(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return json.loads(result.stdout)


def shared_options(args):
    out = []
    for name in ("teacher", "student", "size", "batch", "dtype", "steps", "threads"):
        out += [f"--{name}", str(getattr(args, name))]
    return out


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key in runs[0] if key != "steps"}


def main():
    args = parse()
    if args.worker:
        worker(args)
        return
    programs = {"pytorch": [sys.executable, os.path.abspath(__file__), "--worker", *shared_options(args)]}
    if args.coss:
        programs["coss"] = [os.path.abspath(args.coss), "bench", *shared_options(args), "--json"]
    runs = {name: [] for name in programs}
    for i in range(args.rounds):
        for name, command in programs.items():
            runs[name].append(measure(command))
            if not args.json:
                print(f"round {i + 1}: {name} {runs[name][-1]['images_per_second']:.1f} images/s", file=sys.stderr)

    report = {"teacher": args.teacher, "student": args.student, "size": args.size, "batch": args.batch,
              "dtype": args.dtype, "threads": args.threads}
    report.update({name: medians(list_of_runs) for name, list_of_runs in runs.items()})
    if args.coss:
        ratios = [c["images_per_second"] / p["images_per_second"] for p, c in zip(runs["pytorch"], runs["coss"])]
        report["ratios"], report["ratio"] = ratios, statistics.median(ratios)
    if args.json:
        print(json.dumps(report))
        return
    print(f"{args.teacher} -> {args.student}, {args.size} px, batch {args.batch}, {args.dtype}, {args.threads} threads")
    print(f"{'':10}{'images/s':>10}{'teacher':>10}{'student':>10}{'peak GB':>10}")
    for name in programs:
        row = report[name]
        print(f"{name:10}{row['images_per_second']:10.1f}{row['teacher_images_per_second']:10.1f}"
              f"{row['student_images_per_second']:10.1f}{row['peak_bytes'] / 1e9:10.2f}")
    if args.coss:
        listed = ", ".join(f"{ratio:.2f}" for ratio in report["ratios"])
        print(f"coss / PyTorch: {report['ratio']:.2f} (rounds: {listed})")


if __name__ == "__main__":
    main()
