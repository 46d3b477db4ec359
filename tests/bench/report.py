"""What figures say: medians, ranges, ratios, and whether targets are met."""
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Range:
    """The figures of some runs."""

    median: float
    least: float
    most: float
    runs: int

    @classmethod
    def of(cls, figures):
        return cls(median(figures), min(figures), max(figures), len(figures))

    def overlaps(self, other):
        return self.least <= other.most and other.least <= self.most

    def times(self, x):
        return Range(x * self.median, x * self.least, x * self.most, self.runs)


@dataclass(frozen=True)
class Target:
    """peer's figure is to be at most (at_least: at least) limit times that of
    the best of others: (peer, figure) each; with no others, limit itself."""

    figure: str
    limit: float
    others: tuple = ()
    at_least: bool = False
    peer: str = "ours"

    def words(self):
        bound = "at least" if self.at_least else "at most"
        if not self.others:
            return f"{bound} {self.limit:g}"
        names = " or ".join(
            peer if figure == self.figure else
            f"{figure} of {peer}" if peer != self.peer else figure
            for peer, figure in self.others)
        best = "the better of " if len(self.others) > 1 else ""
        return f"{bound} {self.limit:g} of {best}{names}"


@dataclass(frozen=True)
class Verdict:
    target: Target
    other: str  # who or what was best; empty: nothing to compare with
    ratio: float
    missed_by: float  # of the limit; 0: met
    # of the ranges, the other's times the limit; None: there are none
    overlap: bool | None

    def is_words(self):
        of_other = f" of {self.other}" if self.other else ""
        return f"{self.ratio:.2f}{of_other}"

    def ranges(self):
        return {True: "overlap", False: "disjoint", None: "-"}[self.overlap]

    def words(self):
        if self.missed_by == 0:
            return "met"
        by = f"{number(100 * self.missed_by)} %"
        return f"within noise, {by} off" if self.overlap else f"MISSED by {by}"


def judge(target, ranges):
    """ranges: of (peer, figure). None when a figure is not there."""
    own = ranges.get((target.peer, target.figure))
    others = {key: ranges[key] for key in target.others if key in ranges}
    if own is None or bool(others) != bool(target.others):
        return None
    if others:
        choose = max if target.at_least else min
        best = choose(others, key=lambda key: others[key].median)
        other = others[best]
        if other.median <= 0:
            return None
        ratio = own.median / other.median
        overlap = own.overlaps(other.times(target.limit))
        if own.runs == other.runs == 1:
            overlap = None
    else:
        best, ratio, overlap = ("", ""), own.median, None
    over = 1 - ratio / target.limit if target.at_least else (
        ratio / target.limit - 1)
    name = best[1] if best[0] == target.peer else best[0]
    return Verdict(target, name, ratio, max(0.0, over), overlap)


def number(x):
    """Three digits that count."""
    if x == 0 or abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 0.1 else (
        f"{x:.4f}")


def cell(r):
    if r is None:
        return "-"
    return f"{number(r.median)} ({number(r.least)}..{number(r.most)})"


def undisturbed(runs):
    """Those nobody else disturbed, or all when there are none."""
    return [r for r in runs if not r["disturbed"]] or list(runs)


def ranges_of(runs):
    """runs: dicts with peer, disturbed and figures. Returns {(peer, figure):
    Range}."""
    found = {}
    for peer in dict.fromkeys(r["peer"] for r in runs):
        good = undisturbed(
            [r for r in runs if r["peer"] == peer and not r.get("failed")])
        for figure in dict.fromkeys(k for r in good for k in r["figures"]):
            found[peer, figure] = Range.of(
                [r["figures"][figure] for r in good if figure in r["figures"]])
    return found


def table(head, lines):
    """Markdown that can be read as text too."""
    rows = [head, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rows.insert(1, ["-" * w for w in widths])
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |"
        for row in rows)


def targets_text(runs_of_row):
    """One table over all rows."""
    lines = []
    for row, runs in runs_of_row.items():
        ranges = ranges_of(runs)
        for target in row.targets:
            v = judge(target, ranges)
            whose = "" if target.peer == "ours" else f" of {target.peer}"
            lines.append([row.name, target.figure + whose, target.words(),
                          *(("-", "not measured", "-") if v is None else (
                              v.is_words(), v.words(), v.ranges()))])
    return table(["row", "figure", "target", "is", "", "ranges"], lines)


def row_text(row, runs):
    """The figures of one row."""
    ranges = ranges_of(runs)
    measured = {peer for peer, _ in ranges}
    peers = [p for p in row.peers if p in measured]
    figures = dict.fromkeys(f for _, f in ranges)
    parts = [f"### {row.name}: {row.title}"]
    if ranges:
        parts.append(table(["", *figures], [
            [p, *(cell(ranges.get((p, f))) for f in figures)] for p in peers]))
    parts += [f"{r['peer']} failed: {r['failed']}" for r in runs
              if r.get("failed")]
    disturbed = sum(r["disturbed"] for r in runs)
    if disturbed:
        parts.append(f"{disturbed} of {len(runs)} runs were disturbed by "
                     "others; they count only where there are no better ones.")
    return "\n\n".join(parts)
