#!/usr/bin/env python3
"""The networks of `tweedie bench` in plain PyTorch eager, and the same two steps measured there.

Prints one JSON object with the keys of `tweedie bench --json -`.  Needs PyTorch 1.13 or later.
"""
import argparse
import json
import math
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


class Resnet(nn.Module):
    def __init__(self, inner, out, time, groups, eps, dropout):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inner, eps)
        self.conv1 = nn.Conv2d(inner, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, out)
        self.norm2 = nn.GroupNorm(groups, out, eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inner, out, 1) if inner != out else None

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(time)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    def __init__(self, channels, head, groups, eps):
        super().__init__()
        self.heads = channels // head if head else 1
        self.group_norm = nn.GroupNorm(groups, channels, eps)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        b, c, h, w = x.shape
        y = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (f(y).view(b, h * w, self.heads, -1).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(c // self.heads), -1) @ v
        return x + self.to_out(y.transpose(1, 2).reshape(b, h * w, c)).transpose(1, 2).reshape(x.shape)


class Unet(nn.Module):
    def __init__(self, shape, channels, multipliers, attention, layers=2, head=8, groups=32, eps=1e-5, dropout=0.0,
                 powers=(), padding=1, cosine_first=True, shift=0):
        super().__init__()
        self.powers, self.channels, self.padding = powers, channels, padding
        self.cosine_first, self.shift = cosine_first, shift
        time = 4 * channels
        self.time1, self.time2 = nn.Linear(channels, time), nn.Linear(time, time)
        self.conv_in = nn.Conv2d(shape[0] * (1 + 2 * len(powers)), channels, 3, padding=1)
        width, size, skips = channels, shape[1], [channels]
        attends = lambda out: Attention(out, head, groups, eps) if size in attention else None
        resnet = lambda inner, out: Resnet(inner, out, time, groups, eps, dropout)
        self.down, sizes = nn.ModuleList(), []
        for i, m in enumerate(multipliers):
            stage = nn.ModuleDict({"resnets": nn.ModuleList(), "attentions": nn.ModuleList()})
            for _ in range(layers):
                stage["resnets"].append(resnet(width, m * channels))
                width = m * channels
                if attends(width):
                    stage["attentions"].append(attends(width))
                skips.append(width)
            sizes.append(size)
            if i + 1 < len(multipliers):
                stage["resample"] = nn.Conv2d(width, width, 3, stride=2, padding=padding)
                skips.append(width)
                size = (size + 1) // 2
            self.down.append(stage)
        self.mid1, self.mid2 = resnet(width, width), resnet(width, width)
        self.mid_attention = Attention(width, head, groups, eps)
        self.up = nn.ModuleList()
        for i, m in reversed(list(enumerate(multipliers))):
            size = sizes[i]
            stage = nn.ModuleDict({"resnets": nn.ModuleList(), "attentions": nn.ModuleList()})
            for _ in range(layers + 1):
                stage["resnets"].append(resnet(width + skips.pop(), m * channels))
                width = m * channels
                if attends(width):
                    stage["attentions"].append(attends(width))
            if i > 0:
                stage["resample"] = nn.Conv2d(width, width, 3, padding=1)
            self.up.append(stage)
        self.norm_out = nn.GroupNorm(groups, width, eps)
        self.conv_out = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, x, t):
        half = self.channels // 2
        frequency = torch.exp(torch.arange(half) * (-math.log(10000) / (half - self.shift)))
        angle = t[:, None].float() * frequency
        halves = [angle.cos(), angle.sin()] if self.cosine_first else [angle.sin(), angle.cos()]
        time = F.silu(self.time2(F.silu(self.time1(torch.cat(halves, 1)))))
        parts = [x]
        for n in self.powers:
            angle = x * (2**n * math.pi)
            parts += [angle.sin(), angle.cos()]
        h = self.conv_in(torch.cat(parts, 1))
        skips = [h]
        for stage in self.down:
            for j, resnet in enumerate(stage["resnets"]):
                h = resnet(h, time)
                if len(stage["attentions"]):
                    h = stage["attentions"][j](h)
                skips.append(h)
            if "resample" in stage:
                h = stage["resample"](F.pad(h, (0, 1, 0, 1)) if self.padding == 0 else h)
                skips.append(h)
        h = self.mid2(self.mid_attention(self.mid1(h, time)), time)
        for stage in self.up:
            for j, resnet in enumerate(stage["resnets"]):
                h = resnet(torch.cat([h, skips.pop()], 1), time)
                if len(stage["attentions"]):
                    h = stage["attentions"][j](h)
            if "resample" in stage:
                h = stage["resample"](F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [34, 128, 128, 128, 2]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x, t):
        angle = t[:, None].float() * torch.exp(torch.arange(16) * (-math.log(10000) / 16))
        h = torch.cat([x, angle.cos(), angle.sin()], 1)
        for layer in self.layers[:-1]:
            h = F.silu(layer(h))
        return self.layers[-1](h)


NETS = {
    "cifar-ddpm": (16, (3, 32, 32), lambda: Unet((3, 32, 32), 128, (1, 2, 2, 2), (16,), head=0, eps=1e-6, dropout=0.1,
                                                padding=0, cosine_first=False, shift=1)),
    "mnist-unet": (32, (1, 28, 28), lambda: Unet((1, 28, 28), 64, (1, 2, 2), (14,), head=0)),
    "demo-unet": (16, (1, 28, 28), lambda: Unet((1, 28, 28), 24, (1, 2, 3), (7,), layers=1, groups=8, powers=(6, 7))),
    "mlp-2d": (512, (2,), Mlp),
}


def training(net, x, bf16):
    average = [p.detach().clone() for p in net.parameters()]
    parameters = list(net.parameters())
    optimiser = torch.optim.AdamW(parameters, 1e-4, weight_decay=0)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000), 0)
    column = [-1] + [1] * (x.dim() - 1)

    def step():
        t = torch.randint(0, 1000, (x.shape[0],))
        eps = torch.randn_like(x)
        a = alpha_bar[t].view(column)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = (net(a.sqrt() * x + (1 - a).sqrt() * eps, t).float() - eps).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_mul_(average, 0.9999)
            torch._foreach_add_(average, parameters, alpha=1e-4)

    return step


def sampling(net, x, bf16):
    net.eval()
    t = torch.full((x.shape[0],), 500)

    @torch.no_grad()
    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            eps = net(x, t).float()
        x0 = ((x - 0.96 * eps) / 0.28).clamp(-1, 1)
        return 0.281 * x0 + 0.959 * eps

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["train", "sample"])
    parser.add_argument("--net", choices=list(NETS), default="mnist-unet")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    batch, shape, make = NETS[options.net]
    batch = options.batch or batch
    net, x = make(), torch.randn(batch, *shape)
    if options.channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    step = (training if options.kind == "train" else sampling)(net, x, options.precision == "bf16")
    for _ in range(3):
        step()
    times = []
    while sum(times) < options.seconds or len(times) < 5:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    median = 1e3 * statistics.median(times)
    print(json.dumps({
        "kind": options.kind, "net": options.net, "batch": batch,
        "parameters": sum(p.numel() for p in net.parameters()),
        "milliseconds_per_image": median / batch, "milliseconds_per_step": median,
        "milliseconds_per_step_best": 1e3 * min(times), "steps": len(times), "precision": options.precision,
        "kernels": "PyTorch " + torch.__version__ + (" channels_last" if options.channels_last else ""),
        "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
