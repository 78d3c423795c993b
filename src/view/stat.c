/* SPDX-License-Identifier: Apache-2.0
 *
 * One process in human units: who it is, what is resident, and where the bytes obtained from the
 * OS are, such that the parts add up to the whole.
 */
#include "view/collector.h"
#include "view/view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_COLUMNS 26 /* of the longest name, "free in spans, with the OS" */

void view_human_bytes(uint64_t bytes, char ret_text[16]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024) {
        value /= 1024;
        unit++;
    }
    snprintf(ret_text, 16, value >= 999.5 ? "%.0f %s" : "%.3g %s", value, units[unit]);
}

static void put_bytes(struct view_buffer *out, const char *name, uint64_t bytes) {
    char text[16];
    view_human_bytes(bytes, text);
    view_buffer_printf(out, "  %-*s %10s\n", NAME_COLUMNS, name, text);
}

static void put_duration(struct view_buffer *out, uint64_t ns) {
    unsigned long long seconds = ns / 1000000000u;
    if (seconds >= 86400)
        view_buffer_printf(out, "%llud", seconds / 86400);
    if (seconds >= 3600)
        view_buffer_printf(out, "%lluh", seconds / 3600 % 24);
    if (seconds >= 60)
        view_buffer_printf(out, "%llum", seconds / 60 % 60);
    view_buffer_printf(out, "%llus", seconds % 60);
}

