/* SPDX-License-Identifier: Apache-2.0
 *
 * Prometheus text: one family after the other, each with one line per process.
 *
 * Every entry of MAL_STATS is a family "mallard_<its name>". The rules of the format bend some
 * names: counters end in _total, time is in seconds, shares are ratios; `exceptions` lists them.
 * A name says what is counted and the help text describes it; neither diagnoses.
 *
 * What speaks of the collected heap alone has lines only for processes that use theirs.
 *
 * A series is told apart by pid, exe and start (the start time in clock ticks). Only live
 * processes have values: the last words of a dead one are in its box, not in a time series. Two
 * boxes that claim to be one process would make the whole page invalid, so the later is skipped.
 */
#include "base/attr.h"
#include "view/collector.h"
#include "view/number.h"
#include "view/process.h"
#include "view/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum form {
    FORM_PLAIN,
    FORM_FROM_NS,      /* seconds */
    FORM_FROM_PPB,     /* ratio */
    FORM_FROM_PERCENT, /* ratio; all ones is infinite */
};

struct naming {
    const char *name;
    enum form form;
};

static const struct naming exceptions[MAL_STAT_COUNT] = {
    [MAL_STAT_TOTAL_ALLOC] = {"alloc_bytes_total", FORM_PLAIN},
    [MAL_STAT_TOTAL_FREE] = {"free_bytes_total", FORM_PLAIN},
    [MAL_STAT_LAST_GC] = {"last_gc_time_seconds", FORM_FROM_NS},
    [MAL_STAT_PAUSE_TOTAL] = {"gc_pause_seconds_total", FORM_FROM_NS},
    [MAL_STAT_GC_CPU_PPB] = {"gc_cpu_ratio", FORM_FROM_PPB},
    [MAL_STAT_GOGC] = {"gogc_ratio", FORM_FROM_PERCENT},
    [MAL_STAT_SCAV_CPU] = {"scavenge_cpu_seconds_total", FORM_FROM_NS},
};

struct stat_family {
    const char *name, *type, *help;
};

static const struct stat_family families[MAL_STAT_COUNT] = {
#define KIND_C "counter"
#define KIND_G "gauge"
#define STAT_FAMILY(id, name, kind, help) {name, KIND_##kind, help},
    MAL_STATS(STAT_FAMILY)
#undef STAT_FAMILY
#undef KIND_G
#undef KIND_C
};

/* One process of the page: its labels as text, and what is asked of the kernel once. */
struct series {
    const struct view_process *process;
    struct view_buffer labels;
    struct process_facts facts;
    struct view_collector collector;
    bool alive, collects;
};

struct page {
    struct series *series;
    size_t count;
    struct view_buffer *out;
};

static void append_label(struct view_buffer *out, const char *text) {
    size_t bytes = strlen(text);
    for (size_t at = 0; at < bytes;) {
        size_t length = view_utf8_bytes(text + at, bytes - at);
        if (length == 0)
            view_buffer_text(out, "?");
        else if (text[at] == '\n')
            view_buffer_text(out, "\\n");
        else if (text[at] == '"' || text[at] == '\\')
            view_buffer_printf(out, "\\%c", text[at]);
        else
            view_buffer_append(out, text + at, length);
        at += length ? length : 1;
    }
}

static void series_init(struct series *series, const struct view_process *process) {
    const struct mal_identity *identity = &process->identity;
    *series = (struct series){.process = process, .alive = process->status.life == MAL_LIFE_ALIVE};
    view_buffer_printf(&series->labels, "{pid=\"%u\",exe=\"", identity->pid);
    append_label(&series->labels, identity->exe ? identity->exe : "");
    view_buffer_printf(&series->labels, "\",start=\"%llu\"}",
                       (unsigned long long)identity->start_ticks);
    series->collects = view_collector_of(&process->stats, &series->collector);
    process_facts_read(series->alive ? process->host_pid : 0, &series->facts);
}

static bool is_known(const struct page *page, const struct series *series) {
    for (size_t i = 0; i < page->count; i++) {
        if (strcmp(page->series[i].labels.data, series->labels.data) == 0)
            return true;
    }
    return false;
}

