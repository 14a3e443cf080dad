"""What a user waits for, in PyTorch: training on Fashion-MNIST, and 64 pictures by diffusers' pipelines.

Requests of bench/peer.py's serving process:
    {"kind": "fashion-mnist", "seconds": 5, ...}                  the recipe fashion-mnist's network and batch
    {"kind": "pictures", "scheduler": "DDIMScheduler", "steps": 50, "count": 64, ...}   a UNet2DModel laid out as mnist-unet
both with precision, channels_last and threads.  Answers have images_per_second or seconds.
"""
import gzip
import statistics
import time
import pathlib

import torch

import peer
import peer_nets

IMAGES = pathlib.Path("/usr/share/datasets/fashion-mnist")
BATCH, CLASSES, STEPS_OF_A_REPORT = 16, 10, 10


def read_idx(name, header):
    with gzip.open(IMAGES / name) as file:
        return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)


def fashion_mnist(request):
    """The loop that people write: batches from memory, classes dropped at times, v, AdamW with a warm-up, two averages."""
    images = read_idx("train-images-idx3-ubyte.gz", 16).view(-1, 1, 28, 28)
    labels = read_idx("train-labels-idx1-ubyte.gz", 8).long()
    torch.manual_seed(1)
    net = peer_nets.demo_unet(CLASSES).train()
    layout = torch.channels_last if request["channels_last"] else torch.contiguous_format
    net = net.to(memory_format=layout)
    parameters = list(net.parameters())
    averages = [[p.detach().clone() for p in parameters] for _ in range(2)]
    optimiser = peer.make_optimiser(parameters, lr=2e-3, betas=(0.9, 0.99), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1, (step + 1) / 100))

    def step():
        rows = torch.randint(0, len(images), (BATCH,))
        x0 = (images[rows].float() / 127.5 - 1).contiguous(memory_format=layout)
        label = torch.where(torch.rand(BATCH) < 0.1, CLASSES, labels[rows])
        t = torch.rand(BATCH)
        gamma = -13.3 + 18.3 * t
        alpha, sigma = (torch.sigmoid(sign * gamma).sqrt().view(-1, 1, 1, 1) for sign in (-1, 1))
        eps = torch.randn_like(x0)
        optimiser.zero_grad(set_to_none=True)
        with peer.autocast(request):
            v = net(alpha * x0 + sigma * eps, 1000 * t, label).float()
        loss = (v - (alpha * eps - sigma * x0)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        rate.step()
        for average, decay in zip(averages, (0.995, 0.999)):
            peer.follow(average, parameters, 1 - decay)
        return loss.detach()

    for _ in range(peer.WARM_UP_STEPS):
        step()
    rates, begun = [], time.perf_counter()
    while not rates or time.perf_counter() - begun < request["seconds"]:
        started = time.perf_counter()
        torch.stack([step() for _ in range(STEPS_OF_A_REPORT)]).mean().item()
        rates.append(STEPS_OF_A_REPORT * BATCH / (time.perf_counter() - started))
    return {"images_per_second": statistics.median(rates), "parameters": sum(p.numel() for p in parameters)}


class Pictures:
    """diffusers' pipeline; made once for each layout."""

    def __init__(self):
        self.nets = {}

    def net(self, channels_last):
        from diffusers import UNet2DModel
        if channels_last not in self.nets:
            net = UNet2DModel(sample_size=28, in_channels=1, out_channels=1, block_out_channels=(64, 128, 128), layers_per_block=2,
                              down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                              up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=None).eval()
            self.nets[channels_last] = net.to(memory_format=torch.channels_last) if channels_last else net
        return self.nets[channels_last]

    def measure(self, request):
        import diffusers
        diffusers.utils.logging.set_verbosity_error()
        net = self.net(request["channels_last"])
        scheduler = getattr(diffusers, request["scheduler"])(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02,
                                                              beta_schedule="linear")
        # DDPMPipeline is the loop of any scheduler for a network of pictures alone.
        make = diffusers.DDIMPipeline if request["scheduler"] == "DDIMScheduler" else diffusers.DDPMPipeline
        pipeline = make(net, scheduler)
        pipeline.set_progress_bar_config(disable=True)
        draw = lambda steps: pipeline(batch_size=request["count"], num_inference_steps=steps, output_type="np",
                                      generator=torch.Generator().manual_seed(1))
        with torch.inference_mode(), peer.autocast(request):
            draw(1)
            begun = time.perf_counter()
            draw(request["steps"])
            seconds = time.perf_counter() - begun
        return {"seconds": seconds, "parameters": sum(p.numel() for p in net.parameters()),
                "diffusers": diffusers.__version__}


pictures = Pictures()


def measure(request):
    request = {**peer.DEFAULTS, **request}
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    answer = {"fashion-mnist": fashion_mnist, "pictures": pictures.measure}[request["kind"]](request)
    return {"kind": request["kind"], **answer, "precision": request["precision"], "threads": torch.get_num_threads(),
            "kernels": "PyTorch " + torch.__version__ + (" channels_last" if request["channels_last"] else "")}
