/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of live samples against a plain array: random insertions and removals with addresses
 * that collide, growth, the largest values, threads, a walk beside them, and no memory.
 */
#include "sample/live.h"

#include "base/atomic.h"
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

static uintptr_t address_of(uint64_t i) {
    return 0x7000000000ull + i * 16;
}

static void insert(uint64_t i) {
    assert_seeded(mal_live_insert(address_of(i), (uint32_t)i));
    present[i] = true;
    present_count++;
}

static void remove_one(uint64_t i) {
    uint32_t expected = present[i] ? (uint32_t)i : MAL_LIVE_NONE;
    assert_seeded(mal_live_remove(address_of(i)) == expected);
    present_count -= present[i];
    present[i] = false;
}

static uint64_t seen_count;

static void check_present(uintptr_t address, uint32_t bucket) {
    uint64_t i = (address - 0x7000000000ull) / 16;
    assert_seeded(i < ADDRESSES && present[i] && bucket == i);
    seen_count++;
}

static void check_all(void) {
    seen_count = 0;
    mal_live_each(check_present);
    assert_seeded(seen_count == present_count);
}

static void count_one(uintptr_t address, uint32_t bucket) {
    (void)address;
    (void)bucket;
    seen_count++;
}

static uint64_t count_all(void) {
    seen_count = 0;
    mal_live_each(count_one);
    return seen_count;
}

/* Waves of growth and decline, so that sets fill and pass on, tables are added, and old
 * ones empty. */
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
    assert_int_equal(count_all(), 0);
    check_all();
}

static void a_cleared_table_is_empty_and_usable(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        insert(i);
    mal_live_clear();
    assert_int_equal(count_all(), 0);
    assert_int_equal(mal_live_remove(address_of(5)), MAL_LIVE_NONE);
    for (uint64_t i = 0; i < ADDRESSES; i++)
        present[i] = false;
    present_count = 0;
    insert(7);
    remove_one(7);
}

static void the_largest_values_fit(void **state) {
    (void)state;
    uintptr_t highest = (1ull << 48) - 16;
    assert_true(mal_live_insert(highest, MAL_LIVE_OWN));
    assert_true(mal_live_insert(16, 0));
    assert_int_equal(mal_live_remove(highest), MAL_LIVE_OWN);
    assert_int_equal(mal_live_remove(16), 0);
    assert_int_equal(count_all(), 0);
}

static void *insert_and_remove_mine(void *argument) {
    uint64_t first = *(uint64_t *)argument;
    for (int round = 0; round < 20; round++) {
        for (uint64_t i = first; i < first + 2000; i++) {
            if (!mal_live_insert(address_of(i), (uint32_t)i))
                return (void *)1;
        }
        for (uint64_t i = first + 2000; i-- > first;)
            if (mal_live_remove(address_of(i)) != i)
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
    insert(ADDRESSES - 1);
    for (int round = 0; round < 200; round++)
        assert_true(count_all() >= 1);
    remove_one(ADDRESSES - 1);
    for (int i = 0; i < 4; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        if (complaint)
            fail_msg("%s", complaint == (void *)1 ? "an insertion failed" : "an entry was lost");
    }
    assert_int_equal(count_all(), 0);
}

/* ---- objects that change hands ---- */

enum { HANDS = 4, SLOTS = 4096, TURNS = 200000 };

/* address's number << 32 | bucket, as its owner left it; 0: nobody's */
static uint64_t slots[SLOTS];
static uint64_t next_address; /* numbers that were not used yet; relaxed */

/* Takes what lies in a slot, ends its sample, and puts the same address, or a new one, there again
 * under another bucket: as when an object is freed by one thread and its memory given to another.
 */
static void *pass_on(void *seed) {
    uint64_t random = (uintptr_t)seed;
    for (unsigned turn = 1; turn <= TURNS; turn++) {
        uint64_t *slot = &slots[seeded_below(&random, SLOTS)];
        uint64_t taken = __atomic_exchange_n(slot, 0, __ATOMIC_ACQ_REL);
        if (taken && mal_live_remove(address_of(taken >> 32)) != (uint32_t)taken)
            return (void *)1;
        if (taken && mal_live_remove(address_of(taken >> 32)) != MAL_LIVE_NONE)
            return (void *)2;
        if (!taken && mal_load_relaxed(&next_address) >= SLOTS / 2)
            continue;
        uint64_t number = taken ? taken >> 32 : mal_add_relaxed(&next_address, 1) + 1;
        uint32_t bucket = 1 + (uint32_t)seeded_below(&random, MAL_LIVE_OWN - 1);
        if (!mal_live_insert(address_of(number), bucket))
            return (void *)3;
        /* Whose slot is not empty any more puts it into the next one that is. */
        for (uint64_t empty = 0; !__atomic_compare_exchange_n(
                 slot, &empty, number << 32 | bucket, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
             empty = 0)
            slot = &slots[seeded_below(&random, SLOTS)];
    }
    return NULL;
}

static void an_object_that_changes_hands_keeps_its_bucket(void **state) {
    (void)state;
    uint64_t random = seeded_start(23);
    pthread_t thread[HANDS];
    for (int i = 0; i < HANDS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, pass_on, (void *)(uintptr_t)(random + i)),
                         0);
    for (int i = 0; i < HANDS; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        assert_seeded(complaint == NULL);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i])
            assert_seeded(mal_live_remove(address_of(slots[i] >> 32)) == (uint32_t)slots[i]);
    assert_int_equal(count_all(), 0);
}

/* A table that cannot grow fills up, says so, and still finds everything. Fresh addresses, beyond
 * what the tables have grown to. */
static void a_table_without_memory_refuses_and_keeps(void **state) {
    (void)state;
    uint64_t stored = 0, refused = 0;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    for (uint64_t i = 0; i < 4000000 && refused < 100000; i++) {
        if (mal_live_insert(0x100000000ull + i * 16, 1))
            stored++;
        else
            refused++;
    }
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    assert_true(refused > 0);
    assert_int_equal(count_all(), stored);
    uint64_t removed = 0;
    for (uint64_t i = 0; i < stored + refused; i++)
        removed += mal_live_remove(0x100000000ull + i * 16) == 1;
    assert_int_equal(removed, stored);
    assert_int_equal(count_all(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_match_the_model),
        cmocka_unit_test(everything_can_be_taken_out_again),
        cmocka_unit_test(a_cleared_table_is_empty_and_usable),
        cmocka_unit_test(the_largest_values_fit),
        cmocka_unit_test(threads_do_not_lose_each_others_entries),
        cmocka_unit_test(an_object_that_changes_hands_keeps_its_bucket),
        cmocka_unit_test(a_table_without_memory_refuses_and_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
