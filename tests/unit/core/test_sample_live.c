/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of live samples against a plain array: random insertions and removals with addresses
 * that collide on purpose, growth, gaps that close, threads, and no memory.
 */
#include "sample/live.h"

#include "os/vm.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/seeded.h"

#define ADDRESSES 40000u

static bool present[ADDRESSES];
static uint64_t present_count;
static struct mal_live last_ended;

static uintptr_t address_of(uint64_t i) {
    return 0x7000000000ull + i * 16;
}

static struct mal_live entry_of(uint64_t i) {
    return (struct mal_live){.address = address_of(i), .bucket = (uint32_t)i, .size_bytes = i * 3};
}

static void note_end(const struct mal_live *live) {
    last_ended = *live;
}

static void insert(uint64_t i) {
    struct mal_live live = entry_of(i);
    assert_seeded(mal_live_insert(&live));
    present[i] = true;
    present_count++;
}

static void remove_one(uint64_t i) {
    last_ended = (struct mal_live){0};
    assert_seeded(mal_live_remove(address_of(i), note_end) == present[i]);
    if (!present[i])
        return;
    assert_seeded(last_ended.address == address_of(i) && last_ended.bucket == i &&
                  last_ended.size_bytes == i * 3);
    present[i] = false;
    present_count--;
}

static uint64_t seen_count;

static void check_present(const struct mal_live *live) {
    uint64_t i = (live->address - 0x7000000000ull) / 16;
    assert_seeded(i < ADDRESSES && present[i] && live->bucket == i);
    seen_count++;
}

static void check_all(void) {
    seen_count = 0;
    mal_live_lock_all();
    mal_live_each(check_present);
    mal_live_unlock_all();
    assert_seeded(seen_count == present_count);
    assert_seeded(mal_live_count() == present_count);
}

/* Waves of growth and decline, so that tables fill, double, and empty through closed gaps. */
static void random_steps_match_the_model(void **state) {
    (void)state;
    uint64_t random = seeded_start(17);
    for (int wave = 0; wave < 6; wave++)
        for (int step = 0; step < 60000; step++) {
            uint64_t i = seeded_below(&random, ADDRESSES);
            bool growing = seeded_below(&random, 10) < (wave % 2 ? 2u : 8u);
            if (growing && !present[i])
                insert(i);
            else if (!growing)
                remove_one(i);
            if (step % 20000 == 0)
                check_all();
        }
    check_all();
}

static void everything_can_be_taken_out_again(void **state) {
    (void)state;
    for (uint64_t i = 0; i < ADDRESSES; i++)
        remove_one(i);
    assert_int_equal(mal_live_count(), 0);
    check_all();
}

static void a_cleared_table_is_empty_and_usable(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        insert(i);
    mal_live_lock_all();
    mal_live_clear();
    mal_live_unlock_all();
    assert_int_equal(mal_live_count(), 0);
    assert_false(mal_live_remove(address_of(5), note_end));
    for (uint64_t i = 0; i < ADDRESSES; i++)
        present[i] = false;
    present_count = 0;
    insert(7);
    remove_one(7);
}

static void ignore(const struct mal_live *live) {
    (void)live;
}

static void *insert_and_remove_mine(void *argument) {
    uint64_t first = *(uint64_t *)argument;
    for (int round = 0; round < 20; round++) {
        for (uint64_t i = first; i < first + 2000; i++) {
            struct mal_live live = entry_of(i);
            if (!mal_live_insert(&live))
                return (void *)1;
        }
        for (uint64_t i = first + 2000; i-- > first;)
            if (!mal_live_remove(address_of(i), ignore))
                return (void *)2;
    }
    return NULL;
}

static void threads_do_not_lose_each_others_entries(void **state) {
    (void)state;
    pthread_t thread[4];
    uint64_t first[4];
    for (uint64_t i = 0; i < 4; i++) {
        first[i] = i * 3000;
        assert_int_equal(pthread_create(&thread[i], NULL, insert_and_remove_mine, &first[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        if (complaint)
            fail_msg("%s", complaint == (void *)1 ? "an insertion failed" : "an entry was lost");
    }
    assert_int_equal(mal_live_count(), 0);
}

/* A table that cannot grow fills up, says so, and still finds everything. Fresh addresses, beyond
 * what the tables have grown to. */
static void a_table_without_memory_refuses_and_keeps(void **state) {
    (void)state;
    uint64_t stored = 0, refused = 0;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    for (uint64_t i = 0; i < 4000000 && refused < 100000; i++) {
        struct mal_live live = {.address = 0x100000000ull + i * 16, .bucket = 1};
        if (mal_live_insert(&live))
            stored++;
        else
            refused++;
    }
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    assert_true(refused > 0);
    assert_int_equal(mal_live_count(), stored);
    uint64_t removed = 0;
    for (uint64_t i = 0; i < stored + refused; i++)
        removed += mal_live_remove(0x100000000ull + i * 16, ignore);
    assert_int_equal(removed, stored);
    assert_int_equal(mal_live_count(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_match_the_model),
        cmocka_unit_test(everything_can_be_taken_out_again),
        cmocka_unit_test(a_cleared_table_is_empty_and_usable),
        cmocka_unit_test(threads_do_not_lose_each_others_entries),
        cmocka_unit_test(a_table_without_memory_refuses_and_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
