/* SPDX-License-Identifier: Apache-2.0
 *
 * One chunk against an array of bools, over random takes, gives and releases.
 */
#include "pageheap/chunk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/seeded.h"

#define PAGES MAL_CHUNK_PAGES
#define HUGE_PAGES 256u

struct model {
    bool used[PAGES];
    bool released[PAGES];
};

static uint32_t model_find(const struct model *model, uint32_t pages) {
    uint32_t run = 0;
    for (uint32_t page = 0; page < PAGES; page++) {
        run = model->used[page] ? 0 : run + 1;
        if (run == pages)
            return page + 1 - pages;
    }
    return PAGES;
}

static struct mal_chunk_runs model_measure(const struct model *model) {
    struct mal_chunk_runs runs = {0, 0, 0};
    uint32_t run = 0;
    for (uint32_t page = 0; page < PAGES; page++) {
        run = model->used[page] ? 0 : run + 1;
        if (run == page + 1)
            runs.start = run;
        if (run > runs.longest)
            runs.longest = run;
    }
    runs.end = run;
    return runs;
}

static bool resident(const struct model *model, uint32_t page) {
    return !model->used[page] && !model->released[page];
}

static bool block_resident(const struct model *model, uint32_t first) {
    for (uint32_t page = first; page < first + HUGE_PAGES; page++)
        if (!resident(model, page))
            return false;
    return true;
}

/* The group of `unit` pages around a page is resident as a whole. */
static bool group_resident(const struct model *model, uint32_t page, uint32_t unit) {
    for (uint32_t i = page / unit * unit; i < (page / unit + 1) * unit; i++)
        if (!resident(model, i))
            return false;
    return true;
}

/* The highest run of whole groups, cut to `most`; then down to the start of a huge block that is
 * wholly free. */
static uint32_t model_find_resident(const struct model *model, uint32_t most, uint32_t unit,
                                    uint32_t *ret_first) {
    uint32_t limit = PAGES;
    while (limit > 0 && !group_resident(model, limit - 1, unit))
        limit -= unit;
    if (limit == 0)
        return 0;
    uint32_t first = limit - unit;
    while (first > 0 && limit - first < most && group_resident(model, first - 1, unit))
        first -= unit;
    uint32_t block = first / HUGE_PAGES * HUGE_PAGES;
    if (block + HUGE_PAGES <= limit && block_resident(model, block))
        first = block;
    *ret_first = first;
    return limit - first;
}

static void check_same(const struct mal_chunk *chunk, const struct model *model, uint64_t *random) {
    struct mal_chunk_runs got = mal_chunk_measure(chunk);
    struct mal_chunk_runs wanted = model_measure(model);
    assert_seeded(got.start == wanted.start);
    assert_seeded(got.longest == wanted.longest);
    assert_seeded(got.end == wanted.end);
    for (uint32_t page = 0; page < PAGES; page++) {
        assert_seeded((chunk->used[page / 64] >> (page % 64) & 1) == model->used[page]);
        assert_seeded((chunk->released[page / 64] >> (page % 64) & 1) == model->released[page]);
    }
    uint32_t pages = 1 + (uint32_t)seeded_size(random, 9) % PAGES;
    assert_seeded(mal_chunk_find(chunk, pages) == model_find(model, pages));
    uint32_t first = 0, model_first = 0;
    uint32_t unit = 1u << seeded_below(random, 7);
    uint32_t run = mal_chunk_find_resident(chunk, pages, unit, &first);
    assert_seeded(run == model_find_resident(model, pages, unit, &model_first));
    assert_seeded(run == 0 || first == model_first);
}

static void take(struct mal_chunk *chunk, struct model *model, uint32_t first, uint32_t pages) {
    uint32_t released = 0;
    for (uint32_t page = first; page < first + pages; page++) {
        released += model->released[page];
        model->used[page] = true;
        model->released[page] = false;
    }
    assert_seeded(mal_chunk_take(chunk, first, pages) == released);
}

static void give(struct mal_chunk *chunk, struct model *model, uint32_t first, uint32_t pages) {
    mal_chunk_give(chunk, first, pages);
    memset(model->used + first, 0, pages);
}

/* How far the pages from `first` on are all used, or all free. */
static uint32_t same_run(const struct model *model, uint32_t first) {
    uint32_t limit = first;
    while (limit < PAGES && model->used[limit] == model->used[first])
        limit++;
    return limit - first;
}

static void random_step(struct mal_chunk *chunk, struct model *model, uint64_t *random) {
    uint32_t first = (uint32_t)seeded_below(random, PAGES);
    uint32_t pages = 1 + (uint32_t)seeded_below(random, same_run(model, first));
    if (model->used[first]) {
        give(chunk, model, first, pages);
    } else if (seeded_below(random, 3) == 0) {
        mal_chunk_mark_released(chunk, first, pages);
        memset(model->released + first, true, pages);
    } else {
        take(chunk, model, first, pages);
    }
}

static void random_steps_match_the_model(void **state) {
    (void)state;
    static struct mal_chunk chunk;
    static struct model model;
    uint64_t random = seeded_start(4);
    for (int round = 0; round < 40; round++) {
        memset(&chunk, 0, sizeof chunk);
        memset(&model, 0, sizeof model);
        for (int step = 0; step < 200; step++) {
            random_step(&chunk, &model, &random);
            check_same(&chunk, &model, &random);
        }
    }
}

static void an_empty_chunk_is_one_run(void **state) {
    (void)state;
    struct mal_chunk chunk = {0};
    struct mal_chunk_runs runs = mal_chunk_measure(&chunk);
    assert_int_equal(runs.start, PAGES);
    assert_int_equal(runs.longest, PAGES);
    assert_int_equal(runs.end, PAGES);
    assert_int_equal(mal_chunk_find(&chunk, PAGES), 0);
    assert_int_equal(mal_chunk_take(&chunk, 0, PAGES), 0);
    assert_int_equal(mal_chunk_find(&chunk, 1), PAGES);
    assert_int_equal(mal_chunk_measure(&chunk).longest, 0);
}

static void a_free_huge_block_is_not_split(void **state) {
    (void)state;
    struct mal_chunk chunk = {0};
    uint32_t first = 0;
    assert_int_equal(mal_chunk_find_resident(&chunk, 8, 1, &first), HUGE_PAGES);
    assert_int_equal(first, HUGE_PAGES);
    mal_chunk_take(&chunk, 300, 1);
    assert_int_equal(mal_chunk_find_resident(&chunk, 8, 1, &first), 8);
    assert_int_equal(first, PAGES - 8);
    mal_chunk_mark_released(&chunk, 301, PAGES - 301);
    assert_int_equal(mal_chunk_find_resident(&chunk, 8, 1, &first), 8);
    assert_int_equal(first, 292);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_chunk_is_one_run),
        cmocka_unit_test(a_free_huge_block_is_not_split),
        cmocka_unit_test(random_steps_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
