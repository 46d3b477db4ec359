"""Where a proxy's time goes during a row's last step, and what it asks the
kernel for: perf and strace look at it, in a run each."""
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from measure import descendants
from peers import PEERS

LINES = 40
ATTACH_S = 1


@contextmanager
def looking(command):
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        time.sleep(ATTACH_S)
        yield
    finally:
        p.send_signal(signal.SIGINT)
        p.wait()


def perf(pids, out):
    return looking(["perf", "record", "-F", "999", "-o", str(out), "-p",
                    ",".join(map(str, pids))])


def strace(pids, out):
    return looking(["strace", "-f", "-c", "-o", str(out),
                    *(w for pid in pids for w in ("-p", str(pid)))])


def perf_lines(out):
    return subprocess.run(
        ["perf", "report", "-i", out, "--stdio", "--no-children", "--sort",
         "dso,symbol", "--percent-limit", "0.5"],
        capture_output=True, text=True, check=False).stdout


def strace_lines(out):
    return out.read_text() if out.exists() else ""


def show(bench, row, names):
    for name in names:
        for tool, look, lines in (("perf", perf, perf_lines),
                                  ("strace", strace, strace_lines)):
            if shutil.which(tool) is None:
                print(f"there is no {tool} (Debian: linux-perf, strace)")
                continue
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                out = Path(folder) / tool
                bench.look = lambda pid: look(descendants(pid), out)
                figures = row.run(bench, PEERS[name])
                text = [line for line in lines(out).splitlines()
                        if line.strip() and not line.startswith("#")]
            print(f"\n{row.name}, {name}, with {tool}: {figures}\n")
            print("\n".join(text[:LINES]))
    return 0
