#!/usr/bin/env python3
"""Checks the include rules of docs/architecture.md: a layer includes itself and the layers below it, nothing else."""
import pathlib
import re
import sys

BELOW = {
    "base": [],
    "process": ["base"],
    "kernels": [],
    "tensor": ["base", "process", "kernels"],
    "metrics": ["base", "tensor"],
    "model": ["base", "process", "tensor"],
    "nets": ["base", "process", "kernels", "tensor", "model"],
    "families": ["base", "process", "tensor", "nets"],
    "samplers": ["base", "process", "tensor", "model"],
    "datasets": ["base", "tensor", "model"],
    "registry": ["base", "process", "tensor", "model", "nets", "samplers", "datasets"],
    "jobs": ["base", "process", "kernels", "tensor", "metrics", "model", "families", "registry"],
    "c_api": ["c_api.h", "base", "jobs", "registry"],
    "cli": ["base", "process", "tensor", "model", "registry", "jobs"],
}
# Parts of plug-in layers that are no plug-ins: what every dataset and network shares.
SHARED = {"nets/dense.h", "nets/embedding.h", "nets/initialise.h", "datasets/dataset.h", "datasets/loader.h", "datasets/spec.h"}
WITHOUT_TORCH = {"base", "process", "kernels"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.M)


def faults(root):
    for path in sorted((root / "tweedie").rglob("*")):
        if path.suffix not in {".h", ".cpp"}:
            continue
        place = path.relative_to(root / "tweedie")
        layer = place.parts[0] if len(place.parts) > 1 else place.stem
        if layer == "tweedie":  # the umbrella header
            continue
        if layer not in BELOW:
            yield f"{path}: '{layer}' is no layer of docs/architecture.md"
            continue
        for include in INCLUDE.findall(path.read_text()):
            if include.startswith(("torch/", "ATen/", "c10/")) and layer in WITHOUT_TORCH:
                yield f"{path}: includes {include}, but {layer} is without torch"
            if not include.startswith("tweedie/"):
                continue
            target = include.removeprefix("tweedie/")
            into = "registry" if target == "registry.h" else target.split("/")[0]
            if into != layer and into not in BELOW[layer] and target not in SHARED:
                yield f"{path}: {layer} may not include {include}"


found = list(faults(pathlib.Path(__file__).resolve().parent.parent))
print("\n".join(found) or "layers: no fault")
sys.exit(bool(found))
