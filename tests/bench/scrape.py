#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a scrape costs the program that is scraped.

    scrape.py [--reps N] [--scale FACTOR] [allocators.py's options]

scraped.c does a fixed amount of work on all CPUs, with 10 000 stacks in its profile, serving itself
(MALLARD_HTTP). Every other run its /debug/pprof/heap is fetched once a second. The slowdown includes
what this script spends on fetching, on the same CPUs. Whether the profile really has that many stacks is
looked up in its text form, before the work.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import allocators as known
import goals
import programs
import runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACKS_LEAST = 9900
PERIOD_SECONDS = 1.0


def fetch(port, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read()


def await_answer(port):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, OSError):
            return fetch(port, "/debug/pprof/heap")
        time.sleep(0.05)
    raise known.Problem("the program does not serve its profile")


def check_stacks(port):
    text = fetch(port, "/debug/pprof/heap?debug=1").decode(errors="replace")
    stacks = sum(" @ 0x" in line for line in text.splitlines())
    if stacks < STACKS_LEAST:
        raise known.Problem(f"the profile has {stacks} stacks, not {STACKS_LEAST}")
    return stacks


class Scraper(threading.Thread):
    """Fetches once a second until stopped; remembers how long each fetch took and its bytes."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.over, self.fetches, self.failed = port, threading.Event(), [], 0

    def run(self):
        while not self.over.wait(PERIOD_SECONDS):
            start = time.monotonic()
            try:
                size = len(fetch(self.port, "/debug/pprof/heap"))
                self.fetches.append((time.monotonic() - start, size))
            except OSError:
                self.failed += not self.over.is_set()

    def stop(self):
        self.over.set()
        self.join()


def run_once(place, allocator, scale, scraping):
    port = programs.free_port()
    env = place.environment(allocator, {"LD_PRELOAD": allocator.path, "MALLARD_HTTP": f"127.0.0.1:{port}"})
    process = subprocess.Popen([str(place.programs / "scraped"), str(scale)], env=env, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    scraper = Scraper(port)
    try:
        if process.stdout.readline() != "ready\n":
            raise known.Problem("the scraped program does not start")
        await_answer(port)
        stacks = check_stacks(port)
        if scraping:
            scraper.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        words = process.stdout.readline().split()
        if scraping:
            scraper.stop()
        if words[:1] != ["worked"] or process.wait(timeout=20) != 0:
            raise known.Problem("the scraped program fails")
        return {"seconds": int(words[1]) / 1e9, "fetches": scraper.fetches, "failed": scraper.failed, "stacks": stacks}
    finally:
        scraper.over.set()
        if process.poll() is None:
            process.kill()
        process.communicate()


def report(results, guard, options):
    quiet, scraped = ([f["seconds"] for f in results[kind]] for kind in ("quiet", "scraped"))
    fetches = [fetch for f in results["scraped"] for fetch in f["fetches"]]
    failed = sum(f["failed"] for f in results["scraped"])
    slowdown = statistics.median(scraped) / statistics.median(quiet) - 1
    print(f"stacks in the profile: {results['quiet'][0]['stacks']}")
    for kind, values in (("not scraped", quiet), ("scraped", scraped)):
        print(f"{kind:14}{statistics.median(values):8.3f} s   {min(values):.3f} to {max(values):.3f}")
    print(f"slowdown      {slowdown:+8.2%}   {len(fetches)} scrapes, {failed} failed")
    if fetches:
        print(f"one scrape    {statistics.median(t for t, _ in fetches) * 1e3:8.1f} ms, {statistics.median(b for _, b in fetches) / 1024:.0f} KiB")
    judged = goals.print_judged([("slowdown by a scrape a second, %", 1, slowdown * 100)])
    print(f"\n{guard.sentence()}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scrape.json").write_text(json.dumps({"cpus": os.cpu_count(), "slowdown": slowdown, "goals": judged, "raw": results, "guard": guard.facts()}, indent=1) + "\n")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    known.add_options(parser, ROOT)
    parser.add_argument("--reps", type=int, default=7)
    options = parser.parse_args()
    place, guard, results = None, runs.Guarded(options.patience), {"quiet": [], "scraped": []}
    try:
        place = runs.Workplace(options.bin)
        allocator = known.Allocator("mallard", known.checked("mallard", options.lib), own=True)
        for turn in range(options.reps):
            for kind in (("quiet", "scraped") if turn % 2 else ("scraped", "quiet")):
                results[kind].append(guard.run(lambda k=kind: run_once(place, allocator, options.scale, k == "scraped")))
        return report(results, guard, options)
    except (known.Problem, OSError) as problem:
        return known.give_up("scrape", problem)
    finally:
        if place:
            place.end()


if __name__ == "__main__":
    sys.exit(main())
