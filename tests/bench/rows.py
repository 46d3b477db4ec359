"""What is measured: each row is one kind of work for some of the proxies, and
what ours is to reach. Figures carry their unit at the end of the name."""
from dataclasses import dataclass
from typing import Callable

from measure import Failed
from report import Target

MB = 1e6
BULK = 65536
GROWTH = (100, 1000, 3000, 9000)
ENTRIES = (100, 1000, 10000, 100000)


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    peers: tuple
    run: Callable  # of a Bench and a Peer; returns the figures
    targets: tuple = ()


def against(figure, limit, *peers, **more):
    return Target(figure, limit, tuple((p, figure) for p in peers), **more)


def all_arrived(site, steps):
    """No message may be lost on the way."""
    sent = sum(s["sent"] for s in steps if s["step"] == "publish")
    arrived = site.sink_counted()["messages"]
    if sent != arrived:
        raise Failed(f"{sent} messages were sent, {arrived} arrived")


def us_a_message(step):
    return 1e6 * step["cpu_s"] / step["sent"]


def published(*options, figures, mode="publish", all_cores=False):
    """A row's run: the last step of this load."""
    def run(bench, peer):
        with bench.site(peer, all_cores=all_cores) as site:
            steps = list(site.steps(mode, *options, "-d", bench.seconds))
            all_arrived(site, steps)
        return figures(steps[-1])
    return run


def message_figures(step):
    return dict(us_per_message=us_a_message(step),
                messages_per_s=step["sent"] / step["seconds"],
                cores=step["cpu_s"] / step["seconds"],
                cloud_cores=step["sink_cpu_s"] / step["seconds"])


def bulk_figures(messages):
    def figures(step):
        bulk = step[messages] * BULK / MB
        return dict(MB_per_core_s=bulk / step["cpu_s"],
                    MB_per_s=bulk / step["seconds"])
    return figures


def trip_figures(step):
    return {k: step[k] for k in ("p50_us", "p99_us", "p999_us")} | dict(
        us_per_message=us_a_message(step))


def fetched(bench, peer):
    with bench.site(peer) as site:
        *_, step = site.steps("fetch", "-s", BULK, "-k",
                              int(12000 * bench.seconds))
    return bulk_figures("received")(step)


def storm(keys="ec", resume=True, all_cores=False):
    def run(bench, peer):
        with bench.site(peer, keys, resume, all_cores) as site:
            list(site.steps("hold", "-n", 1))  # there is a ticket now
            step, = site.steps("storm", "-d", bench.seconds)
            counted = site.sink_counted()
        figures = dict(cpu_ms_per_connect=1e3 * step["cpu_s"] / step["sent"],
                       connects_per_s=step["sent"] / step["seconds"],
                       p50_ms=step["p50_us"] / 1e3,
                       p99_ms=step["p99_us"] / 1e3)
        if resume:
            figures["resumed_percent"] = (
                100 * counted["resumed"] / (counted["handshakes"] - 1))
        return figures
    return run


def idle(bench, peer):
    # a process or thread each, or milliseconds a login: that takes long
    slow = peer.name in ("stunnel", "node-ws")
    sizes = "1000" if slow else "1000,5000,9000"
    with bench.site(peer) as site:
        figures = {f"kib_at_{s['sessions']}": s["pss_kib"] / s["sessions"]
                   for s in site.steps("hold", "-n", sizes, settle_s=0.5)}
        return figures | dict(base_mib=site.before["pss_kib"] / 1024)


def crowd(bench, peer):
    """Few talk among many that are silent; then others dial meanwhile."""
    seconds = max(3, bench.seconds)
    with bench.site(peer) as site:
        steps = site.steps("trips", "-n", 9000, "-a", 40, "-r", 2000,
                           "-x", 2, "-d", seconds)
        next(steps)
        quiet = next(steps)
        with bench.load("storm", "-i", 10000, "-r", 500, "-d",
                        seconds) as dials:
            busy = next(steps)
            dialled = site.step_of(dials)
        list(steps)
    return dict(quiet_p50_us=quiet["p50_us"],
                quiet_p99_us=quiet["worst_p99_us"],
                p50_us=busy["p50_us"], p99_us=busy["worst_p99_us"],
                dials_per_s=dialled["sent"] / dialled["seconds"])


def features(bench, peer):
    """Paced as devices are, and all there is for one session."""
    figures = {}
    with bench.site(peer) as site:
        steps = list(site.steps("publish", "-n", 1000, "-r", 10000,
                                "-d", bench.seconds))
        figures["paced_us"] = us_a_message(steps[-1])
        if peer.name != "ours-guarded":  # hot is above its rates
            steps += site.steps("publish", "-i", 5000, "-g", 64, "-d",
                                bench.seconds)
            figures["hot_us"] = us_a_message(steps[-1])
        all_arrived(site, steps)
    return figures


def growth(bench, peer):
    figures = {}
    with bench.site(peer) as site:
        steps = list(site.steps(
            "publish", "-n", ",".join(map(str, GROWTH)), "-r", 5000,
            "-d", bench.seconds))
        all_arrived(site, steps)
    for n in GROWTH:
        opened, worked = (s for s in steps if s["sessions"] == n)
        figures[f"us_at_{n}"] = us_a_message(worked)
        figures[f"mib_at_{n}"] = opened["pss_kib"] / 1024
    figures["kib_from_1000"] = (
        1024 * (figures["mib_at_9000"] - figures["mib_at_1000"]) / 8000)
    figures["kib_to_1000"] = 1024 * figures["mib_at_1000"] / 1000
    return figures


