/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon says of itself: how many processes it knows in which state, what the keep folder
 * takes, what it did, and what it costs. Names begin with mallardd_; those of its own process are
 * mallardd_process_*, since process_* of the same page are the watched processes'.
 *
 * SYNCHRONIZATION  Any thread: counters are atomic, the table has its lock.
 */
#include "daemon/metrics.h"

#include "base/attr.h"
#include "view/process.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static void put_head(struct view_buffer *out, const char *name, const char *type,
                     const char *help) {
    view_buffer_printf(out, "# HELP mallardd_%s %s\n# TYPE mallardd_%s %s\n", name, help, name,
                       type);
}

static void put_number(struct view_buffer *out, const char *name, const char *type,
                       const char *help, uint64_t value) {
    put_head(out, name, type, help);
    view_buffer_printf(out, "mallardd_%s %" PRIu64 "\n", name, value);
}

static void put_seconds(struct view_buffer *out, const char *name, const char *type,
                        const char *help, double value) {
    put_head(out, name, type, help);
    view_buffer_printf(out, "mallardd_%s %.6f\n", name, value);
}

static void put_states(const struct daemon_metrics *metrics, struct view_buffer *out) {
    static const char *const names[PROCESS_STATES] = {
        [PROCESS_LIVING] = "living",
        [PROCESS_ENDED] = "ended",
        [PROCESS_DEAD] = "dead",
        [PROCESS_DOUBTFUL] = "doubtful",
    };
    size_t in_state[PROCESS_STATES];
    table_counts(metrics->table, in_state);
    put_head(out, "processes", "gauge", "Processes known, by state.");
    for (unsigned state = 0; state < PROCESS_STATES; state++)
        view_buffer_printf(out, "mallardd_processes{state=\"%s\"} %zu\n", names[state],
                           in_state[state]);
}

static void put_counters(const struct daemon_counters *counters, struct view_buffer *out) {
    static const char time_name[] = "scan_ns";
#define PUT_COUNTER(name, help)                                                                    \
    if (strcmp(#name, time_name) == 0)                                                             \
        put_seconds(out, "scan_seconds_total", "counter", help,                                    \
                    (double)atomic_load(&counters->name) / 1e9);                                   \
    else                                                                                           \
        put_number(out, #name "_total", "counter", help, atomic_load(&counters->name));
    DAEMON_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
}

static void put_self(struct view_buffer *out) {
    struct process_facts facts;
    process_facts_read((uint32_t)getpid(), &facts);
    if (facts.cpu_ticks != PROCESS_UNKNOWN)
        put_seconds(out, "process_cpu_seconds_total", "counter",
                    "User and system CPU time of the daemon.",
                    (double)facts.cpu_ticks / (double)sysconf(_SC_CLK_TCK));
    if (facts.resident_bytes != PROCESS_UNKNOWN)
        put_number(out, "process_resident_memory_bytes", "gauge", "Resident memory of the daemon.",
                   facts.resident_bytes);
    if (facts.open_fds != PROCESS_UNKNOWN)
        put_number(out, "process_open_fds", "gauge", "Descriptors that the daemon has open.",
                   facts.open_fds);
    if (facts.max_fds != PROCESS_UNKNOWN)
        put_number(out, "process_max_fds", "gauge", "Descriptors that the daemon may open.",
                   facts.max_fds);
}

void daemon_metrics_put(void *context, struct view_buffer *out) {
    const struct daemon_metrics *metrics = context;
    put_head(out, "build_info", "gauge", "Always 1; the version is a label.");
    view_buffer_text(out, "mallardd_build_info{version=\"" MAL_VERSION "\"} 1\n");
    put_states(metrics, out);
    put_number(out, "kept_bytes", "gauge", "Bytes that the keep folder takes of its disk.",
               keeper_bytes(metrics->keeper));
    put_number(out, "keep_limit_bytes", "gauge", "Bytes that it may take.",
               keeper_limit(metrics->keeper));
    put_counters(metrics->counters, out);
    put_self(out);
}
