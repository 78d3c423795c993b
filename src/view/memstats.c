/* SPDX-License-Identifier: Apache-2.0
 *
 * MemStats as JSON, under Go's names and with Go's identities, and beside them every statistic
 * of Mallard by its own name. BySize has Go's 61 entries: entry 0 stands for no size, then
 * come the smallest size classes, none above 18432 bytes, Go's largest there; the rest is zero.
 */
#include "view/memstats.h"

#include "view/number.h"

#include <errno.h>

#define BY_SIZE_ENTRIES 61
#define BY_SIZE_MAX_BYTES 18432

static void put_field(struct view_buffer *out, const char *name, uint64_t value) {
    view_buffer_printf(out, "\"%s\":%llu,", name, (unsigned long long)value);
}

static void put_ring(struct view_buffer *out, const char *name,
                     const uint64_t ring[MAL_BOX_PAUSES]) {
    view_buffer_printf(out, "\"%s\":[", name);
    for (size_t i = 0; i < MAL_BOX_PAUSES; i++)
        view_buffer_printf(out, i ? ",%llu" : "%llu", (unsigned long long)ring[i]);
    view_buffer_text(out, "],");
}

void view_memstats_heap(const uint64_t *value, view_put_value *put, struct view_buffer *out) {
    put(out, "Alloc", value[MAL_STAT_HEAP_ALLOC]);
    put(out, "TotalAlloc", value[MAL_STAT_TOTAL_ALLOC]);
    put(out, "Sys", value[MAL_STAT_SYS]);
    put(out, "Lookups", 0);
    put(out, "Mallocs", value[MAL_STAT_MALLOCS]);
    put(out, "Frees", value[MAL_STAT_FREES]);
    put(out, "HeapAlloc", value[MAL_STAT_HEAP_ALLOC]);
    put(out, "HeapSys", value[MAL_STAT_HEAP_SYS]);
    put(out, "HeapIdle", value[MAL_STAT_HEAP_IDLE]);
    put(out, "HeapInuse", value[MAL_STAT_HEAP_INUSE]);
    put(out, "HeapReleased", value[MAL_STAT_HEAP_RELEASED]);
    put(out, "HeapObjects", value[MAL_STAT_HEAP_OBJECTS]);
}

static void put_system_fields(const uint64_t *value, struct view_buffer *out) {
    put_field(out, "StackInuse", value[MAL_STAT_STACK_INUSE]);
    put_field(out, "StackSys", value[MAL_STAT_STACK_SYS]);
    put_field(out, "MSpanInuse", value[MAL_STAT_SPAN_INUSE]);
    put_field(out, "MSpanSys", value[MAL_STAT_SPAN_SYS]);
    put_field(out, "MCacheInuse", value[MAL_STAT_CACHE_INUSE]);
    put_field(out, "MCacheSys", value[MAL_STAT_CACHE_SYS]);
    put_field(out, "BuckHashSys", value[MAL_STAT_BUCKET_SYS]);
    put_field(out, "GCSys", value[MAL_STAT_GC_SYS]);
    put_field(out, "OtherSys", value[MAL_STAT_OTHER_SYS]);
}

static void put_collector_fields(const struct mal_box_stats *stats, struct view_buffer *out) {
    const uint64_t *value = stats->value;
    char fraction[VIEW_NUMBER_BYTES];
    view_shortest((double)value[MAL_STAT_GC_CPU_PPB] / 1e9, fraction);
    put_field(out, "NextGC", value[MAL_STAT_NEXT_GC]);
    put_field(out, "LastGC", value[MAL_STAT_LAST_GC]);
    put_field(out, "PauseTotalNs", value[MAL_STAT_PAUSE_TOTAL]);
    put_ring(out, "PauseNs", stats->pause_ns);
    put_ring(out, "PauseEnd", stats->pause_end_unix_ns);
    put_field(out, "NumGC", (uint32_t)value[MAL_STAT_NUM_GC]);
    put_field(out, "NumForcedGC", (uint32_t)value[MAL_STAT_NUM_FORCED_GC]);
    view_buffer_printf(out, "\"GCCPUFraction\":%s,\"EnableGC\":true,\"DebugGC\":false,", fraction);
}

static void put_size(struct view_buffer *out, const struct mal_box_class *class, bool first) {
    view_buffer_printf(out, "%s{\"Size\":%llu,\"Mallocs\":%llu,\"Frees\":%llu}", first ? "" : ",",
                       (unsigned long long)class->size_bytes, (unsigned long long)class->mallocs,
                       (unsigned long long)class->frees);
}

static void put_by_size(const struct mal_box_stats *stats, struct view_buffer *out) {
    static const struct mal_box_class none;
    int put = 1;
    view_buffer_text(out, "\"BySize\":[");
    put_size(out, &none, true);
    for (uint64_t i = 1; i < stats->class_count && put < BY_SIZE_ENTRIES; i++) {
        if (stats->by_class[i].size_bytes > BY_SIZE_MAX_BYTES)
            continue;
        put_size(out, &stats->by_class[i], false);
        put++;
    }
    for (; put < BY_SIZE_ENTRIES; put++)
        put_size(out, &none, false);
    view_buffer_text(out, "],");
}

static void put_own(const uint64_t *value, struct view_buffer *out) {
    static const char *const names[MAL_STAT_COUNT] = {
#define STAT_NAME(id, name, kind, help) name,
        MAL_STATS(STAT_NAME)
#undef STAT_NAME
    };
    view_buffer_text(out, "\"Mallard\":{");
    for (int id = 0; id < MAL_STAT_COUNT; id++)
        view_buffer_printf(out, "%s\"%s\":%llu", id ? "," : "", names[id],
                           (unsigned long long)value[id]);
    view_buffer_text(out, "}");
}

int view_memstats_json(const struct mal_box_stats *stats, struct view_buffer *out) {
    view_buffer_text(out, "{");
    view_memstats_heap(stats->value, put_field, out);
    put_system_fields(stats->value, out);
    put_collector_fields(stats, out);
    put_by_size(stats, out);
    put_own(stats->value, out);
    view_buffer_text(out, "}\n");
    return out->failed ? -ENOMEM : 0;
}
