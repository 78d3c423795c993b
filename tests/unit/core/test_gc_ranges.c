/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets of ranges against a plain list, and the registry of threads, with their blocking regions.
 */
#include "base/atomic.h"
#include "gc/ranges.h"
#include "gc/thread.h"
#include "mallard/gc.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define MOST 200u

static struct mal_gc_ranges ranges = MAL_GC_RANGES_INIT;

struct visit {
    struct mal_gc_range last;
    size_t count;
    bool ascending;
};

static void see(struct mal_gc_range range, void *context) {
    struct visit *visit = context;
    visit->ascending &= range.low > visit->last.low ||
                        (range.low == visit->last.low && range.high > visit->last.high);
    visit->last = range;
    visit->count++;
}

static size_t count_different(const struct mal_gc_range *model, size_t count) {
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < i && (model[j].low != model[i].low || model[j].high != model[i].high))
            j++;
        different += j == i;
    }
    return different;
}

static void test_against_a_list(void **state) {
    (void)state;
    static struct mal_gc_range model[MOST];
    size_t count = 0;
    unsigned seed = 20;
    for (int step = 0; step < 20000; step++) {
        uintptr_t low = 0x1000u * (1 + (uintptr_t)rand_r(&seed) % 50);
        size_t bytes = 0x100u * (1 + (size_t)rand_r(&seed) % 3);
        size_t at = 0;
        while (at < count && (model[at].low != low || model[at].high != low + bytes))
            at++;
        if (count < MOST && rand_r(&seed) % 2) {
            assert_int_equal(mal_gc_ranges_add(&ranges, low, bytes), 0);
            model[count++] = (struct mal_gc_range){low, low + bytes};
        } else {
            assert_int_equal(mal_gc_ranges_remove(&ranges, low, bytes), at < count ? 0 : -ENOENT);
            if (at < count)
                model[at] = model[--count];
        }
        struct visit visit = {.ascending = true};
        if (step % 100 == 0) {
            mal_gc_ranges_each(&ranges, MAL_GC_WHILE_RUNNING, see, &visit);
            assert_true(visit.ascending);
            assert_int_equal(visit.count, count_different(model, count));
        }
    }
}

static void test_bad_ranges(void **state) {
    (void)state;
    struct mal_gc_range found;
    assert_int_equal(mal_gc_ranges_add(&ranges, 4096, 0), -EINVAL);
    assert_int_equal(mal_gc_ranges_add(&ranges, UINTPTR_MAX - 10, 100), -EINVAL);
    assert_int_equal(mal_gc_ranges_add(&ranges, 0x900000, 0x1000), 0);
    assert_true(mal_gc_ranges_find(&ranges, 0x900fff, &found));
    assert_int_equal(found.low, 0x900000);
    assert_false(mal_gc_ranges_find(&ranges, 0x901000, &found));
    assert_int_equal(mal_gc_ranges_remove(&ranges, 0x900000, 0), 0);
    assert_false(mal_gc_ranges_find(&ranges, 0x900fff, &found));
}

static uint32_t visiting, may_go_on, removed; /* atomic */

static void visit_for_long(struct mal_gc_range range, void *unused) {
    (void)range, (void)unused;
    mal_store_release(&visiting, 1u);
    while (!mal_load_acquire(&may_go_on))
        poll(NULL, 0, 1);
}

static void *visit_them(void *unused) {
    mal_gc_ranges_each(&ranges, MAL_GC_WHILE_RUNNING, visit_for_long, NULL);
    return unused;
}

static void *remove_it(void *unused) {
    assert_int_equal(mal_gc_ranges_remove(&ranges, 0x900000, 0x1000), 0);
    mal_store_release(&removed, 1u);
    return unused;
}

