"""cost.py BUILD [OTHER]: what the proxy's work costs, in numbers that do not
depend on the clock: instructions, allocations, calls to the kernel. BUILD is
the folder of a release build. Prints a table, holds it against the file
"bounds", and ends with "N passed, N failed", a case for each figure. With
OTHER, the folder of another build, it judges nothing and says which functions
have become dearer or cheaper since that one.

Instructions are counted by valgrind, in user space: "own" are those of the
program itself, "all" those of the libraries it calls, too. What a message costs
is the difference between two runs of the real proxy that only differ in how
many messages pass, one at a time, between a device and a cloud in this process
(WebSocket without TLS): start, login and end cancel out. The libraries choose
code by the CPU they find; here they are told not to.
"""

import collections
import contextlib
import mmap
import pathlib
import platform
import re
import signal
import struct
import subprocess
import sys
import tempfile

import cost_peers

HERE = pathlib.Path(__file__).resolve().parent
BOUNDS = HERE / "bounds"
WARM_UP = 20  # messages of each QoS
MESSAGES = 900  # with those before fewer than the limits of a second
DEVICES = 400
LOOSE = 0.75  # a figure below this part of its bound: the bound is too loose

# None of the caller's environment: it is in the memory of the program.
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LC_ALL": "C",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX_Fast_Unaligned_Load,"
    "-Prefer_ERMS,-Prefer_FSRM,-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-BMI2,"
    "-ERMS,-FSRM,-MOVBE,-RTM,-SSE4_1,-SSE4_2,-SSSE3",
    "OPENSSL_ia32cap": "0:0",
}
ALLOCATE = {"malloc", "calloc", "realloc", "posix_memalign"}
KERNEL = {
    "read", "readv", "recv", "recvfrom", "recvmsg", "write", "writev", "send",
    "sendto", "sendmsg", "ioctl", "epoll_wait", "epoll_pwait2", "epoll_ctl",
    "timerfd_settime", "getsockopt", "setsockopt", "fcntl", "fcntl64",
}
CALLGRIND = [
    "valgrind", "--command-line-only=yes", "-q", "--tool=callgrind",
    "--compress-strings=no", "--compress-pos=no",
]


class Trouble(Exception):
    """It cannot be measured."""


# ---- what valgrind writes


def plain(function):
    """Without what __libc_recv, malloc@@GLIBC_2.2.5 and recv'2 have more."""
    return re.sub(r"^__libc_|[@'].*", "", function)


class Count:
    """What a file of callgrind says, by function: instructions, calls."""

    def __init__(self, path, program):
        self.all = 0
        self.own = collections.Counter()
        self.calls = collections.Counter()  # to it, by anybody
        self.allocators = collections.Counter()  # by it
        whose, file, function, place, callee = "", "", "", "", ""
        lines = iter(path.read_text().splitlines())
        for line in lines:
            key, _, value = line.partition("=")
            if key == "ob":
                whose = value
            elif key == "fl":
                file = value.rpartition("/")[2]
            elif key == "fn":
                function, place = value, f"{file}:{value}"
            elif key == "cfn":
                callee = value
            elif key == "calls":
                name, n = plain(callee), int(value.split()[0])
                if name not in ALLOCATE:
                    self.calls[name] += n
                elif plain(function) not in ALLOCATE:
                    self.allocators[place] += n
                next(lines)  # what they cost is with those functions
            elif line[:1].isdigit():
                n = int(line.split()[1])
                self.all += n
                if whose == str(program):
                    self.own[place] += n
        if not self.own:
            raise Trouble(f"nothing of {program} was counted")


class Figures:
    """What was measured: by name, and by name what it is made of, a Counter of
    functions."""

    def __init__(self):
        self.of = {}
        self.parts = {}

    def note(self, name, value, parts=None):
        self.of[name] = value
        self.parts[name] = parts or collections.Counter()


def each(counter, before, n):
    """What one of <n> has cost, by function."""
    return collections.Counter({
        function: (count - before[function]) / n
        for function, count in counter.items() if count != before[function]})


