"""The path of files on one machine: many small ones, one on an idle relay, a long backlog."""
import ctypes
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

from . import common
from .common import BINARY, table

NAIVE = """
import os
fd = os.open("out", os.O_RDONLY)
for name in sorted(os.listdir("files")):
    with open("files/" + name, "rb") as f: data = f.read()
    with open("out/." + name, "wb") as f: f.write(data); f.flush(); os.fsync(f.fileno())
    os.rename("out/." + name, "out/" + name)
    os.fsync(fd)
"""


def small_files(where):
    os.makedirs(f"{where}/files")
    for i in range(common.args.files):
        with open(f"{where}/files/f{i:05d}.dat", "wb") as f:
            f.write(os.urandom(4096))
    with open(f"{where}/local.toml", "w") as f:
        f.write('home = "relay"\n[routes.r.source]\npath = "a"\nsettle = "0s"\n[routes.r.destination]\npath = "out"\n')
    with open(f"{where}/naive.py", "w") as f:
        f.write(NAIVE)

    def fresh():
        for folder in ("out", "a", "relay"):
            shutil.rmtree(f"{where}/{folder}", ignore_errors=True)
        os.makedirs(f"{where}/out")
        shutil.copytree(f"{where}/files", f"{where}/a")
        os.sync()

    def arrived():
        for name in os.listdir(f"{where}/files"):
            with open(f"{where}/files/{name}", "rb") as x, open(f"{where}/out/{name}", "rb") as y:
                assert x.read() == y.read(), name

    table(
        f"{common.args.files:,} files of 4 KiB, local to local",
        "files",
        common.args.files,
        [
            ("create, fsync, rename, fsync folder", fresh, [sys.executable, "naive.py"], where, arrived),
            ("passerelle run --once", fresh, [BINARY, "-c", "local.toml", "run", "--once"], where, arrived),
        ],
    )


class Arrivals:
    """Names that were renamed into a folder, as inotify tells them."""

    def __init__(self, folder):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init()
        if libc.inotify_add_watch(self.fd, folder.encode(), 0x80) < 0:
            sys.exit(f"{folder} can't be watched")

    def wait(self, seconds=60):
        """Blocks until there is one; false: none came."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if ready:
            os.read(self.fd, 1 << 16)
        return bool(ready)


LOCAL = 'home = "relay"\n[routes.r.source]\npath = "a"\nsettle = "0s"\n[routes.r.destination]\npath = "b"\n'


def start_local(where):
    return subprocess.Popen([BINARY, "run"], cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def copy_naively(source, folder, fd, name):
    with open(source, "rb") as f:
        data = f.read()
    with open(f"{folder}/.{name}", "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.rename(f"{folder}/.{name}", f"{folder}/{name}")
    os.fsync(fd)


def latency(where):
    """An idle relay, one file renamed in: how long until it is there under its final name."""
    for folder in ("a", "b", "naive", "in"):
        os.mkdir(f"{where}/{folder}")
    with open(f"{where}/passerelle.toml", "w") as f:
        f.write(LOCAL)
    relay = start_local(where)
    try:
        while not os.path.exists(f"{where}/a/.passerelle"):
            time.sleep(0.01)
        time.sleep(1)
        arrivals, fd = Arrivals(f"{where}/b"), os.open(f"{where}/naive", os.O_RDONLY)
        ours, naive = [], []
        for i in range(100 * common.args.rounds):
            name = f"f{i}.dat"
            for folder in ("in", "a"):
                with open(f"{where}/{folder}/{name}.tmp", "wb") as f:
                    f.write(os.urandom(4096))
            os.rename(f"{where}/in/{name}.tmp", f"{where}/in/{name}")
            start = time.monotonic()
            copy_naively(f"{where}/in/{name}", f"{where}/naive", fd, name)
            naive.append(time.monotonic() - start)
            start = time.monotonic()
            os.rename(f"{where}/a/{name}.tmp", f"{where}/a/{name}")
            if not arrivals.wait():
                sys.exit(f"{name} never came")
            ours.append(time.monotonic() - start)
            assert os.path.exists(f"{where}/b/{name}")
            # Its archive follows: the next one finds the relay idle again.
            time.sleep(0.1)
    finally:
        relay.terminate()
        relay.wait()
    print(f"\nOne file of 4 KiB renamed in, an idle relay, local to local, {len(ours)} times")
    base = statistics.median(naive)
    for name, values in (("create, fsync, rename, fsync folder", naive), ("passerelle run, final name at B", ours)):
        values = sorted(values)
        middle, late = statistics.median(values), values[int(len(values) * 0.99)]
        print(f"  {name:<34} median {middle * 1000:6.2f} ms ({middle / base:4.1f} ×)   p99 {late * 1000:6.2f} ms ({late / base:4.1f} ×)")


def memory_peak(process):
    status = open(f"/proc/{process.pid}/status").read()
    return int(next(l for l in status.splitlines() if l.startswith("VmHWM")).split()[1]) / 1024


def backlog(where):
    """Many waiting files: the first delivery, also after kill -9, the peak memory, and the rate at the end and at the start."""
    for folder in ("a", "b"):
        os.mkdir(f"{where}/{folder}")
    with open(f"{where}/passerelle.toml", "w") as f:
        f.write(LOCAL)
    for i in range(common.args.backlog):
        with open(f"{where}/a/f{i:07d}.dat", "wb") as f:
            f.write(b"%07d" % i * 10)
    os.sync()
    print(f"\n{common.args.backlog:,} waiting files, local to local")
    peak = 0.0

    def first(what):
        arrivals, start = Arrivals(f"{where}/b"), time.monotonic()
        relay = start_local(where)
        if not arrivals.wait(600):
            sys.exit("nothing came")
        print(f"  {what:<34} {time.monotonic() - start:8.2f} s")
        return relay

    relay = first("start to first delivery")
    time.sleep(2)
    peak = max(peak, memory_peak(relay))
    relay.send_signal(signal.SIGKILL)
    relay.wait()
    relay = first("the same after kill -9")
    marks, begin = [], time.monotonic()
    while (count := len(os.listdir(f"{where}/b"))) < common.args.backlog:
        marks.append((time.monotonic() - begin, count))
        time.sleep(1)
        peak = max(peak, memory_peak(relay))
    marks.append((time.monotonic() - begin, common.args.backlog))
    peak = max(peak, memory_peak(relay))
    relay.terminate()
    relay.wait()

    def rate(part):
        return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])

    fifth = max(2, len(marks) // 5)
    early, late = rate(marks[:fifth]), rate(marks[-fifth - 1 : -1])
    print(f"  {'files/s, first fifth of the time':<34} {early:8,.0f}")
    print(f"  {'files/s, last fifth of the time':<34} {late:8,.0f}   {late / early:.2f} × the first")
    print(f"  {'peak memory':<34} {peak:8.0f} MiB")
    for i in range(0, common.args.backlog, 997):
        assert open(f"{where}/b/f{i:07d}.dat", "rb").read() == b"%07d" % i * 10
