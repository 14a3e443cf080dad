"""What bench/table.py measures, and the ratios it is held to."""
from dataclasses import dataclass
from typing import Optional

# Operations of one network evaluation of one image (PyTorch's FlopCounterMode); a training step takes three times as many.
FLOPS = {"cifar-ddpm": 12.4e9, "mnist-unet": 2.4e9}


@dataclass(frozen=True)
class Case:
    name: str
    kind: str  # train, sample: a step of `tweedie bench`; fashion-mnist, pictures: end to end
    net: str
    batch: int
    target: Optional[float] = None  # times faster than the fastest variant of Debian's PyTorch
    amx: bool = True  # False: without AMX on either side, fp32
    sampler: str = ""  # of pictures: ours, diffusers' scheduler, steps
    scheduler: str = ""
    steps: int = 0

    @property
    def unit(self):
        return {"fashion-mnist": "images/s", "pictures": "s"}.get(self.kind, "ms/image")

    @property
    def flops(self):
        return FLOPS.get(self.net, 0) * (3 if self.kind == "train" else 1) if self.unit == "ms/image" else 0

    @property
    def summary(self):
        if self.kind == "fashion-mnist":
            return "`tweedie train --recipe fashion-mnist` and the same network and batch in PyTorch"
        if self.kind == "pictures":
            return (f"{self.batch} images of {self.net} in {self.steps} steps: `tweedie sample --sampler {self.sampler}` and "
                    f"diffusers' {self.scheduler}")
        return (f"a {'training' if self.kind == 'train' else 'sampling'} step of {self.net}, batch {self.batch}"
                + ("" if self.amx else "; TWEEDIE_KERNELS=avx512 --precision fp32 and PyTorch in fp32"))


CASES = [
    Case("cifar-train-16", "train", "cifar-ddpm", 16, 2.6),
    Case("cifar-train-64", "train", "cifar-ddpm", 64),
    Case("cifar-infer-1", "sample", "cifar-ddpm", 1, 4),
    Case("cifar-infer-16", "sample", "cifar-ddpm", 16, 2.5),
    Case("cifar-train-16-no-amx", "train", "cifar-ddpm", 16, 1.5, amx=False),
    Case("cifar-infer-16-no-amx", "sample", "cifar-ddpm", 16, 1.5, amx=False),
    Case("28x28-train-64", "train", "mnist-unet", 64, 3.2),
    Case("28x28-infer-64", "sample", "mnist-unet", 64, 3.4),
    Case("mlp-train", "train", "mlp-2d", 512, 7),
    Case("mlp-sample", "sample", "mlp-2d", 512, 6),
    Case("fashion-mnist-train", "fashion-mnist", "demo-unet", 32),
    Case("pictures-ddim-50", "pictures", "mnist-unet", 64, sampler="ddim", scheduler="DDIMScheduler", steps=50),
    Case("pictures-dpm++2m-10", "pictures", "mnist-unet", 64, sampler="dpm++2m", scheduler="DPMSolverMultistepScheduler", steps=10),
]
SECTIONS = {
    "memory": "peak memory of a training step of cifar-ddpm, batch 64, each in a process of its own",
    "threads": "cifar-ddpm, batch 16: one thread against all",
}
SCALED = [Case("cifar-train-16", "train", "cifar-ddpm", 16), Case("cifar-infer-16", "sample", "cifar-ddpm", 16)]
REMEMBERED = Case("cifar-train-64", "train", "cifar-ddpm", 64)


def variants(case, compiles):
    """Words for each way PyTorch is tried, and what asks for it."""
    found = {}
    for precision in ("fp32", "bf16") if case.amx else ("fp32",):
        found[precision] = {"precision": precision}
        if case.net != "mlp-2d":
            found[precision + " channels_last"] = {"precision": precision, "channels_last": True}
        if compiles and case.kind in ("train", "sample"):
            found[precision + " compiled"] = {"precision": precision, "compile": True}
    return found
