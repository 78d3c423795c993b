/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon counts of its own work; /metrics shows it.
 */
#ifndef MAL_DAEMON_COUNTERS_H
#define MAL_DAEMON_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/*   X(name, "help")    all are counters, mallardd_<name>_total */
#define DAEMON_COUNTERS(X)                                                                         \
    X(processes_found, "Processes found.")                                                         \
    X(processes_exited, "Processes that ended by a clean exit.")                                   \
    X(processes_kept, "Processes kept after another end.")                                         \
    X(processes_lost, "Ended processes given up because they could not be kept.")                  \
    X(processes_refused, "Processes left alone because too many are followed.")                    \
    X(boxes_removed, "Boxes removed because nothing could be read from them.")                     \
    X(profiles_written, "Profiles written to the keep folder.")                                    \
    X(profiles_skipped, "Profiles not written because nothing had changed.")                       \
    X(keep_errors, "Failures to write to the keep folder.")                                        \
    X(profiles_trimmed, "Profiles removed from the keep folder to make room or for their age.")    \
    X(processes_trimmed, "Dead processes removed from the keep folder to make room.")              \
    X(scans, "Scans of the folder of boxes.")                                                      \
    X(scan_ns, "Time spent in these scans.")

struct daemon_counters {
#define DAEMON_COUNTER_FIELD(name, help) _Atomic uint64_t name;
    DAEMON_COUNTERS(DAEMON_COUNTER_FIELD)
#undef DAEMON_COUNTER_FIELD
};

static inline void daemon_count(_Atomic uint64_t *counter, uint64_t more) {
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

#endif
