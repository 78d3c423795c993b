/* SPDX-License-Identifier: Apache-2.0
 *
 * The radix tree against one array of bools over eighty chunks with a hole: first fit by address,
 * the first fit that has its memory, counts of released pages, the search from above.
 *
 * The pages here have no memory behind them: this tier never touches one.
 */
#include "base/bits.h"
#include "meta/pagemap.h"
#include "pageheap/chunk.h"
#include "pageheap/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/seeded.h"

#define CHUNKS 80u
#define HOLE_FIRST 20u /* chunks that were never added */
#define HOLE_LIMIT 23u
#define PAGES (CHUNKS * MAL_CHUNK_PAGES)

enum page { ABSENT, USED, RESIDENT, RELEASED };
static uint8_t model[PAGES]; /* enum page */
static size_t origin;        /* page number of model[0] */

static bool is_free(size_t page) {
    return model[page] == RESIDENT || model[page] == RELEASED;
}

static size_t model_find(size_t pages) {
    size_t run = 0;
    for (size_t page = 0; page < PAGES; page++) {
        run = is_free(page) ? run + 1 : 0;
        if (run == pages)
            return origin + page + 1 - pages;
    }
    return MAL_NO_PAGE;
}

static size_t run_of(size_t first, bool (*belongs)(size_t)) {
    size_t limit = first;
    while (limit < PAGES && belongs(limit))
        limit++;
    return limit - first;
}

static bool is_used(size_t page) {
    return model[page] == USED;
}

static void set(size_t first, size_t pages, enum page what) {
    memset(model + first, what, pages);
}

static size_t count(size_t first, size_t pages, enum page what) {
    size_t sum = 0;
    for (size_t i = first; i < first + pages; i++)
        sum += model[i] == what;
    return sum;
}

/* As the page heap allocates: where find says. */
static void allocate(uint64_t *random) {
    size_t pages = 1 + seeded_size(random, 13);
    size_t found = mal_pages_find(pages);
    assert_seeded(found == model_find(pages));
    if (found == MAL_NO_PAGE)
        return;
    size_t first = found - origin;
    assert_seeded(mal_pages_take(found, pages) == count(first, pages, RELEASED));
    set(first, pages, USED);
}

static void release_memory(size_t first) {
    size_t pages = run_of(first, is_free);
    mal_pages_mark_released(origin + first, pages);
    set(first, pages, RELEASED);
}

static void give_back(uint64_t *random) {
    size_t first = seeded_below(random, PAGES);
    if (is_free(first) && seeded_below(random, 4) == 0)
        release_memory(first);
    if (!is_used(first))
        return;
    size_t pages = 1 + seeded_below(random, run_of(first, is_used));
    mal_pages_give(origin + first, pages);
    set(first, pages, RESIDENT);
}

static void check_free_behind(uint64_t *random) {
    size_t page = seeded_below(random, PAGES);
    size_t most = 1 + seeded_size(random, 12);
    if (model[page] == ABSENT)
        return;
    size_t wanted = run_of(page, is_free);
    assert_seeded(mal_pages_free_behind(origin + page, most) == (wanted < most ? wanted : most));
}

static size_t model_find_with_memory(size_t pages, size_t chunk) {
    size_t run = 0;
    size_t limit = mal_min(PAGES, (chunk + 64) * MAL_CHUNK_PAGES);
    for (size_t page = chunk * MAL_CHUNK_PAGES; page < limit; page++) {
        run = model[page] == RESIDENT ? run + 1 : 0;
        if (run == pages)
            return origin + page + 1 - pages;
    }
    return MAL_NO_PAGE;
}

static void check_with_memory(uint64_t *random) {
    size_t pages = 1 + seeded_size(random, 10);
    size_t chunk = seeded_below(random, CHUNKS);
    size_t found = mal_pages_find_with_memory(pages, origin / MAL_CHUNK_PAGES + chunk);
    assert_seeded(found == model_find_with_memory(pages, chunk));
}

