/* SPDX-License-Identifier: Apache-2.0
 *
 * Views: a box in, a document out. Nothing here knows HTTP, and nothing here touches the
 * allocator of the process it describes.
 *
 * All functions return 0 or a negative errno, and append to `out` only on success. Thread-safe as
 * long as one reader handle is used by one thread at a time; the symbol cache inside is shared
 * and has its own lock.
 */
#ifndef MAL_VIEW_VIEW_H
#define MAL_VIEW_VIEW_H

#include "box/reader.h"
#include "view/buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* Shared by all views of a program: the cache of symbols by build-id. One per process. */
struct view_symbols;
int view_symbols_create(struct view_symbols **ret_symbols);
void view_symbols_destroy(struct view_symbols *symbols); /* accepts NULL */

enum view_heap_kind {
    VIEW_HEAP = 0,         /* no default_sample_type, so pprof shows inuse_space */
    VIEW_ALLOCS = 1u << 0, /* default_sample_type alloc_space */
    VIEW_CAPPED = 1u << 1, /* with either: small enough for back ends, see view/cap.c */
};

/* The heap profile as gzipped profile.proto: four values a sample, unsampled bucket by bucket with
 * the rate each was drawn at, label bytes = size-class bytes, names, lines, inlined frames,
 * mappings with build-ids and has_functions. */
int view_heap_proto(const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                    enum view_heap_kind kind, struct view_buffer *out);

/* What `?seconds=` keeps of the first of its two profiles while it waits: 40 bytes a stack and
 * size, without the snapshot. One block for free(). */
struct view_base_row {
    uint64_t hash;     /* of stack, size and kind */
    int64_t values[4]; /* as in a sample of the profile */
};
struct view_base {
    uint64_t taken_unix_ns;
    size_t count;
    struct view_base_row row[]; /* by hash */
};

/* 0 or -ENOMEM. */
int view_heap_base(const struct mal_snapshot *snapshot, struct view_base **ret_base);
/* The same for a profile without samples: only the time counts. NULL when out of memory. */
struct view_base *view_empty_base(const struct mal_snapshot *snapshot);
size_t view_base_bytes(const struct view_base *base);

/* after - before, as `?seconds=` of Go gives it: all-zero samples dropped, duration_nanos set, no
 * default_sample_type, used mappings only. Of `kind` only VIEW_CAPPED counts. A stack that is only
 * in `before`, which no process that lives on has, is left out. */
int view_heap_delta_proto(const struct view_base *before, const struct mal_snapshot *after,
                          struct view_symbols *symbols, enum view_heap_kind kind,
                          struct view_buffer *out);

/* What was allocated at each stack when a scraper asked last: all that a difference needs, in 24
 * bytes a stack and size, without the snapshot. */
struct view_mark {
    uint64_t hash; /* of stack, size and kind */
    int64_t alloc_objects, alloc_bytes;
};
struct view_marks {
    uint64_t taken_unix_ns;
    size_t count;
    struct view_mark mark[]; /* by hash */
};

/* The profile for a scraper that adds up differences: what is live now, and what was allocated
 * since `before` (NULL: nothing yet, all allocations count as seen). *ret_after are the marks for
 * the next time, one block for free(). Of `kind` only VIEW_CAPPED counts. */
struct view_scrape {
    const struct view_marks *before;
    struct view_marks **ret_after;
};
int view_heap_scrape_proto(const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                           enum view_heap_kind kind, const struct view_scrape *scrape,
                           struct view_buffer *out);

/* The legacy text form, `?debug=1`, with the `# runtime.MemStats` block. Raw sampled sums. */
int view_heap_text(const struct mal_snapshot *snapshot, const struct mal_box_stats *stats,
                   struct view_symbols *symbols, struct view_buffer *out);

/* A profile that C programs have no data for: valid, empty, with Go's types and period.
 * Names: goroutine threadcreate block mutex profile. -ENOENT for another name. */
int view_empty_proto(const char *name, const struct mal_snapshot *snapshot,
                     struct view_buffer *out);
int view_empty_delta_proto(const char *name, uint64_t duration_ns,
                           const struct mal_snapshot *snapshot, struct view_buffer *out);
int view_empty_text(const char *name, struct view_buffer *out);

/* The index page; its counts are those of `snapshot`. */
int view_index_html(const struct mal_snapshot *snapshot, struct view_buffer *out);

/* `num_symbols: 1`, then `0xPC name` for each address of `request` (tokens separated by +) that
 * resolves, in order. */
int view_symbol_text(const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                     const char *request, size_t request_bytes, struct view_buffer *out);

/* Go's MemStats as JSON: {"Alloc":…, … ,"BySize":[{"Size":…,"Mallocs":…,"Frees":…}]}, and beside
 * Go's fields one object "Mallard" with every entry of MAL_STATS by its name. */
int view_memstats_json(const struct mal_box_stats *stats, struct view_buffer *out);

/* One process's lines of Prometheus text are rendered for all processes family by family. */
struct view_process {
    struct mal_identity identity;
    struct mal_status status;
    struct mal_box_stats stats;
    uint32_t host_pid; /* its pid in our pid namespace; 0: not running, or unknown */
};
int view_metrics_text(const struct view_process *processes, size_t count, struct view_buffer *out);

/* What `mallard stat` prints: one process in human units. `ending`: printable words for an end that
 * the process itself did not note; NULL: nobody knows any. */
int view_stat_text(const struct view_process *process, const char *ending, struct view_buffer *out);

/* Human units: "1.21 GiB", "37 KiB", "512 B". Fits 16 bytes. */
void view_human_bytes(uint64_t bytes, char ret_text[16]);

#endif
