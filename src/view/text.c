/* SPDX-License-Identifier: Apache-2.0
 *
 * The legacy text form, `?debug=1`: raw sampled sums with return addresses, one commented line a
 * frame, and the MemStats block. Readers of it (pprof among them) unsample by the rate in the
 * header, which is doubled there for historical reasons.
 *
 * pprof takes the format for an older one of two columns when live and allocated numbers agree
 * everywhere, hence the one byte added in that case, as Go does since 1.21.
 */
#include "view/align.h"
#include "view/memstats.h"
#include "view/number.h"
#include "view/places.h"
#include "view/symbols.h"
#include "view/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct sums {
    uint64_t inuse_objects, inuse_bytes, alloc_objects, alloc_bytes;
};

struct text_row {
    const struct mal_snapshot_bucket *bucket;
    uint64_t inuse_bytes;
    size_t order; /* newest first */
};

static struct sums sums_of(const struct mal_snapshot_bucket *bucket) {
    uint64_t live = bucket->allocs - bucket->frees;
    return (struct sums){live, live * bucket->size, bucket->allocs, bucket->allocs * bucket->size};
}

static void put_header(const struct mal_snapshot *snapshot, struct view_buffer *out) {
    struct sums total = {0};
    for (size_t i = 0; i < snapshot->bucket_count; i++) {
        struct sums sums = sums_of(&snapshot->buckets[i]);
        total.inuse_objects += sums.inuse_objects;
        total.inuse_bytes += sums.inuse_bytes;
        total.alloc_objects += sums.alloc_objects;
        total.alloc_bytes += sums.alloc_bytes;
    }
    if (total.inuse_bytes == total.alloc_bytes)
        total.alloc_bytes++;
    view_buffer_printf(
        out, "heap profile: %llu: %llu [%llu: %llu] @ heap/%llu\n",
        (unsigned long long)total.inuse_objects, (unsigned long long)total.inuse_bytes,
        (unsigned long long)total.alloc_objects, (unsigned long long)total.alloc_bytes,
        (unsigned long long)(snapshot->mem_profile_rate * 2));
}

static void put_bucket(const struct mal_snapshot_bucket *bucket, struct view_buffer *out) {
    struct sums sums = sums_of(bucket);
    view_buffer_printf(out, "%llu: %llu [%llu: %llu] @", (unsigned long long)sums.inuse_objects,
                       (unsigned long long)sums.inuse_bytes, (unsigned long long)sums.alloc_objects,
                       (unsigned long long)sums.alloc_bytes);
    for (uint32_t i = 0; i < bucket->depth; i++)
        view_buffer_printf(out, " 0x%llx", (unsigned long long)bucket->pcs[i]);
    view_buffer_text(out, "\n");
}

/* One commented line: address, function with offset, place. */
static void align_frame(struct view_align *align, uint64_t address,
                        const struct view_symbol *symbol, const struct view_frame *frame) {
    char text[32], place[4096], name[8704];
    view_align_row(align);
    view_align_cell(align, "#");
    snprintf(text, sizeof(text), "0x%llx", (unsigned long long)address);
    view_align_cell(align, text);
    if (symbol->source == VIEW_SYMBOL_OFFSET) {
        view_align_cell(align, frame->name);
        return;
    }
    snprintf(name, sizeof(name), "%s+0x%llx", frame->name,
             (unsigned long long)(address - symbol->entry));
    view_align_cell(align, name);
    if (frame->file[0]) {
        snprintf(place, sizeof(place), "%s:%lld", frame->file, (long long)frame->line);
        view_align_cell(align, place);
    }
}

static int align_pc(struct view_align *align, struct view_session *session, uint64_t pc) {
    uint64_t address = view_call_address(pc);
    size_t module = view_module_of(session->snapshot, pc);
    if (module == VIEW_NO_MODULE) {
        char text[32];
        snprintf(text, sizeof(text), "0x%llx", (unsigned long long)address);
        view_align_row(align);
        view_align_cell(align, "#");
        view_align_cell(align, text);
        return 0;
    }
    struct view_symbol symbol;
    int error = view_session_symbol(session, module, address, &symbol);
    for (uint32_t i = 0; !error && i < symbol.frame_count; i++)
        align_frame(align, address, &symbol, &symbol.frames[i]);
    return error;
}

static int put_frames(const struct mal_snapshot_bucket *bucket, struct view_session *session,
                      struct view_align *align, struct view_buffer *out) {
    int error = 0;
    for (uint32_t i = 0; !error && i < bucket->depth; i++)
        error = align_pc(align, session, bucket->pcs[i]);
    view_align_flush(align, out);
    view_buffer_text(out, "\n");
    return error;
}

