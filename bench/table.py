#!/usr/bin/env python3
"""tweedie against PyTorch in one interleaved run: what `make bench` prints.

    bench/table.py                          everything, 3 rounds
    bench/table.py --only 'cifar-infer|mlp' --rounds 5
    bench/table.py --step train:demo-unet:32 --only demo-unet

A round of a case is one turn of tweedie and one of every variant of PyTorch (eager in fp32 and under bf16 autocast, each also
channels_last, compiled where torch.compile exists), by Debian's interpreter and by a current one.  Only ratios inside a round
are compared: tweedie against the variant of that interpreter that was the fastest in that round.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import sys

import cases
import report
from contestants import Failed, Peak, PyTorch, Tweedie

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOO_SLOW = (2, 1.5)  # times the fastest of its interpreter, after the first round and later: not measured again


def say(line):
    print(line, file=sys.stderr, flush=True)


def named(who, words):
    return f"{who} {words}".strip()


class Bench:
    def __init__(self, options):
        self.options, self.notes, self.peers, self.failed = options, [], {}, False
        self.tweedie = Tweedie(options)
        for name, python, hint in (("Debian", options.debian, "apt-get install python3-torch"),
                                   ("current", options.peer, why_no_peer(options.peer))):
            try:
                self.peers[name] = PyTorch(python, options)
            except Failed as failure:
                self.note(f"no {name} PyTorch: {str(failure).replace(str(ROOT) + '/', '')}; {hint}")
        try:
            self.peak = Peak(self.tweedie.folder, options)
        except Failed as failure:
            self.peak = None
            self.note(f"no peak of AMX: {failure}")

    def close(self):
        for closing in (self.tweedie, *self.peers.values()):
            closing.close()

    def note(self, line):
        if line not in self.notes:
            self.notes.append(line)
            say("note: " + line)

    def case(self, case):
        """Turns of each contestant, by round; None if tweedie has none."""
        if not case.amx and "avx512f" not in report.cpu_flags():
            self.note(f"{case.name}: left out, this CPU has no AVX-512")
            return None
        turns = [("tweedie", "", lambda: self.tweedie.turn(case))]
        for who, peer in self.peers.items():
            if case.kind == "pictures" and who == "Debian":
                continue  # Debian has no diffusers
            for words, variant in cases.variants(case, peer.compiles).items():
                if re.search(self.options.variants, f"{who} {words}"):
                    turns.append((who, words, lambda peer=peer, variant=variant: peer.turn(case, variant)))
        if case.flops and case.amx and self.peak:
            turns.append(("peak", "", self.peak.turn))
        found = [{"who": who, "variant": words, "rounds": []} for who, words, _ in turns]
        for turn in range(self.options.rounds):
            for entry, (who, words, measure) in zip(found, turns):
                if entry.get("dropped"):
                    continue
                try:
                    record = measure()
                except Failed as failure:
                    self.note(f"{case.name}: {named(who, words)}: {failure}")
                    if who == "tweedie":
                        self.failed = True
                        return None
                    entry["dropped"] = str(failure)
                    continue
                entry["rounds"].append({"round": turn, **record})
                if who != "peak":
                    say(f"{case.name}, round {turn + 1}: {named(who, words)} {report.shown(record['cost'], case.unit)} {case.unit}")
            drop_slow(found, TOO_SLOW[min(turn, 1)])
        return {"name": case.name, "unit": case.unit, "target": case.target, "flops": case.flops, "summary": case.summary,
                "contestants": [entry for entry in found if entry["rounds"]]}

    def memory(self):
        case = cases.REMEMBERED
        found = [("tweedie", "", self.tweedie.bench(case, self.options.threads, 0.01))]
        for who, peer in self.peers.items():
            for channels_last in (False, True):
                words = "bf16 channels_last" if channels_last else "bf16"
                try:
                    found.append((who, words, peer.alone(case, "bf16", channels_last)))
                except Failed as failure:
                    self.note(f"memory: {who} {words}: {failure}")
        for who, words, record in found:
            say(f"memory: {named(who, words)} {record['peak_bytes'] / 2**20:.0f} MiB")
        return [{"who": who, "variant": words, **record} for who, words, record in found]

    def threads(self):
        found = []
        for case in cases.SCALED:
            rounds = []
            for turn in range(self.options.rounds):
                one, all_ = (self.tweedie.turn(case, threads) for threads in (1, self.options.threads))
                rounds.append({"one": one, "all": all_})
                say(f"threads, {case.name}, round {turn + 1}: 1 {one['cost']:.3f}, {self.options.threads} {all_['cost']:.3f} ms/image")
            found.append({"name": case.name, "rounds": rounds})
        return found


def drop_slow(found, limit):
    """By the best step so far, which a busy moment of the machine does not touch."""
    for who in {entry["who"] for entry in found} - {"tweedie", "peak"}:
        mine = [entry for entry in found if entry["who"] == who and entry["rounds"]]
        fastest = min(map(report.best, mine), default=0)
        for entry in mine:
            if report.best(entry) > limit * fastest:
                entry.setdefault("dropped", "slow")


def why_no_peer(python):
    reason = ROOT / "build/peers-failed"
    if reason.exists():
        return "`make bench` could not make it: " + (reason.read_text().strip().splitlines() or ["no message"])[-1]
    return "PEER=/path/to/python names one, `make bench` makes build/peers"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    parser.add_argument("--only", default="", metavar="REGEX", help="the cases whose name has it")
    parser.add_argument("--step", action="append", default=[], metavar="KIND:NET:BATCH", help="one more case; may be repeated")
    parser.add_argument("--variants", default="", metavar="REGEX", help="the variants of PyTorch whose words have it, as in 'Debian bf16'")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile, which takes minutes a network")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or 3))
    parser.add_argument("--seconds", type=float, default=2, help="of each turn; a slow step may take longer")
    parser.add_argument("--budget", type=int, default=20, help="seconds of a turn of `tweedie train`, a quarter for its peers")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: one for each core")
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/tweedie")
    parser.add_argument("--debian", default="/usr/bin/python3", help="the interpreter of Debian's python3-torch")
    parser.add_argument("--peer", default=os.environ.get("PEER") or ROOT / "build/peers/bin/python",
                        help="the interpreter of a current PyTorch and diffusers; default: PEER, or build/peers")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="for everything measured; written after each case")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE",
                        help="for the tables; replaces what is between its two `bench/table.py` comments if it has them")
    parser.add_argument("--read", type=pathlib.Path, nargs="+", metavar="FILE", help="measure nothing, report these --json files together")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0 or options.budget < 1 or options.threads < 1:
        parser.error("--rounds, --seconds, --budget and --threads: expected more than 0")
    for step in options.step:
        if not re.fullmatch(r"(train|sample):[\w-]+:[1-9]\d*", step):
            parser.error(f"--step {step}: expected train or sample, a network and a batch, as in train:demo-unet:32")
    return options


def chosen(options):
    steps = [step.split(":") for step in options.step]
    known = cases.CASES + [cases.Case(f"{net}-{kind}-{batch}", kind, net, int(batch)) for kind, net, batch in steps]
    return ([case for case in known if re.search(options.only, case.name)],
            [name for name in cases.SECTIONS if re.search(options.only, name)])


def measure(options):
    which, sections = chosen(options)
    if not which and not sections:
        sys.exit(f"table.py: --only {options.only}: no case has this; --list names them")
    if not os.access(options.program, os.X_OK):
        sys.exit(f"table.py: there is no program {options.program}; `make build` makes it")
    bench = Bench(options)
    data = {"date": datetime.date.today().isoformat(), "machine": report.machine(options.threads),
            "versions": report.versions(options.program, bench.peers, options.debian), "rounds": options.rounds, "seconds": options.seconds,
            "cases": [], "notes": bench.notes}
    try:
        for case in which:
            found = bench.case(case)
            if found:
                data["cases"].append(found)
            save(options, data)
        for name in sections:
            try:
                data[name] = getattr(bench, name)()
            except Failed as failure:
                bench.failed = True
                bench.note(f"{name}: {failure}")
            save(options, data)
    finally:
        bench.close()
    return data, bench.failed


def save(options, data):
    if options.json:
        options.json.write_text(json.dumps(data, indent=1) + "\n")


def main():
    options = arguments()
    if options.list:
        which, sections = chosen(options)
        for name, summary in [(case.name, case.summary) for case in which] + [(name, cases.SECTIONS[name]) for name in sections]:
            print(f"{name:24}{summary}")
        return
    if options.read:
        data = report.together([json.loads(file.read_text()) for file in options.read])
        save(options, data)
        failed = False
    else:
        data, failed = measure(options)
    text = report.text(data)
    print(text)
    if options.markdown:
        report.write_markdown(options.markdown, text)
    if failed:
        sys.exit("table.py: some of tweedie's own turns failed, see the notes")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
