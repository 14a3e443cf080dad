#!/usr/bin/env python3
"""What a solver costs beside its network: tweedie's samplers and diffusers' schedulers in one interleaved run.

    python3 -m venv ENV && ENV/bin/pip install torch diffusers scipy
    ENV/bin/python bench/compare_samplers.py --net demo-unet --steps 20 --rounds 5

Both sample from noise to data with the same layout of network (bench/peer_nets.py is the peer's; its weights are random
in both, which no time depends on), the same linear chain of 1000 steps and as many steps.  Time outside the network is
everything but the network's own call: making the grid, noise, scaling, the update.  Milliseconds are for each evaluation of
the network, for the whole batch; a ratio below 1 says that tweedie takes less.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as tweedie does for itself: fair on a busy machine

import diffusers
import torch

import peer_nets

HERE = pathlib.Path(__file__).resolve().parent
LINEAR = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}

# tweedie's name and options, the scheduler's class and options
PAIRS = [
    ("ddim", [], "DDIMScheduler", {}),
    ("ddpm", [], "DDPMScheduler", {}),
    ("euler", [], "EulerDiscreteScheduler", {}),
    ("ddim", ["eta=1", "clip=false"], "EulerAncestralDiscreteScheduler", {}),
    ("heun", [], "HeunDiscreteScheduler", {}),
    ("dpm-2", [], "KDPM2DiscreteScheduler", {}),
    ("dpm++2m", [], "DPMSolverMultistepScheduler", {}),
    ("dpm++2m-sde", [], "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("dpm++3m", [], "DPMSolverMultistepScheduler", {"solver_order": 3}),
    ("dpm++2s", [], "DPMSolverSinglestepScheduler", {}),
    ("unipc", [], "UniPCMultistepScheduler", {"solver_order": 3}),
    ("deis", [], "DEISMultistepScheduler", {"solver_order": 3}),
    ("pndm", [], "PNDMScheduler", {}),
    ("lms", [], "LMSDiscreteScheduler", {}),
]


def ours(options, sampler, settings):
    command = [options.program, "bench", "sample", "--net", options.net, "--batch", str(options.batch), "--precision", "fp32",
               "--threads", str(options.threads), "--seconds", str(options.seconds), "--sampler", sampler,
               "--steps", str(options.steps), "--json", "-"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        sys.exit(f"compare_samplers.py: failed with status {done.returncode}: {' '.join(map(str, command))}")
    result = json.loads(done.stdout)
    whole = result["milliseconds_per_step"] * result["sampler_steps"] / result["evaluations"]
    return result["milliseconds_outside_network_per_evaluation"], result["solver_overhead_share"], whole


@torch.no_grad()
def sample_peer(net, scheduler, options, shape, steps):
    """Seconds in all and in the network, and its evaluations."""
    inside, evaluations = 0.0, 0
    begun = time.perf_counter()
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(options.batch, *shape, generator=generator) * scheduler.init_noise_sigma
    extra = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(x, t)
        at = torch.full((options.batch,), float(t))
        entered = time.perf_counter()
        eps = net(model_input, at)
        inside += time.perf_counter() - entered
        evaluations += 1
        x = scheduler.step(eps, t, x, **extra).prev_sample
    return time.perf_counter() - begun, inside, evaluations


def theirs(net, options, shape, name, settings):
    make = lambda: getattr(diffusers, name)(**LINEAR, **settings)
    sample_peer(net, make(), options, shape, 4)
    runs, spent = [], 0.0
    while spent < options.seconds or not runs:
        runs.append(sample_peer(net, make(), options, shape, options.steps))
        spent += runs[-1][0]
    return (statistics.median(1e3 * (all_ - inside) / count for all_, inside, count in runs),
            statistics.median((all_ - inside) / all_ for all_, inside, _ in runs),
            statistics.median(1e3 * all_ / count for all_, _, count in runs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=["none", *(name for name in peer_nets.NETS if name != "mlp-2d")], default="demo-unet",
                        help="none: one that returns a fixed tensor, so that only the solvers work")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement, and one sampling at least")
    parser.add_argument("--program", default=HERE.parent / "build/tweedie")
    options = parser.parse_args()
    options.threads = options.threads or len(os.sched_getaffinity(0))

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    if options.net == "none":
        shape = (1, 28, 28)
        fixed = torch.randn(options.batch, *shape)
        net = lambda x, t: fixed
    else:
        _, shape, make = peer_nets.NETS[options.net]
        net = make().eval()
    rows = [{key: [] for key in ("ours", "theirs", "our_share", "their_share", "our_whole", "their_whole")} for _ in PAIRS]
    for turn in range(options.rounds):
        for row, (sampler, settings, name, peer_settings) in zip(rows, PAIRS):
            for whose, found in (("our", ours(options, sampler, settings)), ("their", theirs(net, options, shape, name, peer_settings))):
                row[whose + "s"].append(found[0])
                row[whose + "_share"].append(found[1])
                row[whose + "_whole"].append(found[2])
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)

    print(f"{options.net}, batch {options.batch}, {options.steps} steps, fp32, {options.threads} threads; "
          f"PyTorch {torch.__version__}, diffusers {diffusers.__version__}; medians of {options.rounds} rounds\n")
    print("| tweedie | diffusers | ms outside the network: tweedie | diffusers | ratio (rounds) | share of a step: tweedie | diffusers "
          "| ms in all: tweedie | diffusers | ratio (rounds) |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row, (sampler, settings, name, peer_settings) in zip(rows, PAIRS):
        ratios = [a / b for a, b in zip(row["ours"], row["theirs"])]
        whole = [a / b for a, b in zip(row["our_whole"], row["their_whole"])]
        words = " ".join([sampler, *settings])
        peer_words = " ".join([name.removesuffix("Scheduler"), *(str(value) for value in peer_settings.values())])
        print(f"| `{words}` | {peer_words} | {statistics.median(row['ours']):.3f} | {statistics.median(row['theirs']):.3f} | "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | "
              f"{100 * statistics.median(row['our_share']):.2f} % | {100 * statistics.median(row['their_share']):.2f} % | "
              f"{statistics.median(row['our_whole']):.1f} | {statistics.median(row['their_whole']):.1f} | "
              f"{statistics.median(whole):.2f} ({min(whole):.2f} to {max(whole):.2f}) |")


if __name__ == "__main__":
    main()
