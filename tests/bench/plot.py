"""How costs grow, drawn by gnuplot."""
import platform
import subprocess
from pathlib import Path

from report import ranges_of

# row, file, axis, and the figures: name of those of each size, its unit
PLOTS = (
    ("growth", "growth-cpu.svg", "sessions", "us_at_",
     "us of CPU a message, at 5000 messages a second"),
    ("growth", "growth-memory.svg", "sessions", "mib_at_", "MiB"),
    ("start", "start-time.svg", "entries of the map", "ms_at_",
     "ms until ready"),
    ("start", "start-memory.svg", "entries of the map", "mib_at_", "MiB"),
)


def machine():
    model = next((line.split(":", 1)[1].strip()
                  for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{model}, Linux {platform.release()}"


def points(runs, prefix):
    """Of each peer: size, median, least, most."""
    found = {}
    for (peer, figure), r in ranges_of(runs).items():
        if figure.startswith(prefix):
            found.setdefault(peer, []).append(
                (int(figure.removeprefix(prefix)), r.median, r.least, r.most))
    return found


def write(folder, runs):
    written = []
    for row, file, axis, prefix, unit in PLOTS:
        of_peer = points([r for r in runs if r["row"] == row], prefix)
        if of_peer:
            draw(folder / file, axis, unit, of_peer)
            written.append(folder / file)
    return written


def draw(path, axis, unit, of_peer):
    data = "".join(
        f"${'p%d' % i} << EOD\n" + "".join(
            " ".join(map(str, line)) + "\n" for line in sorted(lines))
        + "EOD\n" for i, lines in enumerate(of_peer.values()))
    lines = ", ".join(f"$p{i} with yerrorlines title '{peer}'"
                      for i, peer in enumerate(of_peer))
    subprocess.run(["gnuplot"], check=True, text=True, input=f"""{data}
set terminal svg size 640,360 background rgb 'white'
set output '{path}'
set xlabel '{axis}'
set ylabel '{unit}'
set yrange [0:*]
set key left top
set grid
plot {lines}
""")