static uint64_t since(uint64_t from_ns, uint64_t to_ns) {
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

static uint64_t now_unix_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void put_life(const struct view_process *process, const char *ending,
                     struct view_buffer *out) {
    uint64_t started_ns = process->identity.started_unix_ns;
    switch (process->status.life) {
    case MAL_LIFE_ALIVE:
        view_buffer_text(out, "running, up ");
        put_duration(out, since(started_ns, now_unix_ns()));
        break;
    case MAL_LIFE_EXITED:
        view_buffer_printf(out, "exited with %d after ", process->status.exit_code);
        put_duration(out, since(started_ns, process->status.ended_unix_ns));
        break;
    case MAL_LIFE_GONE:
        view_buffer_printf(out, "%s, last seen after ",
                           ending != NULL ? ending : "gone without an exit");
        put_duration(out, since(started_ns, process->stats.published_unix_ns));
        break;
    }
    view_buffer_text(out, "\n");
}

static void put_heap(const uint64_t *value, struct view_buffer *out) {
    uint64_t held = value[MAL_STAT_HEAP_ALLOC] + value[MAL_STAT_CPU_CACHE] +
                    value[MAL_STAT_TRANSFER_CACHE] + value[MAL_STAT_SPAN_FREE];
    put_bytes(out, "live objects", value[MAL_STAT_HEAP_ALLOC]);
    put_bytes(out, "free in CPU caches", value[MAL_STAT_CPU_CACHE]);
    put_bytes(out, "free in transfer caches", value[MAL_STAT_TRANSFER_CACHE]);
    uint64_t holes = value[MAL_STAT_SPAN_HOLES] < value[MAL_STAT_SPAN_FREE]
                         ? value[MAL_STAT_SPAN_HOLES]
                         : value[MAL_STAT_SPAN_FREE];
    put_bytes(out, "free in spans", value[MAL_STAT_SPAN_FREE] - holes);
    put_bytes(out, "free in spans, with the OS", holes);
    put_bytes(out, "tails of spans", since(held, value[MAL_STAT_HEAP_INUSE]));
    put_bytes(out, "idle, still ours",
              since(value[MAL_STAT_HEAP_RELEASED], value[MAL_STAT_HEAP_IDLE]));
    put_bytes(out, "idle, with the OS", value[MAL_STAT_HEAP_RELEASED]);
}

/* A process publishes first when it is some 20 ms old: until then all figures are 0. */
static bool has_published(const struct mal_box_stats *stats) {
    return stats->published_unix_ns != 0;
}

static void put_limit(const uint64_t *value, struct view_buffer *out) {
    if (value[MAL_STAT_MEM_LIMIT] < INT64_MAX)
        put_bytes(out, "memory limit", value[MAL_STAT_MEM_LIMIT]);
}

static void put_tables(const uint64_t *value, struct view_buffer *out) {
    put_bytes(out, "span tables", value[MAL_STAT_SPAN_SYS]);
    put_bytes(out, "cache tables", value[MAL_STAT_CACHE_SYS]);
    put_bytes(out, "profiler tables", value[MAL_STAT_BUCKET_SYS]);
    if (value[MAL_STAT_GC_SYS] > 0)
        put_bytes(out, "collector tables", value[MAL_STAT_GC_SYS]);
    put_bytes(out, "thread stacks, other", value[MAL_STAT_STACK_SYS] + value[MAL_STAT_OTHER_SYS]);
    put_bytes(out, "= obtained from the OS", value[MAL_STAT_SYS]);
}

static void put_ms(struct view_buffer *out, const char *name, uint64_t ns) {
    view_buffer_printf(out, "  %-*s %7.3f ms", NAME_COLUMNS, name, (double)ns / 1e6);
}

static void put_pauses(const struct view_collector *collector, struct view_buffer *out) {
    put_ms(out, "last pause", collector->last_pause_ns);
    view_buffer_text(out, "\n");
    put_ms(out, "all pauses", collector->total_pause_ns);
    view_buffer_printf(out, " (%.3f ms on average)\n",
                       (double)collector->total_pause_ns / 1e6 / (double)collector->cycles);
}

static void put_goal(const struct view_collector *collector, struct view_buffer *out) {
    if (collector->goal_bytes == VIEW_NO_GOAL)
        view_buffer_printf(out, "  %-*s %10s\n", NAME_COLUMNS, "next collection at", "no size");
    else
        put_bytes(out, "next collection at", collector->goal_bytes);
}

static void put_collector(const struct mal_box_stats *stats, struct view_buffer *out) {
    struct view_collector collector;
    if (!view_collector_of(stats, &collector))
        return;
    view_buffer_text(out, "\n");
    put_bytes(out, "collected heap", collector.heap_bytes);
    put_goal(&collector, out);
    view_buffer_printf(out, "  %-*s %10llu (%llu forced)\n", NAME_COLUMNS, "collections",
                       (unsigned long long)collector.cycles,
                       (unsigned long long)collector.forced_cycles);
    if (collector.cycles == 0)
        return;
    put_bytes(out, "live at the last one", collector.live_bytes);
    put_pauses(&collector, out);
    view_buffer_printf(out, "  %-*s %8.1f %%\n", NAME_COLUMNS, "CPU time for collecting",
                       (double)collector.cpu_ppb / 1e7);
}

static void put_counts(const struct view_process *process, struct view_buffer *out) {
    const uint64_t *value = process->stats.value;
    view_buffer_printf(out, "  %-*s %10llu (%llu allocated, %llu freed)\n", NAME_COLUMNS, "objects",
                       (unsigned long long)value[MAL_STAT_HEAP_OBJECTS],
                       (unsigned long long)value[MAL_STAT_MALLOCS],
                       (unsigned long long)value[MAL_STAT_FREES]);
    view_buffer_printf(out, "  %-*s %10llu (%llu live, %llu dropped)\n", NAME_COLUMNS, "samples",
                       (unsigned long long)value[MAL_STAT_SAMPLES],
                       (unsigned long long)value[MAL_STAT_SAMPLES_LIVE],
                       (unsigned long long)process->status.dropped_samples);
}

int view_stat_text(const struct view_process *process, const char *ending,
                   struct view_buffer *out) {
    const char *exe = process->identity.exe ? process->identity.exe : "";
    view_buffer_printf(out, "%u ", process->identity.pid);
    view_buffer_printable(out, exe, strlen(exe));
    view_buffer_text(out, "  ");
    put_life(process, ending, out);
    if (!has_published(&process->stats)) {
        view_buffer_text(out, "  nothing was published yet\n");
        return out->failed ? -ENOMEM : 0;
    }
    put_bytes(out, "resident", process->stats.value[MAL_STAT_RSS]);
    put_bytes(out, "resident at most", process->stats.value[MAL_STAT_MAX_RSS]);
    put_limit(process->stats.value, out);
    view_buffer_text(out, "\n");
    put_heap(process->stats.value, out);
    put_tables(process->stats.value, out);
    view_buffer_text(out, "\n");
    put_counts(process, out);
    put_collector(&process->stats, out);
    return out->failed ? -ENOMEM : 0;
}
