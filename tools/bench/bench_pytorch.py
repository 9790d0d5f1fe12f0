#!/usr/bin/env python3
"""A CoSS training step in PyTorch (channels-last, eager or compiled) and in coss, side by side, on a CPU or a GPU.

The two run in turn, each in a process of its own, for several rounds, so that a machine that drifts drifts under both;
what counts is the ratio of each round. Images are synthetic. A step is: teacher forward (eval, no gradient), student
forward and backward, head Linear-ReLU-Linear where the widths differ, CoSS loss, SGD. bf16 is torch.autocast over fp32
weights in PyTorch.

  python tools/bench/bench_pytorch.py --teacher resnet50 --student resnet18 --size 224 --batch 64 --dtype bf16 \\
      --coss build/cpu/coss

  python tools/bench/bench_pytorch.py --device cuda --compile --batch 1024 --dtype bf16 --coss build/cuda/coss
  python tools/bench/bench_pytorch.py --device cuda --data imagenet --workers 16 --batch 256 --coss build/cuda/coss

Needs torch and torchvision. Without --coss PyTorch is measured alone. `bench_pytorch.py losses --help`: of the losses.
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
    parser.add_argument("--dtype", choices=["fp32", "tf32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile the step's networks and loss")
    parser.add_argument("--data", help="folder of class folders: time feeding images only")
    parser.add_argument("--workers", type=int, default=2, help="that decode images, with --data")
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


def median_seconds(work, steps, device):
    """As in `coss bench`: on a GPU, groups of steps run without waiting in between."""
    import torch

    gpu = device == "cuda"
    finish = torch.cuda.synchronize if gpu else lambda: None
    for _ in range(3 if gpu else 1):
        work()
    finish()
    times, group, groups = [], steps if gpu else 1, 5 if gpu else steps
    for _ in range(groups):
        begin = time.perf_counter()
        for _ in range(group):
            work()
        finish()
        times.append((time.perf_counter() - begin) / group)
    return statistics.median(times)


def memory_taken(device):
    """Bytes that the process has taken: the peak of host memory, or the GPU memory with all that is cached."""
    import torch

    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return total - free
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def feed_worker(args):
    """Measures PyTorch's loader: Pillow, MoCo-v2 augmentation, batches on the device."""
    import random

    import torch
    from PIL import ImageFilter
    from torchvision import datasets, transforms

    def blur(image):
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))

    recipe = transforms.Compose([
        transforms.RandomResizedCrop(args.size, scale=(0.2, 1.0)),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.RandomApply([transforms.Lambda(blur)], p=0.5),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    folder = os.path.join(args.data, "train")
    images = datasets.ImageFolder(folder if os.path.isdir(folder) else args.data, recipe)

    def batches():
        loader = torch.utils.data.DataLoader(images, args.batch, shuffle=True, num_workers=args.workers,
                                             drop_last=len(images) >= args.batch, pin_memory=args.device == "cuda",
                                             persistent_workers=True, multiprocessing_context="fork")
        while True:
            yield from loader

    feed, count, begin = batches(), 0, 0.0
    for step in range(-2, args.steps):
        if step == 0:
            count, begin = 0, time.perf_counter()
        batch = next(feed)[0].to(args.device, non_blocking=True)
        count += len(batch)
    if args.device == "cuda":
        torch.cuda.synchronize()
    print(json.dumps({"images_per_second": count / (time.perf_counter() - begin)}))


def worker(args):
    """Measures PyTorch; prints what `coss bench --json` prints."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.dtype == "tf32"
    teacher, teacher_width = build(args.teacher)
    student, student_width = build(args.student)
    head = nn.Identity()
    if student_width != teacher_width:
        head = nn.Sequential(nn.Linear(student_width, 2048), nn.ReLU(), nn.Linear(2048, teacher_width))
    teacher.eval().requires_grad_(False)
    for net in (teacher, student, head):
        net.to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=1e-4, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(args.device, enabled=args.dtype == "fp16")
    images = torch.randn(args.batch, 3, args.size, args.size).to(args.device, memory_format=torch.channels_last)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(args.dtype)

    def precision():
        return torch.autocast(args.device, half) if half else contextlib.nullcontext()

    def target():
        with torch.no_grad(), precision():
            return teacher(images)

    def cosine(a, b, dim):
        return (F.normalize(a, dim=dim) * F.normalize(b, dim=dim)).sum(dim).mean()

    def loss_of(wanted):
        with precision():
            got = head(student(images))
        got = got.float()
        return -(cosine(got, wanted, 1) + cosine(got, wanted, 0)) / (0.1 * 0.07)

    if args.compile:
        target, loss_of = torch.compile(target), torch.compile(loss_of)

    def step():
        loss = loss_of(target().float())
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    whole = median_seconds(step, args.steps, args.device)
    peak = memory_taken(args.device)
    alone = median_seconds(target, args.steps, args.device)
    print(json.dumps({"images_per_second": args.batch / whole, "teacher_images_per_second": args.batch / alone,
                      "student_images_per_second": args.batch / max(whole - alone, 1e-9), "peak_bytes": peak,
                      "steps": args.steps}))


def measure(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return json.loads(result.stdout)


def options_of(args, names):
    out = []
    for name in names:
        out += [f"--{name}", str(getattr(args, name))]
    return out


def commands(args):
    """The two programs, each of which prints one JSON object."""
    python = [sys.executable, os.path.abspath(__file__), "--worker", "--dtype", args.dtype,
              *(["--compile"] if args.compile else [])]
    coss = [os.path.abspath(args.coss or "coss"), "bench"]
    if args.data:
        shared = options_of(args, ("data", "size", "batch", "workers", "steps", "device"))
        coss += ["data", *shared, "--dtype", "bf16"]
    else:
        shared = options_of(args, ("teacher", "student", "size", "batch", "steps", "threads", "device"))
        coss += [*shared, *(["--dtype", "fp32", "--tf32"] if args.dtype == "tf32" else ["--dtype", args.dtype])]
    programs = {"pytorch": [*python, *shared]}
    if args.coss:
        programs["coss"] = [*coss, "--json"]
    return programs


def medians(runs):
    return {key: statistics.median(run[key] for run in runs) for key, value in runs[0].items()
            if key != "steps" and isinstance(value, (int, float))}


def main():
    args = parse()
    if args.worker:
        (feed_worker if args.data else worker)(args)
        return
    programs = commands(args)
    runs = {name: [] for name in programs}
    for i in range(args.rounds):
        for name, command in programs.items():
            runs[name].append(measure(command))
            if not args.json:
                print(f"round {i + 1}: {name} {runs[name][-1]['images_per_second']:.1f} images/s", file=sys.stderr)

    names = ("data", "size", "batch", "workers", "device") if args.data else (
        "teacher", "student", "size", "batch", "dtype", "device", "threads", "compile")
    report = {name: getattr(args, name) for name in names}
    report.update({name: medians(list_of_runs) for name, list_of_runs in runs.items()})
    if args.coss:
        ratios = [c["images_per_second"] / p["images_per_second"] for p, c in zip(runs["pytorch"], runs["coss"])]
        report["ratios"], report["ratio"] = ratios, statistics.median(ratios)
    if args.json:
        print(json.dumps(report))
        return
    print(", ".join(f"{name} {report[name]}" for name in names))
    columns = {"images_per_second": "images/s", "teacher_images_per_second": "teacher",
               "student_images_per_second": "student", "peak_bytes": "peak GB"}
    for name in programs:
        row = [f"{title} {report[name][key] / (1e9 if key == 'peak_bytes' else 1):.2f}"
               for key, title in columns.items() if key in report[name]]
        print(f"{name:10}{', '.join(row)}")
    if args.coss:
        listed = ", ".join(f"{ratio:.2f}" for ratio in report["ratios"])
        print(f"coss / PyTorch: {report['ratio']:.2f} (rounds: {listed})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["losses"]:
        import bench_pytorch_losses
        bench_pytorch_losses.main(sys.argv[2:])
    else:
        main()