static int compare_rows(const void *left, const void *right) {
    const struct text_row *a = left, *b = right;
    if (a->inuse_bytes != b->inuse_bytes)
        return a->inuse_bytes > b->inuse_bytes ? -1 : 1;
    return (a->order > b->order) - (a->order < b->order);
}

static int put_buckets(const struct mal_snapshot *snapshot, struct view_session *session,
                       struct view_buffer *out) {
    struct view_align align = {0};
    size_t count = snapshot->bucket_count;
    struct text_row *rows = calloc(count + 1, sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[count - 1 - i];
        rows[i] = (struct text_row){bucket, sums_of(bucket).inuse_bytes, i};
    }
    qsort(rows, count, sizeof(*rows), compare_rows);
    int error = 0;
    for (size_t i = 0; !error && i < count; i++) {
        put_bucket(rows[i].bucket, out);
        error = put_frames(rows[i].bucket, session, &align, out);
    }
    view_align_free(&align);
    free(rows);
    return error;
}

/* -------------------------------------------------------------------------- runtime.MemStats */

static void put_value(struct view_buffer *out, const char *name, uint64_t value) {
    view_buffer_printf(out, "# %s = %llu\n", name, (unsigned long long)value);
}

static void put_pair(struct view_buffer *out, const char *name, uint64_t inuse, uint64_t sys) {
    view_buffer_printf(out, "# %s = %llu / %llu\n", name, (unsigned long long)inuse,
                       (unsigned long long)sys);
}

static void put_ring(struct view_buffer *out, const char *name,
                     const uint64_t ring[MAL_BOX_PAUSES]) {
    view_buffer_printf(out, "# %s = [", name);
    for (size_t i = 0; i < MAL_BOX_PAUSES; i++)
        view_buffer_printf(out, i ? " %llu" : "%llu", (unsigned long long)ring[i]);
    view_buffer_text(out, "]\n");
}

static void put_system_values(const uint64_t *value, struct view_buffer *out) {
    put_pair(out, "Stack", value[MAL_STAT_STACK_INUSE], value[MAL_STAT_STACK_SYS]);
    put_pair(out, "MSpan", value[MAL_STAT_SPAN_INUSE], value[MAL_STAT_SPAN_SYS]);
    put_pair(out, "MCache", value[MAL_STAT_CACHE_INUSE], value[MAL_STAT_CACHE_SYS]);
    put_value(out, "BuckHashSys", value[MAL_STAT_BUCKET_SYS]);
    put_value(out, "GCSys", value[MAL_STAT_GC_SYS]);
    put_value(out, "OtherSys", value[MAL_STAT_OTHER_SYS]);
}

static void put_memstats(const struct mal_box_stats *stats, struct view_buffer *out) {
    const uint64_t *value = stats->value;
    char fraction[VIEW_NUMBER_BYTES];
    view_shortest((double)value[MAL_STAT_GC_CPU_PPB] / 1e9, fraction);
    view_buffer_text(out, "\n# runtime.MemStats\n");
    view_memstats_heap(value, put_value, out);
    put_system_values(value, out);
    put_value(out, "NextGC", value[MAL_STAT_NEXT_GC]);
    put_value(out, "LastGC", value[MAL_STAT_LAST_GC]);
    put_ring(out, "PauseNs", stats->pause_ns);
    put_ring(out, "PauseEnd", stats->pause_end_unix_ns);
    put_value(out, "NumGC", (uint32_t)value[MAL_STAT_NUM_GC]);
    put_value(out, "NumForcedGC", (uint32_t)value[MAL_STAT_NUM_FORCED_GC]);
    view_buffer_printf(out, "# GCCPUFraction = %s\n", fraction);
    view_buffer_text(out, "# DebugGC = false\n");
    put_value(out, "MaxRSS", value[MAL_STAT_MAX_RSS]);
}

int view_heap_text(const struct mal_snapshot *snapshot, const struct mal_box_stats *stats,
                   struct view_symbols *symbols, struct view_buffer *out) {
    struct view_session session;
    size_t before = out->bytes;
    int error = view_session_begin(&session, symbols, snapshot);
    if (error)
        return error;
    put_header(snapshot, out);
    error = put_buckets(snapshot, &session, out);
    view_session_end(&session);
    put_memstats(stats, out);
    if (out->failed)
        error = -ENOMEM;
    if (error)
        out->bytes = before;
    return error;
}
