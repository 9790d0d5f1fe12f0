#!/usr/bin/env python3
"""The loss part of a step in plain PyTorch and in coss, side by side: value and gradient from features, logits, maps.

  python tools/bench/bench_pytorch.py losses --coss build/cpu/coss --threads 2
  python tools/bench/bench_pytorch.py losses --coss build/cpu/coss --methods sp,rkd,seed

For each loss the two programs run in turn, each in a process of its own, for several rounds; the medians of the rounds'
ratios count. The CPU ratio is of the processor's time of all threads, which other programs do not stretch. Memory is
the growth of the resident set above the inputs, at its peak, measured by both programs in the same way (Linux resets
the peak on request); on a GPU what the allocators gave out above the inputs. The formulations are those of the papers'
released code, with whole tensors. Needs torch.
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

SIZES = {"batch": 256, "width": 2048, "classes": 1000, "map": 7, "channels": 512, "queue": 65536, "queue-width": 128,
         "negatives": 16384, "bank": 50000}


class Inputs:
    """Random inputs and their sizes; the names of the sizes are the options'."""

    def __init__(self, sizes, batch, device):
        import torch
        self.torch, self.device, self.n, self.sizes = torch, device, batch, sizes
        self.leaves = []
        self.labels = (torch.arange(batch) % 10).to(device)

    def constant(self, *shape):
        return self.torch.randn(*shape, device=self.device)

    def directions(self, *shape):
        return self.torch.nn.functional.normalize(self.constant(*shape), dim=-1)

    def variable(self, tensor):
        self.leaves.append(tensor.requires_grad_())
        return self.leaves[-1]

    def pair(self, *shape):
        return self.variable(self.constant(*shape)), self.constant(*shape)

    def features(self):
        return self.pair(self.n, self.sizes["width"])

    def embeddings(self):
        return self.pair(self.n, self.sizes["queue-width"])

    def logits(self):
        return self.pair(self.n, self.sizes["classes"])

    def maps(self):
        return self.pair(self.n, self.sizes["channels"], self.sizes["map"], self.sizes["map"])

    def queue(self):
        return self.directions(self.sizes["queue"], self.sizes["queue-width"])


