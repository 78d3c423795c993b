/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads a box with src/box/reader.c and prints what other tests want to know of it.
 *
 *     look BOX           identity, life, statistics; exit status 0 when every part could be read
 *     look BOX LOW HIGH  also, per object size and rate, what was sampled at stacks that pass
 * through code in [LOW, HIGH)
 *
 * Lines are "key value ..."; a part that cannot be read is "error PART errno" and exit status 1.
 * The equations of box/layout.h are checked on the way: "broken N" is exit status 1 as well.
 */
#include "box/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int faults;

static int good(const char *part, long result) {
    if (result >= 0)
        return 1;
    printf("error %s %ld\n", part, -result);
    faults++;
    return 0;
}

static void expect(int holds, int number) {
    if (holds)
        return;
    printf("broken %d\n", number);
    faults++;
}

static void check_equations(const uint64_t *v) {
    expect(v[MAL_STAT_SYS] == v[MAL_STAT_HEAP_SYS] + v[MAL_STAT_STACK_SYS] + v[MAL_STAT_SPAN_SYS] +
                                  v[MAL_STAT_CACHE_SYS] + v[MAL_STAT_BUCKET_SYS] +
                                  v[MAL_STAT_GC_SYS] + v[MAL_STAT_OTHER_SYS],
           1);
    expect(v[MAL_STAT_HEAP_SYS] == v[MAL_STAT_HEAP_IDLE] + v[MAL_STAT_HEAP_INUSE], 2);
    expect(v[MAL_STAT_HEAP_RELEASED] <= v[MAL_STAT_HEAP_IDLE], 3);
    expect(v[MAL_STAT_HEAP_ALLOC] <= v[MAL_STAT_HEAP_INUSE], 4);
    expect(v[MAL_STAT_HEAP_ALLOC] == v[MAL_STAT_TOTAL_ALLOC] - v[MAL_STAT_TOTAL_FREE], 5);
    expect(v[MAL_STAT_HEAP_OBJECTS] == v[MAL_STAT_MALLOCS] - v[MAL_STAT_FREES], 6);
    expect(v[MAL_STAT_HEAP_INUSE] >= v[MAL_STAT_HEAP_ALLOC] + v[MAL_STAT_CPU_CACHE] +
                                         v[MAL_STAT_TRANSFER_CACHE] + v[MAL_STAT_SPAN_FREE],
           7);
}

static void look_at_stats(struct mal_box_reader *reader) {
    static struct mal_box_stats stats;
    if (!good("stats", mal_reader_stats(reader, &stats)))
        return;
    check_equations(stats.value);
#define PRINT(id, name, kind, help)                                                                \
    printf("stat %s %" PRIu64 "\n", name, stats.value[MAL_STAT_##id]);
    MAL_STATS(PRINT)
#undef PRINT
}

static void look_at_process(struct mal_box_reader *reader) {
    static const char *const lives[] = {"alive", "exited", "gone"};
    struct mal_identity identity;
    struct mal_status status;
    if (good("identity", mal_reader_identity(reader, &identity))) {
        printf("pid %u\nflags %u\nexe %s\n", identity.pid, identity.flags, identity.exe);
        mal_identity_free(&identity);
    }
    if (good("status", mal_reader_status(reader, &status)))
        printf("life %s\nexit_code %d\nrate %" PRIu64 "\ndropped %" PRIu64 "\n", lives[status.life],
               status.life == MAL_LIFE_EXITED ? status.exit_code : -1, status.mem_profile_rate,
               status.dropped_samples);
}

static int passes_through(const struct mal_snapshot_bucket *bucket, uint64_t low, uint64_t high) {
    for (uint32_t i = 0; i < bucket->depth; i++)
        if (bucket->pcs[i] - 1 >= low && bucket->pcs[i] - 1 < high)
            return 1;
    return 0;
}

/* "bucket SIZE RATE ALLOCS FREES"; several of the same size are for the caller to add up. */
static void look_at_buckets(struct mal_box_reader *reader, uint64_t low, uint64_t high) {
    struct mal_snapshot *snapshot;
    if (!good("snapshot", mal_reader_snapshot(reader, &snapshot)))
        return;
    printf("buckets %zu\nmodules %zu\nrejected %zu\n", snapshot->bucket_count,
           snapshot->module_count, snapshot->rejected);
    for (size_t i = 0; i < snapshot->bucket_count; i++) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[i];
        expect(bucket->frees <= bucket->allocs, 8);
        if (low < high && passes_through(bucket, low, high))
            printf("bucket %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", bucket->size,
                   bucket->rate, bucket->allocs, bucket->frees);
    }
    mal_snapshot_free(snapshot);
}

static void look_at_rings(struct mal_box_reader *reader) {
    static struct mal_box_history_row rows[MAL_BOX_HISTORY_ROWS];
    static char text[MAL_BOX_TRACE_BYTES];
    uint64_t cursor = 0;
    long count = mal_reader_history(reader, rows, MAL_BOX_HISTORY_ROWS);
    if (good("history", count))
        printf("history %ld\n", count);
    count = mal_reader_trace(reader, &cursor, text, sizeof text);
    if (good("trace", count))
        printf("trace %ld\n", count);
}

int main(int count, char **arguments) {
    struct mal_box_reader *reader;
    if (count != 2 && count != 4) {
        fprintf(stderr, "usage: look BOX [LOW HIGH]\n");
        return 2;
    }
    if (!good("open", mal_reader_open(arguments[1], &reader)))
        return 1;
    look_at_process(reader);
    look_at_stats(reader);
    look_at_buckets(reader, count == 4 ? strtoull(arguments[2], NULL, 16) : 1,
                    count == 4 ? strtoull(arguments[3], NULL, 16) : 0);
    look_at_rings(reader);
    mal_reader_close(reader);
    return faults > 0;
}
