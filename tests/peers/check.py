"""What run.sh runs: python check.py TWEEDIE SCRATCH_FOLDER"""
import json
import pathlib
import subprocess
import sys

import diffusers
import numpy
import onnx
import onnxruntime
import safetensors.torch
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, ScoreSdeVeScheduler, UNet2DModel
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TOLERANCE = 1e-4  # of samples, in fp32; of the largest value where that is over 1
failures = []


def expect(holds, words):
    print(("ok: " if holds else "FAILED: ") + words, flush=True)
    if not holds:
        failures.append(words)


class Peers:
    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)

    def tweedie(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"peers: tweedie {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def trained(self, name, recipe, *settings):
        """A hundred steps on coloured ramps: what is compared is arithmetic, not beauty."""
        data = self.folder / "pictures.npz"
        if not data.exists():
            colours = numpy.random.default_rng(0).uniform(0, 255, (64, 1, 1, 3))
            ramp = numpy.linspace(0, 1, 8)[:, None, None] * numpy.linspace(0, 1, 8)[None, :, None]
            numpy.savez(data, x=(colours * ramp).astype(numpy.uint8), y=numpy.arange(64) % 3)
        run = self.folder / name
        small = ["network=unet", "channels=32", "multipliers=[1,2]", "layers_per_block=1", "attention=[4]",
                 "norm_num_groups=8"]
        options = [f"model.{setting}" for setting in small] + ["train.batch=8", "data.flip=false", "train.warmup=10", "watch.held_out_every=0",
                                                               "watch.samples_every=50", "watch.samples=4",
                                                               "watch.log_every=10", *settings]
        self.tweedie("train", "--data", f"array:{data}?key=x&labels=y", "--recipe", recipe, "--out", run, "--steps", 100,
                     *[word for option in options for word in ("--set", option)])
        return run

    def same_samples(self, name, recipe, steps, *settings):
        """A run exported, loaded by diffusers and sampled there from the same noise."""
        run, out = self.trained(name, recipe, *settings), self.folder / f"{name}-diffusers"
        self.tweedie("export", run, "--out", out)
        noise = numpy.random.default_rng(1).standard_normal((6, 3, 8, 8), dtype=numpy.float32)
        numpy.save(self.folder / "noise.npy", noise)
        self.tweedie("sample", out, "--noise", self.folder / "noise.npy", "--steps", steps, "--precision", "fp32",
                     "--out", self.folder / "ours.npy")
        ours = numpy.load(self.folder / "ours.npy")
        pipeline = DiffusionPipeline.from_pretrained(out, trust_remote_code=True)
        classes = pipeline.unet.config.num_class_embeds
        labels = torch.arange(6) % (classes - 1) if classes else None
        pipeline.scheduler.set_timesteps(steps)

        def by_onnx(network, x, t):
            inputs = {"sample": x.numpy(), "timestep": numpy.full(len(x), t, numpy.float32)}
            return torch.from_numpy(network.run(None, inputs | ({} if labels is None else {"class_labels": labels.numpy()}))[0])

        def compare(words, network):
            x = torch.from_numpy(noise)
            with torch.no_grad():
                for t in pipeline.scheduler.timesteps:
                    x = pipeline.scheduler.step(network(x, t), t, x).prev_sample
            worst, largest = float(numpy.abs(x.numpy() - ours).max()), float(numpy.abs(ours).max())
            expect(worst <= TOLERANCE * max(1, largest),
                   f"{name}: samples after {steps} steps in {words} differ by {worst:.2g} at most (values up to {largest:.3g})")

        compare("diffusers", lambda x, t: pipeline.unet(x, t, class_labels=labels).sample)
        runtime = self.as_onnx(run)
        compare("diffusers with ONNX Runtime", lambda x, t: by_onnx(runtime, x, t))
        return run, out

    def as_onnx(self, run):
        path = run.with_suffix(".onnx")
        self.tweedie("export", run, "--out", path)
        onnx.checker.check_model(str(path), full_check=True)
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def one_step(self, name, data, model):
        """One step of DDIM from pure noise is x0 = a x + b F for numbers a and b of that level: F is ONNX Runtime's."""
        recipe, run = self.folder / f"{name}.toml", self.folder / name
        recipe.write_text(f'[model]\nnetwork = "{name}"\n{model}\n[schedule]\nname = "linear"\nsteps = 1000\n'
                          "[train]\nbatch = 8\nwarmup = 10\nlearning_rate = 0.01\n[watch]\nheld_out_every = 0\nsamples_every = 0\n")
        self.tweedie("train", "--data", data, "--recipe", recipe, "--out", run, "--steps", 50)
        network = self.as_onnx(run)
        shape = [6] + network.get_inputs()[0].shape[1:]
        noise = numpy.random.default_rng(2).standard_normal(shape, dtype=numpy.float32)
        numpy.save(self.folder / "noise.npy", noise)
        self.tweedie("sample", run, "--noise", self.folder / "noise.npy", "--sampler", "ddim", "--steps", 1, "--precision", "fp32",
                     "--out", self.folder / "x0.npy")
        x0 = numpy.load(self.folder / "x0.npy").ravel()
        output = network.run(None, {"sample": noise, "timestep": numpy.full(6, 999, numpy.float32)})[0]
        parts = numpy.stack([noise.ravel(), output.ravel()], 1).astype(numpy.float64)
        a, b = numpy.linalg.lstsq(parts, x0, rcond=None)[0]
        worst = float(numpy.abs(parts @ (a, b) - x0).max() / abs(b))
        spread = float((output.ravel() - noise.ravel() * (a / -b)).std())  # of what the network adds to a line
        expect(spread > 0.01 and worst <= TOLERANCE,
               f"{name}: ONNX Runtime's output differs by {worst:.2g} at most (its own part is {spread:.2g})")

    def from_diffusers(self):
        """A network made by diffusers is described and sampled; PyTorch's own file gives the same samples."""
        torch.manual_seed(0)
        unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1,
                           block_out_channels=(32, 64), norm_num_groups=8,
                           down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
        samples = []
        for kind, safe in (("safetensors", True), ("bin", False)):
            folder = self.folder / f"unet-{kind}"
            if safe:
                unet.save_pretrained(folder)
            else:
                folder.mkdir()
                unet.save_config(folder)
                torch.save(unet.state_dict(), folder / "diffusion_pytorch_model.bin")
            said = json.loads(self.tweedie("describe", folder, "--json", "-"))
            expect(said["kind"] == "diffusers UNet2DModel", f"a {kind} folder of diffusers is described")
            self.tweedie("sample", folder, "-n", 2, "--steps", 5, "--out", self.folder / "x.npy")
            samples.append(numpy.load(self.folder / "x.npy"))
        expect(numpy.array_equal(*samples), "the same weights in .safetensors and .bin give the same samples")

    def told(self, kind):
        """A network told a number or an embedding of each sample: one step of DDIM, and its ONNX file."""
        torch.manual_seed(0)
        unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32, 64),
                           norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                           up_block_types=("AttnUpBlock2D", "UpBlock2D"), class_embed_type=kind).eval()
        out = self.folder / f"told-{kind}"
        unet.save_pretrained(out / "unet")
        scheduler = DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
        scheduler.save_pretrained(out / "scheduler")
        (out / "model_index.json").write_text(json.dumps({
            "_class_name": "DDIMPipeline", "scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet2DModel"]}))
        draw = numpy.random.default_rng(5)
        noise = draw.standard_normal((4, 3, 8, 8), dtype=numpy.float32)
        told = numpy.array([0, 7, 400, 999]) if kind == "timestep" else draw.standard_normal((4, 128), dtype=numpy.float32)
        numpy.save(self.folder / "noise.npy", noise)
        numpy.save(self.folder / "told.npy", told)
        self.tweedie("sample", out, "--noise", self.folder / "noise.npy", "--condition", self.folder / "told.npy", "--steps", 4,
                     "--precision", "fp32", "--out", self.folder / "x0.npy")
        ours = numpy.load(self.folder / "x0.npy")
        network, labels = self.as_onnx(out), torch.from_numpy(told)
        scheduler.set_timesteps(4)
        x, apart = torch.from_numpy(noise), 0
        with torch.no_grad():
            for t in scheduler.timesteps:
                output = unet(x, t, class_labels=labels).sample
                inputs = {"sample": x.numpy(), "timestep": numpy.full(4, t, numpy.float32), "class_labels": told}
                apart = max(apart, float(numpy.abs(network.run(None, inputs)[0] - output.numpy()).max()))
                x = scheduler.step(output, t, x).prev_sample
        worst, largest = float(numpy.abs(x.numpy() - ours).max()), float(numpy.abs(ours).max())
        expect(max(worst, apart) <= TOLERANCE * max(1, largest),
               f"class_embed_type {kind}: samples differ by {worst:.2g}, ONNX Runtime's outputs by {apart:.2g} at most "
               f"(values up to {largest:.3g})")

    def solvers(self):
        """Folders as diffusers saves them, sampled by the solver that each one's scheduler asks for, against that scheduler."""
        torch.manual_seed(1)
        unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32, 64),
                           norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                           up_block_types=("AttnUpBlock2D", "UpBlock2D")).eval()
        noise = numpy.random.default_rng(6).standard_normal((4, 3, 8, 8), dtype=numpy.float32)
        numpy.save(self.folder / "noise.npy", noise)
        spacings = ("leading", "trailing", "linspace")
        asked = [(diffusers.DDIMScheduler, dict(clip_sample=clip, timestep_spacing=spacing))
                 for clip in (True, False) for spacing in spacings[:2]]
        for scheduler in (diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler):
            asked += [(scheduler, dict(timestep_spacing=spacing, solver_order=order)) for spacing in spacings for order in (2, 3)]
        asked += [(diffusers.DPMSolverSinglestepScheduler, dict(solver_order=order)) for order in (1, 2)]
        asked += [(diffusers.EulerDiscreteScheduler, dict(timestep_spacing=spacing)) for spacing in spacings[:2]]
        asked += [(diffusers.FlowMatchEulerDiscreteScheduler, {}), (diffusers.FlowMatchHeunDiscreteScheduler, {})]
        for number, (kind, options) in enumerate(asked):
            out = self.folder / f"solver-{number}"
            unet.save_pretrained(out / "unet")
            chain = not kind.__name__.startswith("Flow")
            scheduler = kind(**options, **({"prediction_type": "v_prediction"} if chain else {}))  # bounded, untrained as it is
            scheduler.save_pretrained(out / "scheduler")
            (out / "model_index.json").write_text(json.dumps({
                "_class_name": "DDIMPipeline", "scheduler": ["diffusers", kind.__name__], "unet": ["diffusers", "UNet2DModel"]}))
            self.tweedie("sample", out, "--noise", self.folder / "noise.npy", "--steps", 10, "--precision", "fp32",
                         "--out", self.folder / "x0.npy")
            ours = numpy.load(self.folder / "x0.npy")
            scheduler.set_timesteps(10)
            x = torch.from_numpy(noise)
            if kind is diffusers.EulerDiscreteScheduler:  # of x / alpha
                x = x * (scheduler.sigmas[0] ** 2 + 1) ** 0.5
            with torch.no_grad():
                for t in scheduler.timesteps:
                    given = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
                    x = scheduler.step(unet(given, t).sample, t, x).prev_sample
            worst, largest = float(numpy.abs(x.numpy() - ours).max()), float(numpy.abs(ours).max())
            expect(worst <= TOLERANCE * max(1, largest),
                   f"{kind.__name__} {options or ''}: samples differ by {worst:.2g} at most (values up to {largest:.3g})")

    def score_sde(self):
        """A pipeline of score SDE's VE process as diffusers saves it: one step of DDIM against Tweedie's formula in its units."""
        torch.manual_seed(0)
        unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(32, 32),
                           norm_num_groups=None, time_embedding_type="fourier", freq_shift=0, center_input_sample=True,
                           down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
                           up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D")).eval()
        sigma, out = 3.0, self.folder / "score-sde"
        scheduler = ScoreSdeVeScheduler(sigma_max=sigma)
        unet.save_pretrained(out / "unet")
        scheduler.save_pretrained(out / "scheduler")
        (out / "model_index.json").write_text(json.dumps({
            "_class_name": "ScoreSdeVePipeline", "scheduler": ["diffusers", "ScoreSdeVeScheduler"],
            "unet": ["diffusers", "UNet2DModel"]}))
        noise = numpy.random.default_rng(4).standard_normal((4, 3, 8, 8), dtype=numpy.float32)
        numpy.save(self.folder / "noise.npy", noise)
        self.tweedie("sample", out, "--noise", self.folder / "noise.npy", "--sampler", "ddim", "--set", "clip=false", "--steps", 1,
                     "--precision", "fp32", "--out", self.folder / "x0.npy")
        ours = numpy.load(self.folder / "x0.npy")
        x = (torch.from_numpy(2 * sigma * noise) + 1) / 2  # ours is in [-1, 1]
        with torch.no_grad():
            x0 = x + sigma ** 2 * unet(x, torch.full((4,), sigma)).sample
        worst = float(numpy.abs((2 * x0 - 1).numpy() - ours).max())
        largest = float(numpy.abs(ours).max())
        expect(worst <= TOLERANCE * max(1, largest),
               f"score SDE: E[x0 | x_t] by diffusers' network differs by {worst:.2g} at most (values up to {largest:.3g})")

    def same_bytes(self, out):
        """safetensors writes the file back that we wrote."""
        path = next(out.glob("unet/*.safetensors"))
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata()
        safetensors.torch.save_file(safetensors.torch.load_file(path), self.folder / "again.safetensors",
                                    metadata={"format": metadata["format"]})
        ours, theirs = path.read_bytes(), (self.folder / "again.safetensors").read_bytes()
        expect(len(metadata) == 1 and ours == theirs, "safetensors writes the same bytes")

    def dashboard(self, run):
        events = EventAccumulator(str(run), size_guidance={"images": 0, "scalars": 0})
        events.Reload()
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        wanted = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        got = [(event.step, event.value) for event in events.Scalars("loss")]
        expect(len(wanted) == len(got) and numpy.allclose(wanted, got), "TensorBoard reads the losses of metrics.jsonl")
        expect(events.Images("samples/raw")[0].encoded_image_string.startswith(b"\x89PNG"), "TensorBoard reads pictures")


def main(program, folder):
    peers = Peers(program, folder)
    run, plain = peers.same_samples("chain", "ddpm", 50)
    # Continuous, classes, v prediction, Fourier features (of low powers: with high ones an untrained network is chaotic);
    # 91 divides the 1001 steps of its chain.
    peers.same_samples("continuous", "fashion-mnist", 91, "model.fourier_features=[0,1]")
    peers.one_step("mlp", "toy:two-moons", "width = 64")
    floats = peers.folder / "floats.npy"  # real numbers: x0 is not clipped
    numpy.save(floats, numpy.random.default_rng(3).standard_normal((64, 3, 8, 8), dtype=numpy.float32))
    peers.one_step("dit", f"array:{floats}", "patch = 2\nwidth = 32\ndepth = 2\nheads = 2")
    peers.same_bytes(plain)
    peers.from_diffusers()
    for kind in ("timestep", "identity"):
        peers.told(kind)
    peers.solvers()
    peers.score_sde()
    peers.dashboard(run)
    if failures:
        sys.exit(f"peers: {len(failures)} of these failed")
    print("peers: all hold")


if __name__ == "__main__":
    main(*sys.argv[1:])
