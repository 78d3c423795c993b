/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for our own structures: zero, aligned, disjoint, counted; tables that grow; pools that
 * recycle; and the n-th mapping failing without anything being lost.
 */
#include "meta/memory.h"
#include "os/vm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "support/seeded.h"

static int is_zero(const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i])
            return 0;
    return 1;
}

/* Each piece is filled with its own byte; a later overlap would show. */
static void pieces_are_zero_aligned_and_disjoint(void **state) {
    (void)state;
    enum { PIECES = 2000 };
    static char *piece[PIECES];
    static size_t length[PIECES];
    uint64_t random = seeded_start(3);
    for (int i = 0; i < PIECES; i++) {
        length[i] = 1 + seeded_below(&random, i % 100 == 0 ? 300000 : 2000);
        piece[i] = mal_meta_alloc(length[i], MAL_META_OTHER);
        assert_non_null(piece[i]);
        assert_seeded((uintptr_t)piece[i] % 64 == 0);
        assert_seeded(is_zero(piece[i], length[i]));
        memset(piece[i], i % 251 + 1, length[i]);
    }
    for (int i = 0; i < PIECES; i++)
        for (size_t at = 0; at < length[i]; at++)
            assert_seeded(piece[i][at] == (char)(i % 251 + 1));
}

static uint64_t all_bytes(void) {
    uint64_t sum = 0;
    for (int use = 0; use < MAL_META_USES; use++)
        sum += mal_meta_bytes((enum mal_meta_use)use);
    return sum;
}

static void bytes_are_counted_by_purpose(void **state) {
    (void)state;
    uint64_t before = mal_meta_bytes(MAL_META_CACHE);
    assert_non_null(mal_meta_alloc(100, MAL_META_CACHE));
    assert_int_equal(mal_meta_bytes(MAL_META_CACHE) - before, 128);
    uint64_t sum = all_bytes();
    void *pages = mal_meta_map(1 << 20, MAL_META_BUCKET);
    assert_non_null(pages);
    assert_int_equal(all_bytes() - sum, 1 << 20);
    mal_meta_unmap(pages, 1 << 20, MAL_META_BUCKET);
    assert_int_equal(all_bytes(), sum);
}

/* What comes out of a block was counted when the block was mapped. */
static void small_pieces_do_not_change_the_sum(void **state) {
    (void)state;
    assert_non_null(mal_meta_alloc(64, MAL_META_OTHER));
    uint64_t sum = all_bytes();
    uint64_t calls = mal_vm_map_calls;
    for (int i = 0; i < 10; i++)
        assert_non_null(mal_meta_alloc(64, MAL_META_SPAN));
    if (mal_vm_map_calls == calls)
        assert_int_equal(all_bytes(), sum);
}

static void tables_grow_in_place(void **state) {
    (void)state;
    struct mal_table table;
    assert_int_equal(mal_table_reserve(&table, 10 * MAL_TABLE_STEP_BYTES, MAL_META_OTHER), 0);
    assert_int_equal(table.committed_bytes, 0);
    char *base = table.base;
    uint64_t before = mal_meta_bytes(MAL_META_OTHER);
    for (size_t bytes = 1; bytes <= 10 * MAL_TABLE_STEP_BYTES; bytes += 50000) {
        assert_int_equal(mal_table_commit(&table, bytes), 0);
        assert_true(table.committed_bytes >= bytes);
        assert_ptr_equal(table.base, base);
        assert_true(is_zero(base + table.committed_bytes - MAL_TABLE_STEP_BYTES, 100));
        base[bytes - 1] = 0;
    }
    size_t committed_bytes = table.committed_bytes;
    assert_int_equal(mal_table_commit(&table, 1), 0);
    assert_int_equal(table.committed_bytes, committed_bytes);
    assert_int_equal(mal_meta_bytes(MAL_META_OTHER) - before, committed_bytes);
}

static void a_failing_table_does_not_change(void **state) {
    (void)state;
    struct mal_table table = {0};
    mal_vm_inject_fault(1, MAL_VM_FAULT_ONCE);
    assert_int_equal(mal_table_reserve(&table, 1 << 20, MAL_META_OTHER), -ENOMEM);
    assert_null(table.base);
    assert_int_equal(mal_table_reserve(&table, 1 << 20, MAL_META_OTHER), 0);
    uint64_t before = mal_meta_bytes(MAL_META_OTHER);
    mal_vm_inject_fault(1, MAL_VM_FAULT_ONCE);
    assert_int_equal(mal_table_commit(&table, 1000), -ENOMEM);
    assert_int_equal(table.committed_bytes, 0);
    assert_int_equal(mal_meta_bytes(MAL_META_OTHER), before);
    assert_int_equal(mal_table_commit(&table, 1000), 0);
    table.base[999] = 1;
}

static void a_failing_block_gives_null_and_costs_nothing(void **state) {
    (void)state;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    uint64_t before = all_bytes();
    assert_null(mal_meta_alloc(64 << 20, MAL_META_OTHER));
    assert_null(mal_meta_map(1 << 20, MAL_META_OTHER));
    assert_int_equal(all_bytes(), before);
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    char *large = mal_meta_alloc(64 << 20, MAL_META_OTHER);
    assert_non_null(large);
    assert_true(is_zero(large, 4096) && is_zero(large + (64 << 20) - 4096, 4096));
    memset(large, 1, 64 << 20);
}

/* Few blocks, and none of them for a program that needs little. */
static void blocks_double(void **state) {
    (void)state;
    uint64_t calls = mal_vm_map_calls;
    for (int i = 0; i < 512; i++)
        assert_non_null(mal_meta_alloc(64 << 10, MAL_META_OTHER));
    assert_true(mal_vm_map_calls - calls <= 16);
}

static bool is_mapped(void *address) {
    unsigned char resident;
    return mincore(address, 1, &resident) == 0;
}

static void what_is_unmapped_is_gone(void **state) {
    (void)state;
    void *pages = mal_meta_map(1 << 20, MAL_META_OTHER);
    assert_true(is_mapped(pages));
    mal_meta_unmap(pages, 1 << 20, MAL_META_OTHER);
    assert_false(is_mapped(pages));
}

static void pools_recycle(void **state) {
    (void)state;
    struct mal_pool pool = MAL_POOL_INIT(100, MAL_META_OTHER);
    void *taken[50];
    assert_int_equal(pool.object_bytes, 128);
    for (int i = 0; i < 50; i++)
        assert_non_null(taken[i] = mal_pool_take(&pool));
    assert_int_equal(pool.in_use, 50);
    for (int i = 0; i < 50; i++)
        mal_pool_give(&pool, taken[i]);
    assert_int_equal(pool.in_use, 0);
    for (int i = 50; i-- > 0;)
        assert_ptr_equal(mal_pool_take(&pool), taken[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zero_aligned_and_disjoint),
        cmocka_unit_test(bytes_are_counted_by_purpose),
        cmocka_unit_test(small_pieces_do_not_change_the_sum),
        cmocka_unit_test(tables_grow_in_place),
        cmocka_unit_test(a_failing_table_does_not_change),
        cmocka_unit_test(a_failing_block_gives_null_and_costs_nothing),
        cmocka_unit_test(blocks_double),
        cmocka_unit_test(what_is_unmapped_is_gone),
        cmocka_unit_test(pools_recycle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