def start(bench, peer):
    figures = {}
    bench.start_cost(peer, 1)  # the program is in memory now
    cost = {n: bench.start_cost(peer, n) for n in ENTRIES}
    for n in ENTRIES:
        figures[f"ms_at_{n}"] = 1e3 * cost[n]["seconds"]
        figures[f"mib_at_{n}"] = cost[n]["pss_kib"] / 1024
    for name, least, most in (("to", 100, 10000), ("from", 10000, 100000)):
        for unit, key, times in (("us", "seconds", 1e6),
                                 ("kib", "pss_kib", 1)):
            figures[f"{unit}_per_entry_{name}_10000"] = times * (
                cost[most][key] - cost[least][key]) / (most - least)
    return figures


TLS = ("haproxy", "nginx")
RIVALS = ("ours", *TLS, "stunnel", "node-ws")
MAIN = ("ours", *TLS)
THOUSAND = ("-n", 1000)

ROWS = {r.name: r for r in (
    Row("idle", "memory of a session that is silent", RIVALS, idle,
        (against("kib_at_5000", 0.55, "haproxy"),)),
    Row("storm", "connections with tickets, ECDSA", RIVALS, storm(),
        (against("cpu_ms_per_connect", 1.3, "nginx"),
         Target("resumed_percent", 99, at_least=True))),
    Row("storm-rsa", "connections with tickets, RSA", MAIN, storm("rsa"),
        (against("cpu_ms_per_connect", 1.3, "nginx"),
         Target("resumed_percent", 99, at_least=True))),
    Row("storm-full", "connections without resumption, ECDSA", RIVALS,
        storm(resume=False), (against("cpu_ms_per_connect", 1, *TLS),)),
    Row("storm-full-rsa", "connections without resumption, RSA", MAIN,
        storm("rsa", resume=False),
        (against("cpu_ms_per_connect", 1, *TLS),)),
    Row("steady", "1000 sessions, 10 messages a second each", RIVALS,
        published(*THOUSAND, "-r", 10000, figures=message_figures),
        (against("us_per_message", 1, *TLS),)),
    Row("saturate", "1000 sessions, as fast as it goes",
        (*MAIN, "node-ws"),
        published(*THOUSAND, figures=message_figures),
        (against("messages_per_s", 1, *TLS, at_least=True),)),
    Row("hot", "one session, 64 messages a write", (*MAIN, "node-ws"),
        published("-g", 64, figures=message_figures),
        (against("us_per_message", 1.4, "haproxy"),)),
    Row("single", "one session, one message a write", (*MAIN, "node-ws"),
        published(figures=message_figures),
        (against("us_per_message", 1, *TLS),)),
    Row("bulk-up", "messages of 64 KiB to the cloud", (*MAIN, "node-ws"),
        published("-s", BULK, figures=bulk_figures("sent")),
        (against("MB_per_core_s", 0.85, "haproxy", at_least=True),)),
    Row("bulk-down", "messages of 64 KiB from the cloud",
        (*MAIN, "node-ws"), fetched,
        (against("MB_per_core_s", 0.95, "haproxy", at_least=True),)),
    Row("trips", "QoS 1 round trips, 200 sessions, 2000 messages a second",
        (*MAIN, "tcp"),
        published("-n", 200, "-r", 2000, mode="trips", figures=trip_figures),
        (against("p50_us", 1, "tcp"),)),
    Row("workers", "the work of steady, on both processors",
        ("ours", "ours-2-workers"),
        published(*THOUSAND, "-r", 10000, figures=message_figures,
                  all_cores=True),
        (against("us_per_message", 1.1, "ours", peer="ours-2-workers"),)),
    Row("workers-storm", "the work of storm, on both processors",
        ("ours", "ours-2-workers"), storm(all_cores=True),
        (against("cpu_ms_per_connect", 1.1, "ours",
                 peer="ours-2-workers"),)),
    Row("workers-full", "the work of storm-full, on both processors",
        ("ours", "ours-2-workers"), storm(resume=False, all_cores=True),
        (against("cpu_ms_per_connect", 1.1, "ours",
                 peer="ours-2-workers"),)),
    Row("crowd", "the slowest of 40 that talk among 9000, by its p99; quiet, "
        "and while 500 others dial in a second", ("ours", "nginx"), crowd,
        (Target("p99_us", 3, (("ours", "quiet_p99_us"),)),)),
    Row("features", "what the contract and topic rules cost a message",
        ("ours", "ours-no-contract", "ours-guarded",
         "ours-topic-rules"), features),
    Row("growth", "5000 messages a second over more and more sessions",
        ("ours", "haproxy"), growth,
        (Target("us_at_9000", 1.3, (("ours", "us_at_1000"),)),
         Target("kib_from_1000", 1.1, (("ours", "kib_to_1000"),)))),
    Row("start", "a start with more and more entries", ("ours",), start,
        tuple(Target(f"{unit}_per_entry_from_10000", 1.3,
                     (("ours", f"{unit}_per_entry_to_10000"),))
              for unit in ("us", "kib"))),
)}
