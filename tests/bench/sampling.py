#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What sampling costs: Mallard as it is beside itself without, and with every allocation sampled.

    sampling.py [--bench NAME,...] [bench.py's options]

One library in three settings, interleaved and guarded as in bench.py. "mallard-off" samples nothing,
"mallard" one in 512 KiB, over the workloads; "mallard-rate1" everything, over the server's churn only:
ten times as long is what it may take.
"""
import sys

import allocators as known
import bench
import report

OFF, RATE_ONE, CHURN = "mallard-off", "mallard-rate1", "server"


class Sampling(bench.Bench):
    name = "sampling"

    def choose(self):
        return known.forms(self.options.lib, (OFF, RATE_ONE), self.place.folder)

    def under(self, name):
        return [a for a in self.chosen if a.name != RATE_ONE or name == CHURN]


def write(measured, options):
    beside = [OFF, known.OURS]
    raw = {name: {a: row[a] for a in beside} for name, row in measured.raw.items()}
    seconds = report.column(measured.raw, "seconds")
    report.print_times(raw, beside, beside)
    if CHURN in seconds:
        print(f"{CHURN:14}{seconds[CHURN][RATE_ONE]:>9.3f} with everything sampled")
    comparison = report.print_comparison(raw, beside)
    report.save(measured, {"seconds": seconds, "mallard_to_other_builds": comparison}, options)


def main():
    options = bench.parse_options(__doc__, ["own"])
    if "micro" in options.bench:
        return known.give_up("sampling", known.Misuse("micro is of bench.py, and tells what one sample costs"))
    return bench.main(options, Sampling, write)


if __name__ == "__main__":
    sys.exit(main())
