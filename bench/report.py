"""The words of bench/table.py: the machine, the versions, the tables."""
import os
import pathlib
import platform
import statistics
import subprocess

BEGIN, END = "<!-- bench/table.py: begin -->", "<!-- bench/table.py: end -->"


def cpu_lines(key):
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key]


def cpu_flags():
    return set((cpu_lines("flags") or [""])[0].split())


def system():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def machine(threads):
    flags = cpu_flags()
    known = {"AMX bf16": "amx_bf16", "AVX-512 bf16": "avx512_bf16", "AVX-512": "avx512f", "AVX2": "avx2"}
    has = [words for words, flag in known.items() if flag in flags]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cpu": (cpu_lines("model name") or [platform.machine()])[0], "instructions": has, "cores": len(os.sched_getaffinity(0)),
            "threads": threads, "memory_gib": round(memory, 1), "system": system()}


def said_by(*command):
    try:
        return subprocess.run(list(map(str, command)), capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def versions(program, peers, debian):
    found = {"tweedie": said_by(program, "--version").removeprefix("tweedie "),
             "LibTorch": said_by("dpkg-query", "-W", "-f", "${Version}", "libtorch-dev")}
    for who, peer in peers.items():
        is_package = who == "Debian" and debian == "/usr/bin/python3"
        found[who] = is_package and said_by("dpkg-query", "-W", "-f", "${Version}", "python3-torch") or peer.version
    if "current" in peers:
        found["diffusers"] = said_by(peers["current"].python, "-c", "import importlib.metadata as m; print(m.version('diffusers'))")
    return {name: version for name, version in found.items() if version}


def shown(cost, unit):
    if unit == "images/s":
        return f"{1e3 / cost:.1f}"
    return f"{cost:.4f}" if cost < 0.1 else f"{cost:.3f}" if cost < 100 else f"{cost:.1f}"


def costs(entry):
    return [record["cost"] for record in entry["rounds"]]


def best(entry):
    return min(record.get("cost_best", record["cost"]) for record in entry["rounds"])


def of(case, who):
    return [entry for entry in case["contestants"] if entry["who"] == who]


def ratios(case, who):
    """Of every round: the fastest variant's cost over tweedie's."""
    ours = {record["round"]: record["cost"] for record in of(case, "tweedie")[0]["rounds"]}
    found = []
    for turn, cost in ours.items():
        theirs = [record["cost"] for entry in of(case, who) for record in entry["rounds"] if record["round"] == turn]
        if theirs:
            found.append(min(theirs) / cost)
    return found


def spread(values, form="{:.2f}"):
    if not values:
        return ""
    words = form.format(statistics.median(values))
    return words if len(values) == 1 else f"{words} ({form.format(min(values))} to {form.format(max(values))})"


def fastest(case, who):
    return min(of(case, who), key=lambda entry: statistics.median(costs(entry)), default=None)


def best_and_median(entry, unit):
    return f"{shown(best(entry), unit)} / {shown(statistics.median(costs(entry)), unit)}" if entry else ""


def table(rows):
    """Markdown whose columns also line up on a terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def main_table(data):
    rows = [["case", "unit", "tweedie", "computed by", "Debian's fastest", "best / median", "ratio (rounds)", "target", "holds",
             "current's fastest", "best / median", "ratio (rounds)"]]
    for case in data["cases"]:
        ours, unit = of(case, "tweedie")[0], case["unit"]
        record = ours["rounds"][0]
        debian, current = fastest(case, "Debian"), fastest(case, "current")
        ratio = ratios(case, "Debian")
        holds = "" if not case["target"] or not ratio else "yes" if statistics.median(ratio) >= case["target"] else "NO"
        computed_by = " ".join(filter(None, (record.get("precision"), record.get("kernels"))))
        rows.append([case["name"], unit, best_and_median(ours, unit), computed_by,
                     debian["variant"] if debian else "", best_and_median(debian, unit), spread(ratio),
                     f"{case['target']:g}" if case["target"] else "", holds,
                     current["variant"] if current else "", best_and_median(current, unit), spread(ratios(case, "current"))])
    return table(rows)


def variants_table(data):
    rows = [["case", "unit", "PyTorch", "variant", "best", "median", "rounds"]]
    for case in data["cases"]:
        for entry in case["contestants"]:
            if entry["who"] in ("tweedie", "peak"):
                continue
            rows.append([case["name"], case["unit"], entry["who"], entry["variant"], shown(best(entry), case["unit"]),
                         shown(statistics.median(costs(entry)), case["unit"]), str(len(entry["rounds"]))])
    return table(rows) if len(rows) > 1 else ""


def peak_table(data):
    rows = [["case", "measured peak, TFLOP/s", "tweedie, TFLOP/s", "of the peak", "Debian's fastest", "current's fastest"]]
    for case in data["cases"]:
        peaks = {record["round"]: record["tflops"] for entry in of(case, "peak") for record in entry["rounds"]}
        if not peaks:
            continue
        peak = max(peaks.values())
        rate = lambda entry: case["flops"] / statistics.median(costs(entry)) / 1e9
        share = lambda entry: f"{100 * rate(entry) / peak:.1f} %" if entry else ""
        ours = of(case, "tweedie")[0]
        rows.append([case["name"], spread(list(peaks.values())), f"{rate(ours):.3f}", share(ours), share(fastest(case, "Debian")),
                     share(fastest(case, "current"))])
    return table(rows) if len(rows) > 1 else ""


def memory_table(data):
    entries = data.get("memory", [])
    if not entries:
        return ""
    ours = entries[0]["peak_bytes"]
    rows = [["who", "variant", "peak, MiB", "tweedie's share of it"]]
    for entry in entries:
        rows.append([entry["who"], entry["variant"] or entry["precision"], f"{entry['peak_bytes'] / 2**20:.0f}",
                     f"{ours / entry['peak_bytes']:.2f}" if entry["who"] != "tweedie" else ""])
    theirs = [entry["peak_bytes"] for entry in entries if entry["who"] == "Debian"]
    holds = f"\n\nNo more than Debian's bf16: {'yes' if ours <= min(theirs) else 'NO'}." if theirs else ""
    return table(rows) + holds


def threads_table(data):
    rows = [["case", "1 thread, ms/image", f"{data['machine']['threads']} threads", "times as fast (rounds)"]]
    for case in data.get("threads", []):
        one, all_ = ([each[key]["cost"] for each in case["rounds"]] for key in ("one", "all"))
        rows.append([case["name"], shown(statistics.median(one), ""), shown(statistics.median(all_), ""),
                     spread([a / b for a, b in zip(one, all_)])])
    return table(rows) if len(rows) > 1 else ""


def text(data):
    about = data["machine"]
    names = {"LibTorch": "LibTorch", "Debian": "Debian's PyTorch", "current": "current PyTorch"}
    machine_words = [about["cpu"], f"{about['cores']} cores", *(about["instructions"] or ["no AVX2"]), f"{about['memory_gib']} GiB"]
    version_words = [f"{names.get(name, name)} {version}" for name, version in data["versions"].items()]
    parts = [f"{data['date']}; {', '.join(machine_words)}; {about['system']}; {', '.join(version_words)}.",
             f"{about['threads']} threads, {data['rounds']} round{'s' if data['rounds'] > 1 else ''} of {data['seconds']:g} s. "
             "Best / median over the rounds; a ratio is of one round, tweedie against the fastest variant of that PyTorch in it, "
             "here their median (least to greatest); above 1 tweedie is faster."]
    if data["cases"]:
        parts.append(main_table(data))
    for title, found in (("Every variant of PyTorch (slow ones are left out of later rounds):", variants_table(data)),
                         ("Share of the peak of AMX, as bench/amx_peak.cpp measured it in the same rounds:", peak_table(data)),
                         ("Peak memory of a training step of cifar-ddpm, batch 64, each in a process of its own:", memory_table(data)),
                         ("Threads, tweedie:", threads_table(data))):
        if found:
            parts += [title, found]
    if data["notes"]:
        parts.append("\n".join(["Not measured:", "", *("- " + note for note in data["notes"])]))
    return "\n\n".join(parts)


def together(all_data):
    """One run's data out of several, the later case of a name first to count."""
    found = dict(all_data[-1])
    cases, notes = {}, []
    for data in all_data:
        cases.update((case["name"], case) for case in data["cases"])
        notes += [note for note in data["notes"] if note not in notes]
        found.update((key, data[key]) for key in ("memory", "threads") if key in data)
    return {**found, "cases": list(cases.values()), "notes": notes}


def write_markdown(file, words):
    old = file.read_text() if file.exists() else ""
    if BEGIN in old and END in old:
        head, rest = old.split(BEGIN, 1)
        words = f"{head}{BEGIN}\n\n{words}\n\n{END}{rest.split(END, 1)[1]}"
    else:
        words += "\n"
    file.write_text(words)
