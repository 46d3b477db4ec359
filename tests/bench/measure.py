"""One run: a fresh cloud, a fresh proxy, load; what the proxy has used."""
import ctypes
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from pathlib import Path

from peers import CLOUD, ENV, PORT

DISTURBED_CORES = 0.1  # that others use
STEP_MAX_S = 120
SETTLE_S = 0.3
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A run that says nothing about its proxy's speed."""


def descendants(pid):
    """The process and its children, and theirs."""
    found = [pid]
    for p in found:
        try:
            children = Path(f"/proc/{p}/task/{p}/children").read_text()
        except OSError:
            continue
        found += map(int, children.split())
    return found


def cpu_s(pids):
    """Of all threads, those that have ended too, to the nanosecond."""
    # clock_getcpuclockid(3), which Python has not
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def pss_kib(pids):
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def machine_s():
    """Busy seconds of all processors, and those stolen by other machines."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (
        int(x) / os.sysconf("SC_CLK_TCK") for x in fields)
    return user + nice + system + irq + softirq, steal


class Watch:
    """What others use of the machine from now on: to be asked when all
    processes that were started meanwhile are gone."""

    def __init__(self):
        self.start = self.now()

    @staticmethod
    def now():
        return time.monotonic(), machine_s(), sum(os.times()[:4])

    def cores_of_others(self):
        (t0, (busy0, steal0), own0), (t1, (busy1, steal1), own1) = (
            self.start, self.now())
        used = busy1 - busy0 + steal1 - steal0 - (own1 - own0)
        return max(0.0, used / (t1 - t0))


@contextmanager
def process(command, cores, **options):
    """A process of ours, on these processors; ended at the end, by its pid, or
    by the kernel if we are killed."""
    def prepare():
        os.sched_setaffinity(0, cores)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    p = subprocess.Popen([str(c) for c in command], preexec_fn=prepare,
                         **options)
    try:
        yield p
    finally:
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
        try:
            p.wait(15)
        except subprocess.TimeoutExpired:
            for pid in reversed(descendants(p.pid)):
                os.kill(pid, signal.SIGKILL)
            p.wait()
        for stream in (p.stdin, p.stdout, p.stderr):
            if stream:
                stream.close()


def await_port(port, p, log):
    """Until somebody listens: connecting would be a session already."""
    wanted = f":{port:04X}"
    end = time.monotonic() + 30
    while time.monotonic() < end and p.poll() is None:
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return
        time.sleep(0.02)
    raise Failed(f"does not listen: {log.read_text()[-400:]}")


class Bench:
    """Where everything stands: the build, the certificates, the processors."""

    def __init__(self, build, certs, seconds):
        self.build, self.certs, self.seconds = build, certs, seconds
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_core, self.load_core = {cores[0]}, {cores[1]}
        self.all_cores = set(cores[:2])
        # of a pid: what looks at that process meanwhile (profile_run)
        self.look = lambda pid: nullcontext()

    @contextmanager
    def site(self, peer, keys="ec", resume=True, all_cores=False):
        """A Site with the cloud and the proxy, both ready."""
        certs = self.certs / keys
        tools = self.build / "tests/bench"
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            log = folder / "log"
            with log.open("w") as out, process(
                    [tools / "sink", *peer.cloud,
                     *([] if resume else ["-T"]), certs / "server.pem",
                     certs / "server.key", CLOUD], self.load_core,
                    stdout=subprocess.PIPE, stderr=out, text=True) as sink:
                await_port(CLOUD, sink, log)
                command = peer.configure(
                    self.build, folder, certs / "root.pem")
                cores = self.all_cores if all_cores else self.proxy_core
                with process(command, cores, stdout=out, stderr=out,
                             env=ENV, cwd=folder) as proxy:
                    await_port(PORT, proxy, log)
                    time.sleep(SETTLE_S)
                    yield Site(self, sink, proxy, log)

    def load(self, *arguments):
        return process([self.build / "tests/bench/load", *arguments, PORT],
                       self.load_core, stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE, text=True)

    def start_cost(self, peer, entries):
        """What a start with a map of so many entries costs."""
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            folder = Path(name)
            command = peer.configure(
                self.build, folder, self.certs / "ec/root.pem", entries)
            begin = time.monotonic()
            with process(command, self.proxy_core, stderr=subprocess.PIPE,
                         env=ENV, text=True) as proxy:
                said = ""
                for said in proxy.stderr:
                    if " event=ready " in said:
                        return dict(seconds=time.monotonic() - begin,
                                    pss_kib=pss_kib([proxy.pid]))
        raise Failed(f"does not start: {said}")


class Site:
    def __init__(self, bench, sink, proxy, log):
        self.bench, self.sink, self.proxy, self.log = bench, sink, proxy, log
        self.before = self.used()

    def used(self):
        if self.proxy.poll() is not None:
            raise Failed(f"has ended: {self.log.read_text()[-400:]}")
        pids = descendants(self.proxy.pid)
        return dict(cpu_s=cpu_s(pids), pss_kib=pss_kib(pids),
                    sink_cpu_s=cpu_s([self.sink.pid]))

    def steps(self, *arguments, settle_s=0):
        """The load's steps, one by one: what it says, and what the proxy has
        used for it. The load goes on when the next one is asked for."""
        with ExitStack() as stack:
            # what is worth a look begins when all sessions are there; a storm
            # is nothing but sessions
            look_after = 0 if arguments[0] == "storm" else 1
            load = None
            for done in count():
                if done == look_after:
                    stack.enter_context(self.bench.look(self.proxy.pid))
                before = self.used()
                if load is None:
                    load = stack.enter_context(self.bench.load(*arguments))
                else:
                    load.stdin.write("\n")
                    load.stdin.flush()
                step = self.step_of(load)
                if step is None:
                    break
                time.sleep(settle_s)
                yield step | self.used_since(before)
            if load.wait() != 0:
                raise Failed("the load was not carried")

    def used_since(self, before):
        """CPU since then; memory since there were no sessions."""
        now = self.used()
        return dict(cpu_s=now["cpu_s"] - before["cpu_s"],
                    sink_cpu_s=now["sink_cpu_s"] - before["sink_cpu_s"],
                    pss_kib=now["pss_kib"] - self.before["pss_kib"])

    def step_of(self, load):
        """The next step that a load has done; None after the last one."""
        if not select.select([load.stdout], [], [], STEP_MAX_S)[0]:
            raise Failed(f"the load has done nothing for {STEP_MAX_S} s")
        line = load.stdout.readline()
        if not line:
            return None
        step = json.loads(line)
        if step["lost"]:
            raise Failed(f"{step['lost']} sessions were lost: "
                         f"{self.log.read_text()[-400:]}")
        return step

    def sink_counted(self):
        """Ends the cloud, which says what has arrived."""
        self.sink.send_signal(signal.SIGTERM)
        return json.loads(self.sink.stdout.readline())