static void check_released(uint64_t *random) {
    size_t first = seeded_below(random, PAGES);
    size_t pages = run_of(first, is_free);
    if (pages > 0)
        assert_seeded(mal_pages_released_in(origin + first, pages) ==
                      count(first, pages, RELEASED));
}

static void add_all_but_the_hole(void) {
    memset(model, RELEASED, sizeof model);
    set(HOLE_FIRST * MAL_CHUNK_PAGES, (HOLE_LIMIT - HOLE_FIRST) * MAL_CHUNK_PAGES, ABSENT);
    size_t low_pages = HOLE_FIRST * MAL_CHUNK_PAGES;
    size_t high_first = HOLE_LIMIT * MAL_CHUNK_PAGES;
    assert_int_equal(mal_pages_add(origin, low_pages), 0);
    assert_int_equal(mal_pages_add(origin + high_first, PAGES - high_first), 0);
}

static void a_new_tree_is_free_and_released(void **state) {
    (void)state;
    assert_int_equal(mal_pages_find(1), MAL_NO_PAGE);
    add_all_but_the_hole();
    assert_int_equal(mal_pages_chunks(), (origin + PAGES) / MAL_CHUNK_PAGES);
    assert_int_equal(mal_pages_find(1), origin);
    assert_int_equal(mal_pages_find(PAGES), MAL_NO_PAGE);
    size_t behind_hole = (CHUNKS - HOLE_LIMIT) * MAL_CHUNK_PAGES;
    assert_int_equal(mal_pages_find(behind_hole), origin + HOLE_LIMIT * MAL_CHUNK_PAGES);
    assert_int_equal(mal_pages_find(behind_hole + 1), MAL_NO_PAGE);
    size_t cursor = mal_pages_chunks(), first = 0;
    assert_int_equal(mal_pages_find_resident(8, 1, &cursor, &first), 0);
}

static void random_steps_match_the_model(void **state) {
    (void)state;
    uint64_t random = seeded_start(5);
    for (int step = 0; step < 6000; step++) {
        if (seeded_below(&random, 2) == 0)
            allocate(&random);
        else
            give_back(&random);
        check_free_behind(&random);
        check_with_memory(&random);
        check_released(&random);
    }
}

static size_t highest_resident(void) {
    size_t page = PAGES;
    while (page > 0 && model[page - 1] != RESIDENT)
        page--;
    return page;
}

/* Taken from above, runs come down without a gap until nothing resident is left. */
static void resident_runs_come_highest_first(void **state) {
    (void)state;
    uint64_t random = seeded_start(6);
    size_t cursor = mal_pages_chunks(), first = 0, pages;
    while ((pages = mal_pages_find_resident(1 + seeded_below(&random, 64), 1, &cursor, &first)) >
           0) {
        size_t at = first - origin;
        assert_seeded(at + pages == highest_resident());
        assert_seeded(count(at, pages, RESIDENT) == pages);
        mal_pages_mark_released(first, pages);
        set(at, pages, RELEASED);
    }
    assert_seeded(highest_resident() == 0);
}

static void all_given_back_is_whole_again(void **state) {
    (void)state;
    for (size_t page = 0; page < PAGES; page++)
        if (is_used(page)) {
            mal_pages_give(origin + page, 1);
            model[page] = RESIDENT;
        }
    size_t behind_hole = (CHUNKS - HOLE_LIMIT) * MAL_CHUNK_PAGES;
    assert_int_equal(mal_pages_find(behind_hole), origin + HOLE_LIMIT * MAL_CHUNK_PAGES);
    assert_int_equal(mal_pages_find(1), origin);
}

int main(void) {
    /* Not at 0, and across a border of every level but the first. */
    origin = (4096u - 37u) * MAL_CHUNK_PAGES;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_tree_is_free_and_released),
        cmocka_unit_test(random_steps_match_the_model),
        cmocka_unit_test(resident_runs_come_highest_first),
        cmocka_unit_test(all_given_back_is_whole_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
