"""What all parts share: where things are, how a command is timed, and the table of medians."""
import os
import socket
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.join(ROOT, "target/release/passerelle")
# Set from the command line before any part runs.
args = None


def nothing():
    pass


def measure(command, cwd, stdin=None):
    """Seconds and peak memory in MiB of a command; it must succeed."""
    # Through `time`: the peak of a process that Python starts itself would be Python's own.
    command = ["/usr/bin/time", "-f", "%M"] + command
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL if stdin is None else open(stdin), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    status = process.wait()
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit(f"{command} failed: {errors.decode(errors='replace')[-2000:]}")
    return seconds, int(errors.split()[-1]) / 1024


def table(title, unit, count, runs):
    """Runs each (name, prepare, command, cwd, check) in turn and prints the medians."""
    print(f"\n{title}")
    figures = {name: [] for name, *_ in runs}
    for _ in range(args.rounds):
        for name, prepare, command, cwd, check in runs:
            prepare()
            figures[name].append(measure(command, cwd))
            check()
    for name, values in figures.items():
        seconds = statistics.median(v[0] for v in values)
        memory = max(v[1] for v in values)
        print(f"  {name:<34} {seconds:8.2f} s  {count / seconds:12,.0f} {unit}/s  peak {memory:6.0f} MiB")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