/* Its memory may be gone as soon as that returns. */
static void test_removal_waits_for_visitors(void **state) {
    pthread_t visitor, remover;
    (void)state;
    while (ranges.count > 0) {
        struct mal_gc_range first = *(struct mal_gc_range *)(void *)ranges.table.base;
        assert_int_equal(mal_gc_ranges_remove(&ranges, first.low, first.high - first.low), 0);
    }
    assert_int_equal(mal_gc_ranges_add(&ranges, 0x900000, 0x1000), 0);
    assert_int_equal(pthread_create(&visitor, NULL, visit_them, NULL), 0);
    while (!mal_load_acquire(&visiting))
        poll(NULL, 0, 1);
    assert_int_equal(pthread_create(&remover, NULL, remove_it, NULL), 0);
    poll(NULL, 0, 20);
    assert_int_equal(mal_load_acquire(&removed), 0);
    mal_store_release(&may_go_on, 1u);
    pthread_join(visitor, NULL);
    pthread_join(remover, NULL);
    assert_int_equal(mal_load_acquire(&removed), 1);
}

/* What has no length is no root, whatever begins there. */
static void test_roots_of_no_length(void **state) {
    static char root[16];
    (void)state;
    assert_int_equal(mallard_gc_root_add(root, sizeof root), 0);
    assert_int_equal(mallard_gc_root_remove(root, 0), -ENOENT);
    assert_int_equal(mallard_gc_root_remove(root, sizeof root), 0);
    assert_int_equal(mallard_gc_root_remove(root, sizeof root), -ENOENT);
}

/* Only the outermost one counts; inside of a section there is none. */
static void test_regions_nest(void **state) {
    (void)state;
    assert_non_null(mal_gc_thread_register());
    mallard_gc_blocking_begin();
    mallard_gc_blocking_begin();
    assert_int_equal(mal_gc_self->blocking_depth, 2);
    mallard_gc_blocking_end();
    assert_int_equal(mal_gc_self->blocking_depth, 1);
    assert_int_equal(mal_gc_self->state, MAL_GC_BLOCKED);
    mallard_gc_blocking_end();
    assert_int_equal(mal_gc_self->state, MAL_GC_RUNNING);
    mallard_gc_blocking_end(); /* one too many */
    assert_int_equal(mal_gc_self->blocking_depth, 0);
    mal_critical_enter();
    mallard_gc_blocking_begin();
    assert_int_equal(mal_gc_self->state, MAL_GC_RUNNING);
    mal_critical_leave();
    assert_int_equal(mal_gc_self->blocking_depth, 0);
    mal_gc_thread_leave();
}

static unsigned exits;
static void note_exit(struct mal_gc_thread *thread) {
    assert_non_null(thread);
    exits++;
}

static void *register_twice(void *unused) {
    (void)unused;
    struct mal_gc_thread *self = mal_gc_thread_register();
    int local;
    return (void *)(uintptr_t)(self && self == mal_gc_thread_register() && self == mal_gc_self &&
                               (uintptr_t)&local >= self->stack_low &&
                               (uintptr_t)&local < self->stack_high);
}

static void test_registry(void **state) {
    (void)state;
    mal_gc_thread_on_exit(note_exit);
    uint32_t before = mal_gc_thread_count();
    for (unsigned i = 0; i < 100; i++) {
        pthread_t thread;
        void *good = NULL;
        assert_int_equal(pthread_create(&thread, NULL, register_twice, NULL), 0);
        pthread_join(thread, &good);
        assert_non_null(good);
    }
    assert_int_equal(mal_gc_thread_count(), before);
    assert_int_equal(exits, 100);
    assert_non_null(mal_gc_thread_register());
    assert_int_equal(mal_gc_thread_count(), before + 1);
    assert_int_equal(mal_gc_thread_meet(mal_gc_self->tid), MAL_GC_MET);
    mal_gc_thread_leave();
    assert_null(mal_gc_self);
    assert_int_equal(mal_gc_thread_count(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_list),
        cmocka_unit_test(test_bad_ranges),
        cmocka_unit_test(test_removal_waits_for_visitors),
        cmocka_unit_test(test_roots_of_no_length),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_regions_nest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