def losses():
    """name: function of Inputs that makes the inputs and returns the loss as a function."""
    import torch
    import torch.nn.functional as F

    def divergence(teacher, student, temperature):
        return F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1),
                        reduction="batchmean")

    def soft_cross_entropy(teacher, student):
        return -(F.softmax(teacher, 1) * F.log_softmax(student, 1)).sum(1).mean()

    def attention_map(x):
        return F.normalize(x.pow(2).mean(1).flatten(1))

    def coss(i):
        s, t = i.features()

        def loss():
            rows = (F.normalize(s, dim=1) * F.normalize(t, dim=1)).sum(1).mean()
            return -100 * (rows + (F.normalize(s, dim=0) * F.normalize(t, dim=0)).sum(0).mean())
        return loss

    def kd(i):
        s, t = i.logits()
        return lambda: 16 * divergence(t, s, 4)

    def dino(i):
        s, t = i.features()
        return lambda: soft_cross_entropy(t / 0.07, s / 0.1)

    def dinoss(i):
        s, t = i.features()
        return lambda: soft_cross_entropy(t / 0.07, s / 0.1) + 0.5 * soft_cross_entropy(t.T / 0.07, s.T / 0.1)

    def dist(i):
        s, t = i.features()

        def pearson(a, b):
            return F.cosine_similarity(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True), dim=1).mean()

        def loss():
            p, q = F.softmax(s, 1), F.softmax(t, 1)
            return 2 - pearson(p, q) - pearson(p.T, q.T)
        return loss

    def dkd(i):
        s, t = i.logits()

        def loss():
            own = torch.zeros_like(s).scatter_(1, i.labels[:, None], 1).bool()
            p, q = F.softmax(s / 4, 1), F.softmax(t / 4, 1)
            two_p = torch.stack([(p * own).sum(1), (p * ~own).sum(1)], 1)
            two_q = torch.stack([(q * own).sum(1), (q * ~own).sum(1)], 1)
            target = F.kl_div(two_p.log(), two_q, reduction="batchmean")
            others = divergence(4 * (t / 4 - 1000 * own), 4 * (s / 4 - 1000 * own), 4)
            return 16 * (target + 8 * others)
        return loss

    def fitnet(i):
        s, t = i.maps()
        return lambda: F.mse_loss(s, t)

    def attention(i):
        s, t = i.maps()
        return lambda: (attention_map(s) - attention_map(t)).pow(2).mean()

    def nst(i):
        s, t = i.maps()

        def kernel(a, b):
            return (torch.einsum("bcm,bdm->bcd", a, b)).pow(2).mean()

        def loss():
            a, b = F.normalize(s.flatten(2), dim=2), F.normalize(t.flatten(2), dim=2)
            return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
        return loss

    def vid(i):
        s, t = i.maps()
        spread = i.variable(torch.full((i.sizes["channels"],), 5.0, device=i.device))

        def loss():
            v = (F.softplus(spread) + 1e-5).view(1, -1, 1, 1)
            return 0.5 * ((s - t).pow(2) / v + v.log()).mean()
        return loss

    def ft(i):
        s, t = i.maps()
        return lambda: (attention_map(s) - attention_map(t)).abs().mean()

    def sp(i):
        s, t = i.features()
        return lambda: (F.normalize(s @ s.T) - F.normalize(t @ t.T)).pow(2).sum() / i.n ** 2

    def pkt(i):
        s, t = i.features()

        def of(x):
            x = F.normalize(x)
            p = (x @ x.T + 1) / 2
            return p / p.sum(1, keepdim=True)

        def loss():
            p, q = of(s), of(t)
            return (q * ((q + 1e-7) / (p + 1e-7)).log()).mean()
        return loss

    def distances(x):
        square = x.pow(2).sum(1)
        d = (square[:, None] + square[None] - 2 * x @ x.T).clamp(min=1e-12).sqrt()
        return d * (1 - torch.eye(len(x), device=x.device))

    def rkd(i):
        s, t = i.features()

        def relative(x):
            d = distances(x)
            return d / d[d > 0].mean()

        # The differences of all pairs alone are N^2 D numbers.
        def angles(x):
            e = F.normalize(x[None] - x[:, None], dim=2)
            return torch.bmm(e, e.transpose(1, 2)).view(-1)

        def loss():
            with torch.no_grad():
                wanted, wanted_angles = relative(t), angles(t)
            return 25 * F.smooth_l1_loss(relative(s), wanted) + 50 * F.smooth_l1_loss(angles(s), wanted_angles)
        return loss

    def irg(i):
        s, t = i.features()

        def edges(x):
            d = distances(x).pow(2)
            return d / d.max()
        return lambda: F.mse_loss(edges(s), edges(t))

    def ega(i):
        s, t = i.features()

        def unit(x):
            return F.normalize(x - x.mean(1, keepdim=True))

        def loss():
            a, b = unit(s), unit(t)
            return 0.8 * ((b * a).sum(1) - 1).norm() + 0.24 * (a @ a.T - b @ b.T).norm()
        return loss

    def label_contrast(s, t, labels):
        p = F.softmax(F.normalize(s) @ F.normalize(t).T / 0.1, 1)
        same = (labels[:, None] == labels[None]).float()
        near = (-(p + 1e-10).log() * same).sum(1) / same.sum(1)
        far = (-(1 - p + 1e-10).log() * (1 - same)).sum(1) / (1 - same).sum(1).clamp(min=1)
        return (near + far).mean()

    def nce(i):
        s, t = i.features()
        return lambda: label_contrast(s, t, i.labels)

    def cc(i):
        s, t = i.embeddings()
        i.variable(t)

        def loss():
            delta = (s - t).abs()
            return (delta[:-1] * delta[1:]).sum(1).mean()
        return loss

    def smd(i):
        s, t = i.features()

        def loss():
            a, b = F.normalize(s), F.normalize(t)
            wanted, d = torch.cdist(b, b), torch.cdist(b, a)
            negative = wanted > d.diagonal()[:, None]
            hardest = d.masked_fill(~negative, float("inf")).argmin(1, keepdim=True)
            farthest = d.masked_fill(negative, -float("inf")).argmax(1, keepdim=True)
            n, p = d.gather(1, hardest), d.gather(1, farthest)
            n_weight = (wanted.gather(1, hardest) - n).relu().detach()
            p_weight = (p - wanted.gather(1, farthest)).relu().detach()
            both = torch.cat([n_weight * n, p_weight * p], 1) / 0.04
            return F.cross_entropy(both, torch.zeros(len(both), dtype=torch.long, device=both.device))
        return loss

    def simclr(i):
        rows = i.variable(i.constant(2 * i.n, i.sizes["queue-width"]))
        target = (torch.arange(2 * i.n, device=i.device) + i.n) % (2 * i.n)

        def loss():
            z = F.normalize(rows)
            logits = (z @ z.T / 0.1).masked_fill(torch.eye(len(z), device=z.device).bool(), -float("inf"))
            return F.cross_entropy(logits, target)
        return loss

    def queue_logits(x, own, queue):
        return torch.cat([(x * own).sum(1, keepdim=True), x @ queue.T], 1)

    def seed(i):
        (s, t), queue = i.embeddings(), i.queue()

        def loss():
            a, b = F.normalize(s), F.normalize(t)
            with torch.no_grad():
                wanted = queue_logits(b, b, queue) / 0.01
            return soft_cross_entropy(wanted, queue_logits(a, b, queue) / 0.2)
        return loss

    def compress(i):
        (s, t), queue, teacher_queue = i.embeddings(), i.queue(), i.queue()
        return lambda: divergence(F.normalize(t) @ teacher_queue.T, F.normalize(s) @ queue.T, 0.04)

    def moco(i):
        (s, t), queue = i.embeddings(), i.queue()
        target = torch.zeros(i.n, dtype=torch.long, device=i.device)
        return lambda: F.cross_entropy(queue_logits(F.normalize(s), F.normalize(t), queue) / 0.2, target)

    def byol(i):
        (a, c), (b, d) = i.embeddings(), i.embeddings()
        return lambda: -2 * (F.cosine_similarity(a, c) + F.cosine_similarity(b, d)).mean()

    def crd(i):
        (s, t), count, rows = i.embeddings(), i.sizes["negatives"], i.sizes["bank"]
        i.variable(t)
        banks = [i.directions(rows, i.sizes["queue-width"]) for _ in range(2)]

        def side(x, bank, chosen):
            out = torch.exp(torch.bmm(bank[chosen.view(-1)].view(len(x), count + 1, -1), x[:, :, None]) / 0.07)
            p = out / (out.detach().mean() * rows)
            noise = count / rows
            own = (p[:, 0] / (p[:, 0] + noise + 1e-7)).log().sum()
            return -(own + (noise / (p[:, 1:] + noise + 1e-7)).log().sum()) / len(x)

        def loss():
            chosen = torch.randint(rows, (i.n, count + 1), device=i.device)
            return side(F.normalize(s), banks[1], chosen) + side(F.normalize(t), banks[0], chosen)
        return loss

    return {"coss": coss, "kd": kd, "dino": dino, "dinoss": dinoss, "dist": dist, "dkd": dkd, "fitnet": fitnet,
            "at": attention, "nst": nst, "vid": vid, "ft": ft, "sp": sp, "pkt": pkt, "rkd": rkd, "irg": irg, "ega": ega,
            "nce": nce, "cc": cc, "smd": smd, "simclr": simclr, "seed": seed, "compress_2q": compress, "moco_v2": moco,
            "byol": byol, "crd": crd}