static void put_head(struct page *page, const char *name, const char *type, const char *help) {
    view_buffer_printf(page->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_line(struct page *page, const char *name, const struct series *series,
                     const char *value) {
    view_buffer_printf(page->out, "%s%s %s\n", name, series->labels.data, value);
}

static void put_whole(struct page *page, const char *name, const struct series *series,
                      uint64_t value) {
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    put_line(page, name, series, text);
}

static void put_real(struct page *page, const char *name, const struct series *series,
                     double value) {
    char text[VIEW_NUMBER_BYTES];
    view_shortest(value, text);
    put_line(page, name, series, text);
}

/* Nanoseconds as seconds, exactly: a double would lose the last digits of a wall clock. */
static void put_seconds(struct page *page, const char *name, const struct series *series,
                        uint64_t ns) {
    char text[48];
    snprintf(text, sizeof(text), "%llu.%09llu", (unsigned long long)(ns / 1000000000u),
             (unsigned long long)(ns % 1000000000u));
    put_line(page, name, series, text);
}

static void put_stat(struct page *page, const char *name, const struct series *series, int id) {
    uint64_t value = series->process->stats.value[id];
    switch (exceptions[id].form) {
    case FORM_PLAIN:
        put_whole(page, name, series, value);
        break;
    case FORM_FROM_NS:
        put_seconds(page, name, series, value);
        break;
    case FORM_FROM_PPB:
        put_real(page, name, series, (double)value / 1e9);
        break;
    case FORM_FROM_PERCENT:
        if (value == UINT64_MAX)
            put_line(page, name, series, "+Inf");
        else
            put_real(page, name, series, (double)value / 100);
        break;
    }
}

static bool has_stat(const struct series *series, int id) {
    return series->alive && (series->collects || !view_collector_has(id));
}

static void put_stat_family(struct page *page, int id) {
    char name[128];
    const char *tail = exceptions[id].name ? exceptions[id].name : families[id].name;
    snprintf(name, sizeof(name), "mallard_%s", tail);
    put_head(page, name, families[id].type, families[id].help);
    for (size_t i = 0; i < page->count; i++) {
        if (has_stat(&page->series[i], id))
            put_stat(page, name, &page->series[i], id);
    }
}

/* ---------------------------------------------------------------- what is no entry of the table */

struct other_family {
    const char *name, *type, *help;
    /* Puts the line of one live process, or none where the value is unknown. */
    void (*put)(struct page *page, const char *name, const struct series *series);
};

static void put_known(struct page *page, const char *name, const struct series *series,
                      uint64_t value) {
    if (value != PROCESS_UNKNOWN)
        put_whole(page, name, series, value);
}

static void put_rate(struct page *page, const char *name, const struct series *series) {
    put_whole(page, name, series, series->process->status.mem_profile_rate);
}

static void put_dropped(struct page *page, const char *name, const struct series *series) {
    put_whole(page, name, series, series->process->status.dropped_samples);
}

static void put_last_pause(struct page *page, const char *name, const struct series *series) {
    if (series->collects && series->collector.cycles > 0)
        put_seconds(page, name, series, series->collector.last_pause_ns);
}

static void put_cpu(struct page *page, const char *name, const struct series *series) {
    if (series->facts.cpu_ticks != PROCESS_UNKNOWN)
        put_real(page, name, series,
                 (double)series->facts.cpu_ticks / (double)sysconf(_SC_CLK_TCK));
}

static void put_open_fds(struct page *page, const char *name, const struct series *series) {
    put_known(page, name, series, series->facts.open_fds);
}

static void put_max_fds(struct page *page, const char *name, const struct series *series) {
    put_known(page, name, series, series->facts.max_fds);
}

static void put_virtual(struct page *page, const char *name, const struct series *series) {
    put_known(page, name, series, series->facts.virtual_bytes);
}

static void put_resident(struct page *page, const char *name, const struct series *series) {
    put_known(page, name, series, series->facts.resident_bytes);
}

static void put_start(struct page *page, const char *name, const struct series *series) {
    put_seconds(page, name, series, series->process->identity.started_unix_ns);
}

static const struct other_family others[] = {
    {"mallard_profile_rate_bytes", "gauge", "Mean bytes between samples; 0 is off.", put_rate},
    {"mallard_dropped_samples_total", "counter", "Samples that found a table full.", put_dropped},
    {"mallard_gc_last_pause_seconds", "gauge",
     "Seconds the program was stopped for the last collection.", put_last_pause},
    {"process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
     put_cpu},
    {"process_open_fds", "gauge", "Number of open file descriptors.", put_open_fds},
    {"process_max_fds", "gauge", "Maximum number of open file descriptors.", put_max_fds},
    {"process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", put_virtual},
    {"process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", put_resident},
    {"process_start_time_seconds", "gauge",
     "Start time of the process since unix epoch in seconds.", put_start},
};

static void put_other_family(struct page *page, const struct other_family *family) {
    put_head(page, family->name, family->type, family->help);
    for (size_t i = 0; i < page->count; i++) {
        if (page->series[i].alive)
            family->put(page, family->name, &page->series[i]);
    }
}

static void put_alive(struct page *page) {
    const char *name = "mallard_process_alive";
    put_head(page, name, "gauge", "1 while the process runs, 0 once only its box is left.");
    for (size_t i = 0; i < page->count; i++)
        put_whole(page, name, &page->series[i], page->series[i].alive);
}

static int page_init(struct page *page, const struct view_process *processes, size_t count) {
    page->series = calloc(count + 1, sizeof(*page->series));
    if (!page->series)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct series *series = &page->series[page->count];
        series_init(series, &processes[i]);
        if (series->labels.failed || is_known(page, series))
            view_buffer_free(&series->labels);
        else
            page->count++;
    }
    return 0;
}

int view_metrics_text(const struct view_process *processes, size_t count, struct view_buffer *out) {
    struct page page = {.out = out};
    int error = page_init(&page, processes, count);
    if (error)
        return error;
    put_alive(&page);
    for (int id = 0; id < MAL_STAT_COUNT; id++)
        put_stat_family(&page, id);
    for (size_t i = 0; i < MAL_COUNT_OF(others); i++)
        put_other_family(&page, &others[i]);
    for (size_t i = 0; i < page.count; i++)
        view_buffer_free(&page.series[i].labels);
    free(page.series);
    return out->failed ? -ENOMEM : 0;
}
