#!/usr/bin/env python3
"""tweedie and PyTorch eager in one interleaved run: the same step of the same network, turn by turn.

    bench/compare.py train --net demo-unet --rounds 5

Prints milliseconds per image of every round, then best and median of each and their ratio (above 1: tweedie is faster).
The peer is bench/peer_unet.py under --python, so that any PyTorch can be the peer: Debian's python3-torch, or a virtual
environment's.  NCHW and channels_last are both measured and the faster one is compared with, round by round.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"compare.py: failed with status {done.returncode}: {' '.join(map(str, command))}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["train", "sample"])
    parser.add_argument("--net", default="demo-unet")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--program", default=HERE.parent / "build/tweedie")
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter that has the peer's PyTorch")
    options = parser.parse_args()

    threads = options.threads or len(os.sched_getaffinity(0))
    common = [options.kind, "--net", options.net, "--precision", options.precision, "--seconds", str(options.seconds),
              "--threads", str(threads)]
    if options.batch:
        common += ["--batch", str(options.batch)]
    peer = [options.python, HERE / "peer_unet.py", *common]
    contestants = {"tweedie": [options.program, "bench", *common, "--json", "-"], "PyTorch": peer}
    if options.net != "mlp-2d":
        contestants["PyTorch channels_last"] = [*peer, "--channels-last"]
    times = {name: [] for name in contestants}
    for turn in range(options.rounds):
        words = []
        for name, command in contestants.items():
            result = run(command)
            times[name].append(result["milliseconds_per_image"])
            words.append(f"{result['kernels'] if name != 'tweedie' else 'tweedie ' + result['kernels']} {times[name][-1]:.3f}")
        print(f"round {turn + 1}: {', '.join(words)} ms/image", flush=True)
    best_peer = [min(turn) for turn in zip(*(times[name] for name in times if name != "tweedie"))]
    ratios = [theirs / ours for theirs, ours in zip(best_peer, times["tweedie"])]
    print(f"{options.kind} {options.net} {options.precision}, {threads} threads: tweedie {min(times['tweedie']):.3f} best "
          f"{statistics.median(times['tweedie']):.3f} median, PyTorch {min(best_peer):.3f} best {statistics.median(best_peer):.3f} "
          f"median ms/image; ratio {statistics.median(ratios):.2f} (rounds {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