def status_bytes(key):
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))


def cost_of(make, args, sizes):
    import torch

    gpu = args.device == "cuda"
    finish = torch.cuda.synchronize if gpu else lambda: None

    def perform(inputs, loss):
        loss().backward()
        for leaf in inputs.leaves:
            leaf.grad = None
        finish()

    few = Inputs(sizes, min(args.batch, 16), args.device)
    perform(few, make(few))
    del few
    ctypes.CDLL(None).malloc_trim(0)
    inputs = Inputs(sizes, args.batch, args.device)
    loss = make(inputs)
    finish()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as peak:
            peak.write("5")
        before = status_bytes("VmRSS:")
    seconds, processor = [], []
    for step in range(-1, args.steps):
        begin, begin_processor = time.perf_counter(), time.process_time()
        perform(inputs, loss)
        if step >= 0:
            seconds.append(time.perf_counter() - begin)
            processor.append(time.process_time() - begin_processor)
    peak = torch.cuda.max_memory_allocated() if gpu else status_bytes("VmHWM:")
    return {"seconds": statistics.median(seconds), "processor_seconds": statistics.median(processor),
            "peak_bytes": peak - before}


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench_pytorch.py losses", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", help="only these, with commas between")
    for name, value in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7, help="timed calls of each program in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--coss", help="the program to compare with, build/cpu/coss")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.coss and not os.access(args.coss, os.X_OK):
        parser.error(f"{args.coss} is not a program; build it with: cmake --preset cpu && cmake --build --preset cpu")
    return args


