/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking the resident set apart: the kernel knows what is resident in which mapping (rss_maps.c),
 * the statistics know what Mallard's memory is used for, and the two are brought together.
 *
 * The heap's resident bytes are divided by the statistics. They know which free memory is there:
 * holes in spans, fresh or given back, are counted. What they count beyond what is resident are
 * objects that were allocated and not touched yet, so it is live bytes that are cut. What the
 * statistics have too little (the heap grew since, or a huge page filled a hole) goes to the rest.
 * Of Mallard's own structures only the growing tables can be told from the program's own mappings;
 * the others are recognised by their sum alone, which is a little more than is resident.
 *
 * Every part is taken out of what is left of the whole, so the parts add up by construction, even
 * when the process changed between two lines of /proc, or when its box lies.
 */
#include "view/rss.h"

#include "view/heap.h"
#include "view/rss_maps.h"
#include "view/view.h"

#include <math.h>
#include <string.h>

struct part_text {
    const char *key, *label;
};

static const struct part_text texts[VIEW_RSS_PARTS] = {
    [VIEW_RSS_LIVE] = {"live", "live objects"},
    [VIEW_RSS_FREE_IN_SPANS] = {"free_in_spans", "free in spans"},
    [VIEW_RSS_CPU_CACHES] = {"cpu_caches", "free in caches"},
    [VIEW_RSS_FREE_PAGES] = {"free_pages", "free pages, not returned yet"},
    [VIEW_RSS_TABLES] = {"tables", "allocator tables"},
    [VIEW_RSS_PROFILER] = {"profiler", "profiler"},
    [VIEW_RSS_STACKS] = {"stacks", "thread stacks"},
    [VIEW_RSS_CODE_FILES] = {"code_files", "code and files"},
    [VIEW_RSS_REST] = {"rest", "the rest"},
};

const char *view_rss_key(enum view_rss_part part) {
    return texts[part].key;
}

const char *view_rss_label(enum view_rss_part part) {
    return texts[part].label;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b) {
    return a > b ? a - b : 0;
}