# ---- the codecs


def measure_calls(build, folder, figures):
    program = build / "tests/bench/cost_calls"
    out = folder / "calls"
    run = subprocess.run(
        CALLGRIND + [f"--callgrind-out-file={out}",
                     "--zero-before=count_case", "--dump-after=count_case",
                     str(program)],
        env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    for i, line in enumerate(run.stdout.splitlines(), 1):
        name, calls = line.split()
        parts = each(Count(out.with_name(f"calls.{i}"), program).own,
                     collections.Counter(), int(calls))
        figures.note(f"{name}.own", round(parts.total()), parts)


# ---- messages


@contextlib.contextmanager
def proxy(folder, cloud, start):
    """The port of one that start(ARGUMENTS, stderr=...) has started."""
    cost_peers.write_files(folder, cloud.port, DEVICES)
    process = start(["run", "--config", str(folder / "proxy.ini")],
                    stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r" event=ready .*\bport=(\d+)", line):
                break
        else:
            raise Trouble("the proxy has ended:\n" + "".join(said))
        yield int(found[1])
        process.send_signal(signal.SIGTERM)
        if process.wait(60) != 0:
            raise Trouble(f"the proxy has ended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def count_run(build, folder, name, messages):
    """A run of the proxy with <messages>, (contract, QoS, how many), in it."""
    program = build / "mqtt-wss-proxy"
    folder = folder / name
    folder.mkdir()
    out = folder / "count"

    def start(arguments, **more):
        return subprocess.Popen(
            CALLGRIND + [f"--callgrind-out-file={out}", str(program)]
            + arguments, env=ENVIRONMENT, **more)

    with cost_peers.Cloud() as cloud, proxy(folder, cloud, start) as port:
        devices = {}
        for contract in cost_peers.CONTRACTS:
            devices[contract] = cloud.connect(port, contract)
        for device in devices.values():
            for qos in (0, 1):
                device.relay(qos, WARM_UP)
        if messages:
            contract, qos, n = messages
            devices[contract].relay(qos, n)
        for device in devices.values():
            device.close()
    return Count(out, program)


def measure_messages(build, folder, figures):
    before = count_run(build, folder, "before", None)
    for contract in cost_peers.CONTRACTS:
        for qos in (0, 1):
            name = f"relay_{contract}_qos{qos}"
            count = count_run(build, folder, name, (contract, qos, MESSAGES))
            own = each(count.own, before.own, MESSAGES)
            figures.note(f"{name}.own", round(own.total()), own)
            figures.note(f"{name}.all",
                         round((count.all - before.all) / MESSAGES))
            allocators = each(count.allocators, before.allocators, MESSAGES)
            figures.note(f"{name}.allocations", round(allocators.total(), 1),
                         allocators)
            calls = each(count.calls, before.calls, MESSAGES)
            kernel = collections.Counter(
                {c: calls[c] for c in KERNEL & calls.keys()})
            # whole: on a slow machine timers come between
            figures.note(
                f"{name}.kernel_calls", round(kernel.total()), kernel)


# ---- sessions


def measure_sessions(build, folder, figures):
    """What half of the devices cost that are connected and silent."""
    counts = folder / "malloc"
    counts.write_bytes(bytes(24))
    environment = ENVIRONMENT | {
        "LD_PRELOAD": str(build / "tests/bench/count_malloc.so"),
        "COUNT_MALLOC": str(counts),
    }

    def start(arguments, **more):
        return subprocess.Popen([str(build / "mqtt-wss-proxy")] + arguments,
                                env=environment, **more)

    (folder / "sessions").mkdir()
    with (cost_peers.Cloud() as cloud,
          proxy(folder / "sessions", cloud, start) as port,
          open(counts, "rb") as f,
          mmap.mmap(f.fileno(), 24, access=mmap.ACCESS_READ) as now,
          contextlib.ExitStack() as devices):
        seen = []
        first = cloud.connect(port, "none")
        devices.callback(first.close)
        for i in range(DEVICES):
            devices.callback(cloud.connect(port, f"d{i}").close)
            if i + 1 in (DEVICES // 2, DEVICES):
                # once it has come back all before it is done
                first.relay(0, 1)
                seen.append(struct.unpack("qqq", now[:]))
    of_half = [(b - a) / (DEVICES - DEVICES // 2) for a, b in zip(*seen)]
    for name, n in zip(
            ("login.allocations", "session.blocks", "session.bytes"), of_half):
        figures.note(name, round(n))


# ---- the table


def measure(build):
    for needed in ("mqtt-wss-proxy", "tests/bench/cost_calls",
                   "tests/bench/count_malloc.so"):
        if not (build / needed).exists():
            raise Trouble(f"{build} has no {needed}: make cost builds it")
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="cost-") as name:
        folder = pathlib.Path(name)
        measure_calls(build, folder, figures)
        measure_messages(build, folder, figures)
        measure_sessions(build, folder, figures)
    return figures


def read_bounds():
    """{figure: (bound, files)}"""
    bounds = {}
    for line in BOUNDS.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words:
            bounds[words[0]] = (int(words[1]), " ".join(words[2:]))
    return bounds


def unit_of(name):
    kind = name.rpartition(".")[2]
    return {"own": "instructions", "all": "instructions",
            "kernel_calls": "calls to the kernel"}.get(kind, kind)


def is_judged(name):
    """The instructions of another machine are others."""
    return (platform.machine() == "x86_64" or
            unit_of(name) != "instructions")


def judge(figures):
    """Prints the table. What is wrong, a text for each figure that is."""
    bounds = read_bounds()
    wrong = [f"{name}: not measured, but tests/bench/bounds has it"
             for name in bounds if name not in figures.of]
    loose = []
    print(f"{'':32}{'cost':>10}{'at most':>10}")
    for name, value in figures.of.items():
        bound, files = bounds.get(name, (None, ""))
        print(f"{name:32}{value:>10g}{'' if bound is None else bound:>10}"
              f"  {unit_of(name)}")
        if bound is None:
            wrong.append(f"{name}: no bound in tests/bench/bounds")
        elif not is_judged(name):
            continue
        elif value > bound:
            parts = ", ".join(
                f"{function} {n:.1f}" for function, n in
                figures.parts[name].most_common(8))
            wrong.append(
                f"{name}: {value:g} {unit_of(name)}, at most {bound} allowed:"
                f" the code of {files} has become dearer, or"
                " tests/bench/bounds has to say why"
                + (f"\n  (most of it: {parts})" if parts else ""))
        elif value < bound * LOOSE:
            loose.append(f"{name}: {value:g} {unit_of(name)}, {bound} allowed:"
                         " the bound in tests/bench/bounds can be lower")
    for text in loose:
        print("warning:", text)
    return wrong


def compare(figures, other):
    for name, value in figures.of.items():
        before = other.of.get(name)
        if value == before:
            continue
        print(f"{name}: {'-' if before is None else f'{before:g}'}"
              f" -> {value:g} {unit_of(name)}")
        then, now = other.parts.get(name, {}), figures.parts[name]
        for function in sorted(now.keys() | then.keys()):
            a, b = then.get(function, 0), now.get(function, 0)
            if abs(b - a) >= 1:
                print(f"    {function}: {a:.0f} -> {b:.0f}")


def main(build, other=None):
    # so that what runs is ended
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        figures = measure(pathlib.Path(build).resolve())
        if other is not None:
            compare(figures, measure(pathlib.Path(other).resolve()))
            return 0
        wrong = judge(figures)
    except (Trouble, OSError, subprocess.SubprocessError) as trouble:
        print("cost.py:", trouble)
        print("0 passed, 1 failed")
        return 1
    for text in wrong:
        print("FAILED:", text)
    print(f"{len(figures.of.keys() | read_bounds().keys()) - len(wrong)}"
          f" passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: cost.py BUILD [OTHER]")
    sys.exit(main(*sys.argv[1:]))