def measure(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
    return next(iter(json.loads(result.stdout)["losses"].values()))


def compare(args, sizes, name):
    """Medians of both programs over the rounds, and of the rounds' ratios."""
    shared = ["--methods", name, "--device", args.device, "--threads", str(args.threads), "--steps", str(args.steps)]
    for size, value in sizes.items():
        shared += [f"--{size}", str(value)]
    programs = {"pytorch": [sys.executable, os.path.abspath(__file__), "--worker", *shared]}
    if args.coss:
        programs["coss"] = [os.path.abspath(args.coss), "bench", "losses", "--json", *shared]
    runs = {program: [] for program in programs}
    for _ in range(args.rounds):
        for program, command in programs.items():
            runs[program].append(measure(command))
    median = statistics.median
    result = {program: {key: median(run[key] for run in of) for key in of[0]} for program, of in runs.items()}
    if args.coss:
        for key in ("seconds", "processor_seconds", "peak_bytes"):
            result[f"{key}_ratio"] = median(c[key] / max(p[key], 1e-9) for p, c in zip(runs["pytorch"], runs["coss"]))
    return result


def main(arguments):
    args = parse(arguments)
    sizes = {name: getattr(args, name.replace("-", "_")) for name in SIZES}
    if args.worker:
        import torch
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
        print(json.dumps({"losses": {name: cost_of(losses()[name], args, sizes) for name in args.methods.split(",")}}))
        return
    known = list(losses())
    names = args.methods.split(",") if args.methods else known
    if set(names) - set(known):
        sys.exit(f"no loss {sorted(set(names) - set(known))}; there are: {', '.join(known)}")
    report = {}
    if not args.json:
        print(f"{'loss':12} {'PyTorch ms':>11} {'coss ms':>9} {'ratio':>6} {'CPU ratio':>9} {'PyTorch MiB':>12} "
              f"{'coss MiB':>9} {'ratio':>6}")
    for name in names:
        report[name] = result = compare(args, sizes, name)
        if args.json:
            continue
        torch_run, coss_run = result["pytorch"], result.get("coss")
        line = [f"{1e3 * torch_run['seconds']:11.2f}", f"{torch_run['peak_bytes'] / 2**20:12.1f}"]
        if coss_run:
            line = [line[0], f"{1e3 * coss_run['seconds']:9.2f}", f"{result['seconds_ratio']:6.2f}",
                    f"{result['processor_seconds_ratio']:9.2f}", line[1],
                    f"{coss_run['peak_bytes'] / 2**20:9.1f}", f"{result['peak_bytes_ratio']:6.2f}"]
        print(f"{name:12}", *line, flush=True)
    if args.json:
        print(json.dumps({"sizes": sizes, "losses": report}))


if __name__ == "__main__":
    main(sys.argv[1:])
