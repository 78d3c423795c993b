#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What mallardd costs with 200 real small processes: CPU and memory over a minute.

    daemon.py BUILD        BENCH_PROCESSES=200 BENCH_SECONDS=60

The processes are perl (each allocates and frees a little, ten times a second), redis-server and
sqlite3, under Mallard. Measured with the daemon's own settings, first with nobody asking, then with
a scrape of /metrics every 15 seconds.
"""
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

from daemon_scene import run_alone  # noqa: E402

PROCESSES = int(os.environ.get("BENCH_PROCESSES", "200"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
SCRAPE_SECONDS = 15
CPU_PERCENT = 1.0
RSS_KIB = 64 << 10

PERL = ('my @kept; while (1) { my @work = map { "x" x int(rand 4000) } 1..200; '
        'push @kept, "y" x 2000 if @kept < 2000; select undef, undef, undef, 0.1 }')


def command(i):
    """Of ten processes: six perl, two redis-server, two sqlite3; what is not installed is perl."""
    redis = ["redis-server", "--port", "0", "--unixsocket", f"redis.{i}", "--save", "", "--appendonly", "no"]
    kind = [redis, ["sqlite3", ":memory:"]][i % 2] if i % 10 < 4 else ["perl"]
    return kind if len(kind) > 1 and shutil.which(kind[0]) else ["perl", "-e", PERL]


def start_all(scene):
    options = {"env": scene.env, "cwd": scene.folder, "stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scene.env["MALLARD_EAGER"] = "1"
    return [subprocess.Popen(command(i), **options) for i in range(PROCESSES)]


def end_all(processes):
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
        process.stdin.close()


def measure(daemon, scrape):
    """The share of one CPU in percent, over SECONDS."""
    begin, used, next_scrape = time.monotonic(), daemon.cpu_seconds(), 0.0
    while (now := time.monotonic() - begin) < SECONDS:
        if scrape and now >= next_scrape:
            daemon.metrics()
            next_scrape += SCRAPE_SECONDS
        time.sleep(0.2)
    return (daemon.cpu_seconds() - used) / (time.monotonic() - begin) * 100


def wait_for(daemon, name, seconds):
    """Once a second: asking costs the daemon more than following."""
    end = time.monotonic() + seconds
    while (daemon.number(name) or 0) < PROCESSES and time.monotonic() < end:
        time.sleep(1)
    return (daemon.number(name) or 0) >= PROCESSES


def bench(checks, scene):
    daemon = scene.daemon()
    processes = start_all(scene)
    try:
        checks.check(f"{PROCESSES} processes are followed", wait_for(daemon, 'mallardd_processes{state="living"}', 60),
                     daemon.number('mallardd_processes{state="living"}'))
        checks.check("each has a first profile", wait_for(daemon, "mallardd_profiles_written_total", 60))
        start = daemon.cpu_seconds()
        quiet = measure(daemon, False)
        rss, peak = daemon.memory_kib(), daemon.memory_kib("VmHWM")
        scraped = measure(daemon, True)
        rss_scraped, peak_scraped = daemon.memory_kib(), daemon.memory_kib("VmHWM")
        begin = time.monotonic()
        page = daemon.metrics()
        took = time.monotonic() - begin
        checks.check(f"less than {CPU_PERCENT} % of a CPU", quiet < CPU_PERCENT, f"{quiet:.2f} %")
        checks.check(f"less than {RSS_KIB >> 10} MiB", max(rss, rss_scraped) < RSS_KIB, f"{rss} KiB, {rss_scraped} KiB")
        print(f"     {PROCESSES} processes, {os.cpu_count()} CPUs, {SECONDS:.0f} s each")
        print(f"     finding them and their first profiles: {start:.2f} s of CPU")
        print(f"     nobody asks:                 {quiet:.2f} % of a CPU, {rss / 1024:.1f} MiB resident, {peak / 1024:.1f} MiB at most")
        print(f"     /metrics every {SCRAPE_SECONDS} s:         {scraped:.2f} % of a CPU, {rss_scraped / 1024:.1f} MiB resident, "
              f"{peak_scraped / 1024:.1f} MiB at most")
        print(f"     one /metrics:                {len(page) >> 10} KiB in {took * 1000:.0f} ms")
        print(f"     kept: {int(daemon.number('mallardd_profiles_written_total'))} profiles, "
              f"{int(daemon.number('mallardd_kept_bytes')) >> 10} KiB of disk")
    finally:
        end_all(processes)


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, sys.argv[1:], bench))
