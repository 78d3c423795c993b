/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of paths: each way from each node has a number of its own and is found again, also where
 * it is one of so many that the table beside the nodes holds it.
 */
#include "sample/paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NODES 4
#define WAYS 300 /* from each node; a third of the table is full then, so some collide */

static const struct mal_unwind_row row;
static uint32_t node[NODES];
static uint32_t way[NODES][WAYS];

static uintptr_t pc_of(int number) {
    return (uintptr_t)0x10000 + 64u * (uintptr_t)number;
}

static void ways_from_many_places_are_told_apart(void **state) {
    (void)state;
    for (int from = 0; from < NODES; from++) {
        node[from] = mal_path_extend(MAL_PATH_START, pc_of(WAYS + from), &row);
        assert_int_not_equal(node[from], MAL_PATH_NONE);
        for (int i = 0; i < WAYS; i++) {
            assert_int_equal(mal_path_find(node[from], pc_of(i)), MAL_PATH_NONE);
            way[from][i] = mal_path_extend(node[from], pc_of(i), &row);
            assert_int_not_equal(way[from][i], MAL_PATH_NONE);
        }
    }
    for (int from = 0; from < NODES; from++)
        for (int i = 0; i < WAYS; i++) {
            assert_int_equal(mal_path_find(node[from], pc_of(i)), way[from][i]);
            assert_int_equal(mal_paths[way[from][i]].pc, pc_of(i));
        }
}

static void what_was_forgotten_is_not_found(void **state) {
    (void)state;
    mal_paths_forget();
    for (int from = 0; from < NODES; from++) {
        assert_int_equal(mal_path_find(MAL_PATH_START, pc_of(WAYS + from)), MAL_PATH_NONE);
        for (int i = MAL_PATH_BRANCHES; i < WAYS; i++)
            assert_int_equal(mal_path_find(node[from], pc_of(i)), MAL_PATH_NONE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_from_many_places_are_told_apart),
        cmocka_unit_test(what_was_forgotten_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