static uint64_t plus(uint64_t a, uint64_t b) {
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* Gives a part what it wants of `room`, as far as there is. */
static void give(struct view_rss *rss, enum view_rss_part part, uint64_t bytes, uint64_t *room) {
    bytes = least(bytes, *room);
    rss->part[part] += bytes;
    *room -= bytes;
}

/* The heap's resident bytes go to those first whose memory was certainly touched; live objects come
 * last, and so miss the rest of what was not. */
static void give_heap(struct view_rss *rss, const uint64_t *value, uint64_t resident,
                      uint64_t *room) {
    uint64_t cached = plus(value[MAL_STAT_CPU_CACHE], value[MAL_STAT_TRANSFER_CACHE]);
    uint64_t taken = plus(value[MAL_STAT_HEAP_ALLOC], cached);
    uint64_t spans = minus(value[MAL_STAT_HEAP_INUSE], plus(taken, value[MAL_STAT_SPAN_HOLES]));
    uint64_t pages = minus(value[MAL_STAT_HEAP_IDLE], value[MAL_STAT_HEAP_RELEASED]);
    uint64_t heap = least(resident, *room), before = heap;
    give(rss, VIEW_RSS_CPU_CACHES, cached, &heap);
    give(rss, VIEW_RSS_FREE_IN_SPANS, spans, &heap);
    give(rss, VIEW_RSS_FREE_PAGES, pages, &heap);
    give(rss, VIEW_RSS_LIVE, value[MAL_STAT_HEAP_ALLOC], &heap);
    *room -= before - heap;
}

/* Memory of OTHER_SYS is mapped and not handed out yet: nobody has touched it. */
static uint64_t tables_bytes(const uint64_t *value) {
    return plus(plus(value[MAL_STAT_SPAN_SYS], value[MAL_STAT_CACHE_SYS]), value[MAL_STAT_GC_SYS]);
}

/* Another library may reserve memory as our tables do: no more is ours than we ever asked for. */
static void give_tables(struct view_rss *rss, const uint64_t *value, uint64_t resident,
                        uint64_t *room) {
    give(rss, VIEW_RSS_TABLES, least(resident, value[MAL_STAT_SPAN_SYS]), room);
}

static void bring_together(struct view_rss *rss, const uint64_t *value,
                           const struct rss_maps *maps) {
    const uint64_t *resident = maps->resident_bytes;
    uint64_t room = rss->resident_bytes;
    give_heap(rss, value, resident[RSS_USE_HEAP], &room);
    give(rss, VIEW_RSS_STACKS, resident[RSS_USE_STACK], &room);
    give(rss, VIEW_RSS_CODE_FILES, resident[RSS_USE_FILE], &room);
    give(rss, VIEW_RSS_PROFILER, resident[RSS_USE_BOX], &room);
    give_tables(rss, value, resident[RSS_USE_TABLE], &room);
    uint64_t other = least(resident[RSS_USE_OTHER], room), other_before = other;
    give(rss, VIEW_RSS_TABLES, plus(value[MAL_STAT_CACHE_SYS], value[MAL_STAT_GC_SYS]), &other);
    give(rss, VIEW_RSS_TABLES, value[MAL_STAT_SPAN_INUSE], &other);
    give(rss, VIEW_RSS_PROFILER, value[MAL_STAT_BUCKET_SYS], &other);
    room -= other_before - other;
    rss->part[VIEW_RSS_REST] = room;
}

int view_rss_measure(uint32_t pid, const char *box_name, const struct mal_box_stats *stats,
                     struct view_rss *ret_rss) {
    const struct rss_question question = {.box_name = box_name,
                                          .heap_bytes = stats->value[MAL_STAT_HEAP_SYS]};
    struct view_rss rss = {.measured = true};
    struct rss_maps maps;
    int error = rss_maps_read(pid, &question, &maps);
    if (!error)
        error = rss_total_read(pid, &rss.resident_bytes);
    if (error)
        return error;
    bring_together(&rss, stats->value, &maps);
    *ret_rss = rss;
    return 0;
}

void view_rss_estimate(const struct mal_box_stats *stats, struct view_rss *ret_rss) {
    const uint64_t *value = stats->value;
    struct view_rss rss = {.resident_bytes = value[MAL_STAT_RSS]};
    uint64_t room = rss.resident_bytes;
    uint64_t ours = plus(tables_bytes(value), value[MAL_STAT_BUCKET_SYS]);
    give_heap(&rss, value, minus(room, ours), &room);
    give(&rss, VIEW_RSS_TABLES, tables_bytes(value), &room);
    give(&rss, VIEW_RSS_PROFILER, value[MAL_STAT_BUCKET_SYS], &room);
    give(&rss, VIEW_RSS_STACKS, value[MAL_STAT_STACK_INUSE], &room);
    rss.part[VIEW_RSS_REST] = room;
    *ret_rss = rss;
}

/* Of these the statistics know nothing, or only what the collector learned of stacks. */
bool view_rss_is_unknown(const struct view_rss *rss, enum view_rss_part part) {
    return !rss->measured && part >= VIEW_RSS_STACKS && rss->part[part] == 0;
}

/* ---- in words */

static void put_spread(double spread, struct view_buffer *out) {
    double percent = 100 * spread;
    if (percent >= 0.95)
        view_buffer_printf(out, " (call sites known to ±%.0f %%)", percent);
    else if (percent > 0)
        view_buffer_text(out, " (call sites known to better than ±1 %)");
    else if (percent == 0)
        view_buffer_text(out, " (call sites known exactly)");
}

void view_rss_sentence(const struct view_rss *rss, double live_spread, struct view_buffer *out) {
    char text[16];
    const char *before = " = ";
    view_human_bytes(rss->resident_bytes, text);
    view_buffer_printf(out, "RSS %s", text);
    for (int part = 0; part < VIEW_RSS_PARTS; part++) {
        if (rss->part[part] == 0)
            continue;
        view_human_bytes(rss->part[part], text);
        view_buffer_printf(out, "%s%s %s", before, text, texts[part].label);
        if (part == VIEW_RSS_LIVE)
            put_spread(live_spread, out);
        before = " + ";
    }
    if (!rss->measured)
        view_buffer_text(out, " (from the last statistics: the process cannot be measured)");
}

/* ---- how well the live bytes are known */

/* A bucket of n live samples, each drawn with probability p and standing for w = size / p bytes,
 * has the variance n w² (1 - p). */
double view_live_spread(const struct mal_snapshot *snapshot) {
    double estimate = 0, variance = 0;
    for (size_t i = 0; i < snapshot->bucket_count; i++) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[i];
        double live = (double)(bucket->allocs - bucket->frees);
        double factor = heap_factor(bucket->size, bucket->rate);
        double weight = (double)bucket->size * factor;
        estimate += live * weight;
        variance += live * weight * weight * (1 - 1 / factor);
    }
    return estimate > 0 && isfinite(estimate) ? sqrt(variance) / estimate : -1;
}
