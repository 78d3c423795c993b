/* SPDX-License-Identifier: Apache-2.0
 *
 * A change of the sampling rate is in force in every thread when the call returns: eight threads
 * allocate without pause, and each allocation that began after the call is sampled, or not, as the
 * new rate says. Also: threads that come and go, what setting returns, our own threads.
 */
#include "front/memory.h"
#include "front/thread.h"
#include "mallard/mallard.h"
#include "meta/pagemap.h"
#include "sample/profile.h"
#include "sample/sampler.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define THREADS 8
#define ROUNDS 10
#define LOOK 100 /* allocations that each thread must have looked at per round */

/* What holds for every allocation that begins and ends while it is said. */
enum phase { UNKNOWN, ALL_SAMPLED, NONE_SAMPLED, STOP };
static uint32_t phase;
static uint64_t looked[THREADS]; /* allocations checked in the current phase */
static uint64_t wrong;

static bool is_sampled(const void *object) {
    return mal_state_is_sampled(mal_load_relaxed(mal_pagemap_state(object)));
}

static void *allocate_on_and_on(void *argument) {
    uint64_t *mine = argument;
    for (uint32_t before; (before = __atomic_load_n(&phase, __ATOMIC_ACQUIRE)) != STOP;) {
        void *object = mallard_malloc(48);
        uint32_t after = __atomic_load_n(&phase, __ATOMIC_ACQUIRE);
        bool sampled = is_sampled(object);
        mallard_free(object);
        if (before == UNKNOWN || before != after)
            continue;
        if (sampled != (before == ALL_SAMPLED))
            __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(mine, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void hold_phase_until_all_looked(enum phase next) {
    for (int i = 0; i < THREADS; i++)
        __atomic_store_n(&looked[i], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&phase, next, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        while (__atomic_load_n(&looked[i], __ATOMIC_RELAXED) < LOOK)
            sched_yield();
    __atomic_store_n(&phase, UNKNOWN, __ATOMIC_RELEASE);
    /* No thread may still be inside an allocation of this phase and take it for the next one of
     * the same name: there is always another phase between. */
}

static void a_new_rate_is_in_force_at_once_everywhere(void **state) {
    (void)state;
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, allocate_on_and_on, &looked[i]), 0);
    for (int round = 0; round < ROUNDS; round++) {
        mal_thread_set_rate(1);
        hold_phase_until_all_looked(ALL_SAMPLED);
        mal_thread_set_rate(0);
        hold_phase_until_all_looked(NONE_SAMPLED);
    }
    __atomic_store_n(&phase, STOP, __ATOMIC_RELEASE);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(wrong, 0);
}

static void setting_returns_what_was_before(void **state) {
    (void)state;
    mal_thread_set_rate(1000);
    assert_int_equal(mal_thread_set_rate(2000), 1000);
    assert_int_equal(mal_thread_rate(), 2000);
    mal_thread_set_rate(UINT64_MAX);
    assert_int_equal(mal_thread_set_rate(0), MAL_RATE_MAX_BYTES);
    assert_int_equal(mallard_set_mem_profile_rate(77), 0);
    assert_int_equal(mallard_mem_profile_rate(), 77);
}

static void *sampled_from_the_start(void *unused) {
    (void)unused;
    for (int i = 0; i < 100; i++) {
        void *object = mallard_malloc(16);
        bool sampled = is_sampled(object);
        mallard_free(object);
        if (!sampled)
            return (void *)1;
    }
    return NULL;
}

/* The registry must not remember the dead: poking them would write into unmapped stacks. */
static void threads_come_and_go(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        void *wrong_result;
        mal_thread_set_rate(1);
        assert_int_equal(pthread_create(&thread, NULL, sampled_from_the_start, NULL), 0);
        pthread_join(thread, &wrong_result);
        assert_null(wrong_result);
        mal_thread_set_rate(0);
    }
}

static void sizes_and_large_objects_are_sampled_too(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 16, 5000, 32768, 32769, 262144, 262145, 10 << 20};
    mal_thread_set_rate(1);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct mal_profile_stats before = mal_profile_stats();
        void *object = mallard_malloc(sizes[i]);
        assert_int_equal(mal_profile_stats().samples, before.samples + 1);
        assert_int_equal(mal_profile_stats().live, before.live + 1);
        mallard_free(object);
        assert_int_equal(mal_profile_stats().live, before.live);
    }
    mal_thread_set_rate(0);
}

static void *allocate_as_our_own(void *unused) {
    (void)unused;
    mal_thread_become_own();
    struct mal_profile_stats before = mal_profile_stats();
    void *object = mallard_malloc(1000);
    struct mal_profile_stats during = mal_profile_stats();
    mallard_free(object);
    struct mal_profile_stats after = mal_profile_stats();
    bool good = during.own_bytes == before.own_bytes + 1024 && during.samples == before.samples &&
                after.own_bytes == before.own_bytes;
    return (void *)(uintptr_t)!good;
}

static void our_own_threads_are_counted_apart(void **state) {
    (void)state;
    pthread_t thread;
    void *wrong_result;
    mal_thread_set_rate(1);
    assert_int_equal(pthread_create(&thread, NULL, allocate_as_our_own, NULL), 0);
    pthread_join(thread, &wrong_result);
    assert_null(wrong_result);
    mal_thread_set_rate(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_rate_is_in_force_at_once_everywhere),
        cmocka_unit_test(setting_returns_what_was_before),
        cmocka_unit_test(threads_come_and_go),
        cmocka_unit_test(sizes_and_large_objects_are_sampled_too),
        cmocka_unit_test(our_own_threads_are_counted_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
