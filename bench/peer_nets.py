"""The networks of `tweedie bench` in plain PyTorch, 1.13 or later."""
import math

import torch
from torch import nn
from torch.nn import functional as F

OLD = int(torch.__version__.split(".")[0]) < 2


def frequencies(count, shift=0):
    return torch.exp(torch.arange(count) * (-math.log(10000) / (count - shift)))


class GroupNorm(nn.GroupNorm):
    """PyTorch 1.13 wants weights of the input's type, which autocast does not see to there."""

    def forward(self, x):
        if x.dtype == self.weight.dtype or not OLD:
            return super().forward(x)
        return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class Resnet(nn.Module):
    def __init__(self, inner, out, time, groups, eps, dropout):
        super().__init__()
        self.norm1 = GroupNorm(groups, inner, eps)
        self.conv1 = nn.Conv2d(inner, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, out)
        self.norm2 = GroupNorm(groups, out, eps)
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
        self.group_norm = GroupNorm(groups, channels, eps)
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
                 powers=(), padding=1, cosine_first=True, shift=0, classes=0):
        super().__init__()
        self.powers, self.padding, self.cosine_first = powers, padding, cosine_first
        self.frequencies = frequencies(channels // 2, shift)
        time = 4 * channels
        self.time1, self.time2 = nn.Linear(channels, time), nn.Linear(time, time)
        self.class_embedding = nn.Embedding(classes + 1, time) if classes else None
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
        self.norm_out = GroupNorm(groups, width, eps)
        self.conv_out = nn.Conv2d(width, shape[0], 3, padding=1)

    def forward(self, x, t, label=None):
        angle = t[:, None].float() * self.frequencies
        halves = [angle.cos(), angle.sin()] if self.cosine_first else [angle.sin(), angle.cos()]
        time = self.time2(F.silu(self.time1(torch.cat(halves, 1))))
        if label is not None:
            time = time + self.class_embedding(label)
        time = F.silu(time)
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
        self.frequencies = frequencies(16)

    def forward(self, x, t):
        angle = t[:, None].float() * self.frequencies
        h = torch.cat([x, angle.cos(), angle.sin()], 1)
        for layer in self.layers[:-1]:
            h = F.silu(layer(h))
        return self.layers[-1](h)


def demo_unet(classes=0):
    return Unet((1, 28, 28), 32, (1, 2, 3), (7,), layers=1, groups=8, powers=(6, 7), classes=classes)


# name: usual batch, shape of an example, how to make the network
NETS = {
    "cifar-ddpm": (16, (3, 32, 32), lambda: Unet((3, 32, 32), 128, (1, 2, 2, 2), (16,), head=0, eps=1e-6, dropout=0.1,
                                                padding=0, cosine_first=False, shift=1)),
    "mnist-unet": (32, (1, 28, 28), lambda: Unet((1, 28, 28), 64, (1, 2, 2), (14,), head=0)),
    "demo-unet": (32, (1, 28, 28), demo_unet),
    "mlp-2d": (512, (2,), Mlp),
}
