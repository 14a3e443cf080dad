"""The two sides of bench/table.py: tweedie, a process a turn, and PyTorch, a process that waits between its turns.

Every turn returns a record with "cost" (milliseconds an image, or seconds; less is better).
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# As tweedie sets it for itself: with its default GNU OpenMP spins at barriers, ruinous on a busy machine.
ENVIRONMENT = {"GOMP_SPINCOUNT": "1000", **os.environ}


class Failed(Exception):
    pass


def run(command, **environment):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**ENVIRONMENT, **environment})
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise Failed(f"status {done.returncode} of {' '.join(map(str, command))}: {lines[-1]}")
    return done.stdout


def request_of(case, options, threads=None):
    return {"kind": case.kind, "net": case.net, "batch": case.batch, "threads": threads or options.threads,
            "seconds": options.seconds}


class Tweedie:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tweedie-bench-"))
        self.model = None

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def turn(self, case, threads=None):
        threads = threads or self.options.threads
        if case.kind == "fashion-mnist":
            return self.train(threads)
        if case.kind == "pictures":
            return self.draw(case, threads)
        return self.bench(case, threads, self.options.seconds)

    def bench(self, case, threads, seconds):
        environment = {} if case.amx else {"TWEEDIE_KERNELS": "avx512"}
        record = json.loads(run([self.options.program, "bench", case.kind, "--net", case.net, "--batch", case.batch, "--precision",
                                 "auto" if case.amx else "fp32", "--threads", threads, "--seconds", seconds, "--json", "-"],
                                **environment))
        return {**record, "cost": record["milliseconds_per_image"],
                "cost_best": record["milliseconds_per_step_best"] / record["batch"]}

    def train(self, threads):
        out = self.folder / "train"
        shutil.rmtree(out, ignore_errors=True)
        run([self.options.program, "train", "--data", "fashion-mnist", "--recipe", "fashion-mnist", "--budget",
             f"{self.options.budget}s", "--set", "watch.log_every=10", "--out", out], OMP_NUM_THREADS=str(threads))
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
        if not rates:
            raise Failed(f"no step was recorded in {self.options.budget} s; give a larger --budget")
        rate = statistics.median(rates[1:] or rates)  # the first includes what is made once
        return {"images_per_second": rate, "cost": 1e3 / rate}

    def draw(self, case, threads):
        if self.model is None:  # weights of one step: no time depends on them
            self.model = self.folder / "model"
            run([self.options.program, "train", "--data", "fashion-mnist", "--recipe", "ddpm", "--set", "data.flip=false", "--set",
                 "model.attention_head_dim=0", "--set", "model.dropout=0", "--set", "train.batch=1", "--steps", "1", "--out",
                 self.model])
        record = json.loads(run([self.options.program, "sample", self.model, "--out", self.folder / "pictures.npy", "-n", case.batch,
                                 "--batch", case.batch, "--sampler", case.sampler, "--steps", case.steps, "--json", "-"],
                                OMP_NUM_THREADS=str(threads)))
        return {**record, "cost": record["seconds"]}


class PyTorch:
    """bench/peer.py under an interpreter.  Raises Failed if that has no PyTorch."""

    def __init__(self, python, options):
        self.python, self.options, self.process = str(python), options, None
        try:
            said = run([python, "-c", "import torch; print(torch.__version__, hasattr(torch, 'compile'))"])
        except OSError as failure:
            raise Failed(f"{python}: {failure.strerror}") from None
        except Failed as failure:
            raise Failed(f"{python}: {str(failure).rsplit(': ', 1)[-1]}") from None
        self.version, compiles = said.split()
        self.compiles = compiles == "True" and options.compile

    def ask(self, request):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([self.python, str(HERE / "peer.py"), "serve"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()

    def turn(self, case, variant):
        request = {**request_of(case, self.options), **variant}
        if case.kind == "fashion-mnist":
            request["seconds"] = self.options.budget / 4
            record = self.ask(request)
            return {**record, "cost": 1e3 / record["images_per_second"]}
        if case.kind == "pictures":
            record = self.ask({**request, "scheduler": case.scheduler, "steps": case.steps, "count": case.batch})
            return {**record, "cost": record["seconds"]}
        record = self.ask(request)
        return {**record, "cost": record["milliseconds_per_image"], "cost_best": record["milliseconds_per_step_best"] / record["batch"]}

    def alone(self, case, precision, channels_last):
        """A step or two in a process of its own, for its peak of memory."""
        return json.loads(run([self.python, HERE / "peer.py", case.kind, "--net", case.net, "--batch", case.batch, "--precision",
                               precision, "--threads", self.options.threads, "--seconds", "0.01",
                               *(["--channels-last"] if channels_last else [])]))


class Peak:
    """bench/amx_peak.cpp, compiled into `folder`.  Raises Failed where it cannot be, or the CPU has no AMX."""

    def __init__(self, folder, options):
        self.options, self.program = options, folder / "amx_peak"
        compiler = os.environ.get("CXX", "c++")
        try:
            run([compiler, "-std=c++17", "-O2", "-pthread", HERE / "amx_peak.cpp", "-o", self.program])
        except OSError:
            raise Failed(f"no compiler '{compiler}'") from None
        if not json.loads(run([self.program, 1, 0.01]))["amx"]:
            raise Failed("this CPU has no AMX")

    def turn(self):
        return json.loads(run([self.program, self.options.threads, min(self.options.seconds, 1)]))
