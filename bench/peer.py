#!/usr/bin/env python3
"""The steps of `tweedie bench` in PyTorch, 1.13 or later, done the way that is customary and fast there.

    bench/peer.py train --net cifar-ddpm --batch 64 --precision bf16     one measurement in a process of its own
    bench/peer.py serve                                                  one for each line of JSON on standard input

Answers are JSON with the keys of `tweedie bench --json -`.  A serving process makes each network once, keeps it until another
is asked for, and takes no processor time between requests, so that it can wait in an interleaved run.
"""
import argparse
import contextlib
import ctypes
import gc
import json
import os
import resource
import statistics
import sys
import time

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as tweedie does for itself: fair on a busy machine

import torch

import peer_nets

WARM_UP_STEPS, FEWEST_STEPS = 3, 5
DEFAULTS = {"kind": "train", "net": "mnist-unet", "batch": None, "precision": "fp32", "channels_last": False, "compile": False,
            "threads": None, "seconds": 10.0}


def autocast(request):
    return torch.autocast("cpu", torch.bfloat16, enabled=request["precision"] == "bf16")


def make_optimiser(parameters, **options):
    """AdamW as fast as this version has it: fused (2.4), or over lists of tensors."""
    try:
        return torch.optim.AdamW(parameters, fused=True, **options)
    except (TypeError, RuntimeError):
        return torch.optim.AdamW(parameters, foreach=True, **options)


def follow(average, parameters, rate):
    """average += rate (parameters - average), all tensors in one call."""
    with torch.no_grad():
        if hasattr(torch, "_foreach_lerp_"):
            torch._foreach_lerp_(average, parameters, rate)
        else:
            torch._foreach_mul_(average, 1 - rate)
            torch._foreach_add_(average, parameters, alpha=rate)


def training(net, call, x, request):
    """Noise, loss, gradient, clipping, AdamW, one average of the weights: a step a call."""
    parameters = list(net.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = make_optimiser(parameters, lr=1e-4, weight_decay=0)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000), 0)
    column = [-1] + [1] * (x.dim() - 1)

    def step():
        t = torch.randint(0, 1000, (x.shape[0],))
        eps = torch.randn_like(x)
        a = alpha_bar[t].view(column)
        optimiser.zero_grad(set_to_none=True)
        with autocast(request):
            loss = (call(a.sqrt() * x + (1 - a).sqrt() * eps, t).float() - eps).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        follow(average, parameters, 1e-4)

    return step


def sampling(net, call, x, request):
    """One step of DDIM a call: the network, x_0 cut off, the update."""
    t = torch.full((x.shape[0],), 500)

    def step():
        eps = call(x, t).float()
        x0 = ((x - 0.96 * eps) / 0.28).clamp(-1, 1)
        return 0.281 * x0 + 0.959 * eps

    return step


@contextlib.contextmanager
def sampling_context(request):
    """Around all steps of a sampling, as is customary: autocast then casts each weight once, not at every step."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad() if request["compile"] else torch.inference_mode())
        stack.enter_context(autocast(request))
        if request["compile"]:  # weights are constants to the compiler, as its guide for CPUs has it
            from torch._inductor import config
            stack.enter_context(config.patch(freezing=True))
        yield


class Peer:
    """Networks and steps, kept while the requests are about one network."""

    def __init__(self):
        self.about, self.nets, self.steps = None, {}, {}

    def forget(self, about):
        self.about, self.nets, self.steps = about, {}, {}
        gc.collect()
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
        give_back_memory()

    def net(self, request):
        key = request["channels_last"]
        if key not in self.nets:
            torch.manual_seed(1)
            net = peer_nets.NETS[request["net"]][2]()
            if request["channels_last"]:
                net = net.to(memory_format=torch.channels_last)
            self.nets[key] = net
        return self.nets[key]

    def step(self, request):
        """The step and whether it is new."""
        key = tuple(request[name] for name in ("kind", "batch", "precision", "channels_last", "compile"))
        if key in self.steps:
            return self.steps[key], False
        net = call = self.net(request)
        if request["compile"]:
            torch._dynamo.config.cache_size_limit = 64  # a graph for each batch and precision
            call = torch.compile(net, dynamic=False)
        x = torch.randn(request["batch"], *peer_nets.NETS[request["net"]][1])
        if request["channels_last"]:
            x = x.to(memory_format=torch.channels_last)
        self.steps[key] = (training if request["kind"] == "train" else sampling)(net, call, x, request)
        return self.steps[key], True

    def measure(self, request):
        request = {**DEFAULTS, **request}
        batch, shape, _ = peer_nets.NETS[request["net"]]
        request["batch"] = request["batch"] or batch
        check(request, shape)
        if request["threads"]:
            torch.set_num_threads(request["threads"])
        if self.about != request["net"]:
            self.forget(request["net"])
        step, new = self.step(request)
        net = self.net(request).train(request["kind"] == "train")
        with sampling_context(request) if request["kind"] == "sample" else contextlib.nullcontext():
            if new and request["compile"]:  # the second step compiles again
                for _ in range(WARM_UP_STEPS):
                    step()
            times = time_steps(step, request["seconds"], WARM_UP_STEPS if new else 1)
        median = 1e3 * statistics.median(times)
        words = [word for word, said in (("channels_last", request["channels_last"]), ("compiled", request["compile"])) if said]
        return {"kind": request["kind"], "net": request["net"], "batch": request["batch"],
                "parameters": sum(p.numel() for p in net.parameters()),
                "milliseconds_per_image": median / request["batch"], "milliseconds_per_step": median,
                "milliseconds_per_step_best": 1e3 * min(times), "milliseconds_per_step_worst": 1e3 * max(times),
                "steps": len(times), "precision": request["precision"],
                "kernels": " ".join(["PyTorch", torch.__version__, *words]), "threads": torch.get_num_threads(),
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def check(request, shape):
    if request["compile"] and not hasattr(torch, "compile"):
        raise ValueError(f"PyTorch {torch.__version__} has no torch.compile")
    if request["channels_last"] and len(shape) != 3:
        raise ValueError(f"{request['net']} has no channels of images")


def time_steps(step, seconds, warm_up):
    """Seconds of each step.  Slow steps are warmed up once and measured for about 4 times `seconds` at most."""
    begun = time.perf_counter()
    for _ in range(warm_up):
        step()
        if time.perf_counter() - begun > seconds:
            break
    times = []
    while sum(times) < seconds or (len(times) < FEWEST_STEPS and sum(times) < 4 * seconds) or not times:
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return times


def give_back_memory():
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def serve():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["kind"] in ("train", "sample"):
                answer = peer.measure(request)
            else:
                peer.forget(None)
                import peer_end_to_end
                answer = peer_end_to_end.measure(request)
        except Exception as failure:
            answer = {"error": f"{type(failure).__name__}: {failure}".splitlines()[0]}
        give_back_memory()
        print(json.dumps(answer), file=answers, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["train", "sample", "serve"])
    parser.add_argument("--net", choices=list(peer_nets.NETS), default=DEFAULTS["net"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=DEFAULTS["seconds"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile, PyTorch 2 or later")
    options = parser.parse_args()
    if options.kind == "serve":
        serve()
    else:
        print(json.dumps(Peer().measure(vars(options))))


if __name__ == "__main__":
    main()
