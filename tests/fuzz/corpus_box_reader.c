/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes seeds for fuzz_box_reader into the folder given: one small box as it is, and lists of
 * changes that touch each section, each length in the header and each kind of entry.
 */
#include "support/box_fixture.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_SECTION MAL_BOX_SECTIONS

static const char *folder;
static unsigned seeds;

static void save(const void *data, size_t bytes) {
    char path[512];
    snprintf(path, sizeof(path), "%s/seed-%03u", folder, seeds++);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static void save_change(uint8_t section, size_t offset, const void *data, uint8_t bytes) {
    uint8_t seed[5 + 255] = {section, (uint8_t)offset, (uint8_t)(offset >> 8),
                             (uint8_t)(offset >> 16), bytes};
    memcpy(seed + 5, data, bytes);
    save(seed, 5 + (size_t)bytes);
}

/* The typical box with its tables cut to what they hold. */
static void save_small_box(void) {
    struct box_fixture *box = box_fixture_typical();
    const struct mal_box_header *good = box_fixture_header(box);
    const uint64_t used[MAL_BOX_SECTIONS] = {
        [MAL_BOX_STATS] = sizeof(struct mal_box_stats),
        [MAL_BOX_MODULES] = good->modules_used * sizeof(struct mal_box_module),
        [MAL_BOX_STRINGS] = good->strings_used,
        [MAL_BOX_STACKS] = good->stacks_used * sizeof(uint64_t),
        [MAL_BOX_BUCKETS] = good->buckets_used * sizeof(struct mal_box_bucket),
        [MAL_BOX_COUNTS] = mal_box_counts_bytes(good->buckets_used, good->stripes),
        [MAL_BOX_HISTORY] = sizeof(struct mal_box_history),
        [MAL_BOX_TRACE] = sizeof(struct mal_box_trace),
        [MAL_BOX_MAILBOX] = sizeof(struct mal_box_mailbox),
        [MAL_BOX_SPANS] = offsetof(struct mal_box_spans, span) + 4 * sizeof(struct mal_box_span),
    };
    uint8_t *small = calloc(1, MAL_BOX_BYTES);
    if (!small)
        exit(1);
    struct mal_box_header header = *good;
    uint64_t at = MAL_BOX_PAGE_BYTES;
    for (int id = 0; id < MAL_BOX_SECTIONS; id++) {
        header.section[id] = (struct mal_box_section){at, used[id]};
        memcpy(small + at, box_fixture_section(box, (enum mal_box_section_id)id), used[id]);
        at += MAL_BOX_ROUND(used[id]);
    }
    header.file_bytes = at;
    memcpy(small, &header, sizeof(header));
    save(small, at);
    free(small);
    box_fixture_free(box);
}

static void save_header_changes(void) {
    static const size_t words[] = {
        offsetof(struct mal_box_header, exe),
        offsetof(struct mal_box_header, cmdline),
        offsetof(struct mal_box_header, modules_used),
        offsetof(struct mal_box_header, strings_used),
        offsetof(struct mal_box_header, stacks_used),
        offsetof(struct mal_box_header, buckets_used),
        offsetof(struct mal_box_header, stripes),
        offsetof(struct mal_box_header, section),
        offsetof(struct mal_box_header, file_bytes),
        offsetof(struct mal_box_header, state),
        offsetof(struct mal_box_header, start_ticks),
    };
    static const uint64_t values[] = {0, 1, 3, 0xffffffffffffffff};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++)
            save_change(HEADER_SECTION, words[i], &values[k], k == 3 ? 8 : 4);
    }
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
        return 2;
    }
    folder = arguments[1];
    static const uint64_t depth = 200, huge = UINT64_MAX;
    const struct mal_box_bucket bucket = {.stack = 3, .size = 48, .rate = 2};
    const struct mal_box_count count = {.allocs = 5, .frees = 1ull << 60};
    const struct mal_box_module module = {
        .start = 1, .limit = UINT64_MAX, .path = {0, 5}, .build_id_bytes = 20};
    save_small_box();
    save_header_changes();
    save_change(MAL_BOX_STACKS, 0, &depth, sizeof(depth));
    save_change(MAL_BOX_BUCKETS, 0, &bucket, sizeof(bucket));
    save_change(MAL_BOX_COUNTS, 0, &count, sizeof(count));
    save_change(MAL_BOX_MODULES, 0, &module, sizeof(module));
    save_change(MAL_BOX_STATS, 0, &huge, sizeof(huge));
    save_change(MAL_BOX_STATS, offsetof(struct mal_box_stats, class_count), &huge, sizeof(huge));
    save_change(MAL_BOX_HISTORY, 0, &huge, sizeof(huge));
    save_change(MAL_BOX_TRACE, 0, &huge, sizeof(huge));
    save_change(MAL_BOX_STRINGS, 0, "\xff\xfe", 2);
    printf("%u seeds\n", seeds);
    return 0;
}
