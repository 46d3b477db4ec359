"""Compares the proxy with others on the same work, in turns; see README.md.

Has a network of its own for that (scripts/bench): ports are fixed.
"""
import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import plot
import profile_run
from measure import DISTURBED_CORES, Bench, Failed, Watch
from peers import HERE, PEERS
from report import row_text, targets_text
from rows import ROWS


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench peers")
    parser.add_argument("--build", type=lambda p: Path(p).resolve(),
                        required=True,
                        help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=chosen_of(ROWS), metavar="ROW,...",
                        default=list(ROWS), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--peers", type=lambda t: t.split(","),
                        metavar="PEER,...", help="only these of each row: "
                        "ours (in all its variants), haproxy, nginx, stunnel, "
                        "node-ws, tcp")
    parser.add_argument("--repeat", type=int, default=5, metavar="N",
                        help="repetitions (5)")
    parser.add_argument("--seconds", type=float, default=2, metavar="S",
                        help="of each measurement (2)")
    parser.add_argument("--write", action="store_true",
                        help="write tests/bench/RESULTS.md and its plots")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="measure nothing; report runs that were kept")
    parser.add_argument("--profile", choices=ROWS, metavar="ROW",
                        help="run this row once, and show where the proxy's "
                        "time goes (perf) and its system calls (strace)")
    return parser.parse_args()


def chosen_of(known):
    def choose(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {name}")
        return names
    return choose


def own_network():
    """The loopback of a new network, with room for many connections."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for key, value in (("ip_local_port_range", "1024 65535"),
                       ("tcp_max_syn_backlog", "16384")):
        Path("/proc/sys/net/ipv4", key).write_text(value)
    Path("/proc/sys/net/core/somaxconn").write_text("16384")


def make_certificates(folder):
    for name, keys in (("ec", "ec -pkeyopt ec_paramgen_curve:P-256"),
                       ("rsa", "rsa:2048")):
        subprocess.run([HERE.parent / "cloud/make-certs.sh", folder / name],
                       env={"PATH": "/usr/bin:/bin", "KEYS": keys},
                       check=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def peers_of(row, wanted, absent):
    """All that are ours go by that name."""
    peers = [PEERS[name] for name in row.peers if name not in absent]
    return [p for p in peers if wanted is None or p.name in wanted
            or (p.is_ours and "ours" in wanted)]


def run_once(bench, row, peer):
    watch = Watch()
    run = dict(row=row.name, peer=peer.name, seconds=bench.seconds)
    try:
        run["figures"] = row.run(bench, peer)
    except (Failed, OSError, ValueError, StopIteration) as e:
        run |= dict(figures={}, failed=f"{type(e).__name__}: {e}")
    run["others_cores"] = watch.cores_of_others()
    run["disturbed"] = run["others_cores"] > DISTURBED_CORES
    return run


def measured(bench, args, keep):
    """All runs, in turns; each is kept in a file as soon as it is there."""
    absent = {}
    for peer in PEERS.values():
        if reason := peer.missing():
            absent[peer.name] = reason
            say(f"left out: {peer.name}: {reason}")
    watch = Watch()
    time.sleep(1)
    if (cores := watch.cores_of_others()) > DISTURBED_CORES:
        say(f"warning: the machine is not quiet: others use {cores:.2f} "
            "processors")
    runs = []
    for turn in range(args.repeat):
        for name in args.rows:
            peers = peers_of(ROWS[name], args.peers, absent)
            first = turn % max(1, len(peers))
            for peer in peers[first:] + peers[:first]:
                run = run_once(bench, ROWS[name], peer)
                runs.append(run)
                keep.write(json.dumps(run) + "\n")
                keep.flush()
                say(f"{turn + 1}/{args.repeat} {name}, {peer.name}: "
                    f"{run.get('failed', 'measured')}"
                    + (" (disturbed)" if run["disturbed"] else ""))
    return runs


def warn_of_others(runs):
    others = [r["others_cores"] for r in runs]
    if not any(r["disturbed"] for r in runs):
        return ""
    return ("**The machine was not quiet**: others used up to "
            f"{max(others):.2f} processors, {sum(others) / len(others):.2f} "
            f"on average; {sum(r['disturbed'] for r in runs)} of {len(runs)} "
            "runs were disturbed.")


def report(runs):
    of_row = {row: [r for r in runs if r["row"] == name]
              for name, row in ROWS.items()}
    of_row = {row: found for row, found in of_row.items() if found}
    seconds = sorted({r["seconds"] for r in runs})
    parts = [warn_of_others(runs),
             "## Targets\n\nRatios are those of the medians. Where the ranges overlap "
             "(the other's times the limit) no difference can be claimed: "
             "within noise.",
             targets_text(of_row),
             "## Figures\n\nMedian (least..most); measured for "
             f"{' or '.join(map(str, seconds))} s a run.",
             *(row_text(row, found) for row, found in of_row.items())]
    return "\n\n".join(p for p in parts if p)


def write_results(runs, text):
    plots = plot.write(HERE, runs)
    (HERE / "RESULTS.md").write_text(
        "# What scripts/bench has measured\n\n"
        f"On {time.strftime('%Y-%m-%d')}, {plot.machine()}.\n\n{text}\n"
        + "".join(f"\n![{p.stem}]({p.name})\n" for p in plots))


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what runs is ended
    kept = args.build / "peers.jsonl"
    if args.source:
        runs = [json.loads(line) for line in args.source.open()]
    else:
        own_network()
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            make_certificates(Path(name))
            bench = Bench(args.build, Path(name), args.seconds)
            if args.profile:
                return profile_run.show(
                    bench, ROWS[args.profile], args.peers or ["ours"])
            with kept.open("w") as keep:
                runs = measured(bench, args, keep)
        say(f"the runs are kept in {kept}")
    text = report(runs)
    print(text)
    if args.write:
        write_results(runs, text)
    return 1 if any(r.get("failed") for r in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
