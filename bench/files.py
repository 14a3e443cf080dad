#!/usr/bin/env python3
"""What files cost: loading a model against reading its file once, and training on a folder of pictures against the same in memory.

    bench/files.py [--build build] [--rounds 5] [--seconds 20]

Every round takes turns, so that ratios inside it can be compared; medians and their range over the rounds are printed.
"""
import argparse
import ctypes
import json
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib

PICTURES = 10000  # of Fashion-MNIST, as PNG files


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def write_transformer(folder, width=1024, depth=14):
    """A DiT of 1.1 GB as its library lays it out; the weights are numbers, no more."""
    config = {"_class_name": "DiT", "input_size": 32, "in_channels": 4, "hidden_size": width, "depth": depth, "num_heads": 16,
              "num_classes": 10}
    tokens, hidden = (32 // 2) ** 2, 4 * width
    shapes = {"pos_embed": [1, tokens, width], "y_embedder.embedding_table.weight": [11, width]}
    layers = {"x_embedder.proj": [width, 4, 2, 2], "t_embedder.mlp.0": [width, 256], "t_embedder.mlp.2": [width, width],
              "final_layer.linear": [2 * 2 * 4 * 2, width], "final_layer.adaLN_modulation.1": [2 * width, width]}
    for i in range(depth):
        layers |= {f"blocks.{i}.attn.qkv": [3 * width, width], f"blocks.{i}.attn.proj": [width, width],
                   f"blocks.{i}.mlp.fc1": [hidden, width], f"blocks.{i}.mlp.fc2": [width, hidden],
                   f"blocks.{i}.adaLN_modulation.1": [6 * width, width]}
    for name, shape in layers.items():
        shapes |= {name + ".weight": shape, name + ".bias": shape[:1]}
    header, at = {}, 0
    for name, shape in sorted(shapes.items()):
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    draw = random.Random(0)
    block = struct.pack("<65536f", *(draw.gauss(0, 0.02) for _ in range(65536)))
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for left in range(at, 0, -len(block)):
            file.write(block[:left])
    return at


def anonymous_mib():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024


def loading(options, folder):
    size = write_transformer(folder / "model")
    path = folder / "model" / "model.safetensors"
    library = ctypes.CDLL(str(options.build / "layers" / "libtweedie.so"))
    library.tweedie_load.restype = ctypes.c_void_p
    library.tweedie_error.restype = ctypes.c_char_p
    library.tweedie_free.argtypes = [ctypes.c_void_p]
    buffer = bytearray(4 << 20)

    def load():
        before, begun = anonymous_mib(), time.perf_counter()
        model = library.tweedie_load(str(folder / "model").encode(), None)
        took = time.perf_counter() - begun
        if not model:
            sys.exit("bench/files.py: " + library.tweedie_error().decode())
        grown = anonymous_mib() - before
        library.tweedie_free(model)
        return took, grown

    def read():
        begun = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
        return time.perf_counter() - begun

    def forget():
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    load(), read()
    for words, before in (("in the page cache", lambda: None), ("not in the page cache", forget)):
        ratios, seconds, grown = [], [], []
        for _ in range(options.rounds):
            before()
            took, more = load()
            before()
            ratios.append(took / read())
            seconds.append(took)
            grown.append(more)
        print(f"loading {size / 1e9:.2f} GB {words}: {spread(seconds)} s, {spread(ratios)} of reading the file once; "
              f"{max(grown):.0f} MiB of memory beside the file's own", flush=True)


def write_png(path, pixels, side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[i * side:(i + 1) * side] for i in range(side))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pictures(options, folder):
    """The demo's training step, fed from memory and from files."""
    archive = folder / "pictures.npz"
    subprocess.run([options.build / "tweedie", "data", "fashion-mnist", "-n", str(PICTURES), "--out", archive], check=True,
                   stdout=subprocess.DEVNULL)
    data = zipfile.ZipFile(archive).read("x.npy")
    length, = struct.unpack_from("<H", data, 8)
    values = data[10 + length:]
    if len(values) != PICTURES * 784:
        sys.exit(f"bench/files.py: {archive} has no {PICTURES} pictures of 28 x 28 bytes")
    out = folder / "pictures"
    out.mkdir()
    for i in range(PICTURES):
        write_png(out / f"{i:05}.png", values[i * 784:(i + 1) * 784], 28)

    def rate(spec):
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        done = subprocess.run([options.build / "tweedie", "train", "--data", spec, "--recipe", "fashion-mnist", "--budget",
                               f"{options.seconds}s", "--set", "data.conditional=false", "--set", "sample.guidance=1", "--set",
                               "watch.log_every=10", "--out", run], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit("bench/files.py: tweedie train: " + done.stderr)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return statistics.median([line["images_per_second"] for line in lines if "images_per_second" in line][1:])

    memory, files = [], []
    for _ in range(options.rounds):
        memory.append(rate(f"array:{archive}?key=x"))
        files.append(rate(f"images:{out}"))
    print(f"training on {PICTURES} PNG files: {spread(files)} images/s, {spread([f / m for f, m in zip(files, memory)])} of "
          f"the same in memory ({spread(memory)})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=20, help="of each training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        loading(options, pathlib.Path(folder))
        pictures(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
