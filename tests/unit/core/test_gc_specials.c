/* SPDX-License-Identifier: Apache-2.0
 *
 * Finalizers, cleanups and weak references against a model of a collector: what runs, when, in
 * which order, and what is refused.
 */
#include "gc/specials_table.h"
#include "gc_model.h"
#include "meta/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "support/seeded.h"

/* For libmallard-bdwgc.so, see bdwgc/engine.h. */
int mallard_gc_finalizer_set_unordered(void *object, void (*function)(void *object));

#define LOG_MOST 8192u

static void *ran[LOG_MOST]; /* arguments, in the order of the calls */
static uint32_t ran_count;

static void note(void *argument) {
    ran[mal_add_relaxed(&ran_count, 1) % LOG_MOST] = argument;
}

static int start(void **state) {
    (void)state;
    memset(model_root, 0, sizeof model_root);
    model_cycle();
    model_cycle();
    model_cycle();
    assert_true(model_callbacks_done());
    ran_count = 0;
    return 0;
}

static void cycle(void) {
    model_cycle();
    assert_true(model_callbacks_done());
}

/* ---- finalizers ---- */

static void a_finalizer_runs_once_on_a_whole_object(void **state) {
    (void)state;
    void **object = model_new(), **child = model_new();
    object[0] = child;
    child[0] = (void *)0x1234;
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_ptr_equal(ran[0], object);
    assert_true(model_lives(object) && model_lives(child));
    assert_ptr_equal(child[0], (void *)0x1234);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_false(model_lives(object) || model_lives(child));
}

static void a_live_object_is_not_finalized(void **state) {
    (void)state;
    model_root[0] = model_new();
    assert_int_equal(mallard_gc_finalizer_set(model_root[0], note), 0);
    cycle();
    assert_int_equal(ran_count, 0);
    model_root[0] = NULL;
    cycle();
    assert_int_equal(ran_count, 1);
}

static void who_leads_to_another_dies_first(void **state) {
    (void)state;
    void **a = model_new(), **b = model_new(), **c = model_new();
    a[0] = b;
    b[0] = c;
    assert_int_equal(mallard_gc_finalizer_set(c, note), 0);
    assert_int_equal(mallard_gc_finalizer_set(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set(b, note), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        cycle();
        assert_int_equal(ran_count, i);
    }
    assert_true(ran[0] == a && ran[1] == b && ran[2] == c);
}

static void a_ring_is_never_finalized(void **state) {
    (void)state;
    void **a = model_new(), **b = model_new();
    a[0] = b;
    b[0] = a;
    assert_int_equal(mallard_gc_finalizer_set(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set(b, note), 0);
    cycle();
    cycle();
    assert_int_equal(ran_count, 0);
    assert_true(model_lives(a) && model_lives(b));
    assert_int_equal(mallard_gc_finalizer_set(a, NULL), 0);
    assert_int_equal(mallard_gc_finalizer_set(b, NULL), 0);
    cycle();
    assert_false(model_lives(a) || model_lives(b));
}

/* What stands between its words to itself is held all the same. */
static void an_object_that_leads_to_itself_is_finalized(void **state) {
    (void)state;
    void **self = model_new(), **child = model_new();
    self[0] = self;
    self[1] = child;
    self[2] = self + 3;
    assert_int_equal(mallard_gc_finalizer_set(self, note), 0);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_true(model_lives(self) && model_lives(child));
    cycle();
    assert_false(model_lives(self) || model_lives(child));
}

static void without_an_order_all_of_a_ring_run(void **state) {
    (void)state;
    void **a = model_new(), **b = model_new(), **child = model_new();
    a[0] = b;
    b[0] = a;
    b[1] = child;
    struct mallard_gc_weak *weak = model_root[0] = mallard_gc_weak_new(a);
    assert_int_equal(mallard_gc_finalizer_set_unordered(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set_unordered(b, note), 0);
    cycle();
    assert_int_equal(ran_count, 2);
    assert_true(model_lives(a) && model_lives(b) && model_lives(child));
    assert_null(mallard_gc_weak_get(weak));
    cycle();
    assert_int_equal(ran_count, 2);
    assert_false(model_lives(a) || model_lives(b) || model_lives(child));
}

/* One with an order that leads to one without: the first dies first, as ever. */
static void an_ordered_one_comes_before_what_it_leads_to(void **state) {
    (void)state;
    void **a = model_new(), **b = model_new();
    a[0] = b;
    assert_int_equal(mallard_gc_finalizer_set(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set_unordered(b, note), 0);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_ptr_equal(ran[0], a);
    cycle();
    assert_int_equal(ran_count, 2);
    assert_ptr_equal(ran[1], b);
}

static void an_order_is_lost_and_taken_back(void **state) {
    (void)state;
    void **a = model_new();
    assert_int_equal(mallard_gc_finalizer_set(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set_unordered(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set_unordered(a, note), 0);
    assert_int_equal(mallard_gc_finalizer_set(a, note), -EEXIST);
    model_root[0] = a;
    cycle();
    assert_int_equal(ran_count, 0);
    assert_int_equal(mallard_gc_finalizer_set(a, NULL), 0);
    model_root[0] = NULL;
    cycle();
    assert_int_equal(ran_count, 0);
    assert_false(model_lives(a));
}

static void raise_from_the_dead(void *object) {
    note(object);
    model_root[1] = object;
    if (mallard_gc_finalizer_set(object, note) != 0)
        note(NULL);
}

static void a_finalizer_may_raise_its_object_and_set_another(void **state) {
    (void)state;
    void **object = model_new();
    assert_int_equal(mallard_gc_finalizer_set(object, raise_from_the_dead), 0);
    cycle();
    cycle();
    assert_int_equal(ran_count, 1);
    assert_true(model_lives(object));
    model_root[1] = NULL;
    cycle();
    assert_int_equal(ran_count, 2);
    assert_ptr_equal(ran[1], object);
}

static void finalizers_that_are_wrong_are_refused(void **state) {
    (void)state;
    char *object = (char *)model_new();
    void *block = mallard_malloc(64);
    int local;
    assert_int_equal(mallard_gc_finalizer_set(NULL, note), -EINVAL);
    assert_int_equal(mallard_gc_finalizer_set(&local, note), -EINVAL);
    assert_int_equal(mallard_gc_finalizer_set(block, note), -EINVAL);
    assert_int_equal(mallard_gc_finalizer_set(object + 8, note), -EINVAL);
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    assert_int_equal(mallard_gc_finalizer_set(object, note), -EEXIST);
    assert_int_equal(mallard_gc_finalizer_set(object, NULL), 0);
    assert_int_equal(mallard_gc_finalizer_set(object, NULL), 0);
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    mallard_free(block);
}

/* What the program stores into an object after it was scanned for its finalizer, and then drops. */
static void what_was_stored_while_marking_is_seen_again(void **state) {
    (void)state;
    void **object = model_new(), **late = model_new();
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    model_begin_mark();
    object[3] = late;
    mal_gc_specials_rescan(NULL, (uintptr_t)&object[3], (uintptr_t)&object[4]);
    model_end_mark();
    model_sweep();
    assert_true(model_callbacks_done());
    assert_int_equal(ran_count, 1);
    assert_true(model_lives(object) && model_lives(late));
}

static void a_finalizer_set_while_marking_keeps_what_it_needs(void **state) {
    (void)state;
    void **object = model_new(), **child = model_new();
    object[0] = child;
    model_begin_mark();
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    model_end_mark();
    model_sweep();
    assert_true(model_callbacks_done());
    assert_int_equal(ran_count, 1);
    assert_true(model_lives(child));
}

/* Neighbours' records lie in one chain: of these some are carried out, others stay. */
static void without_an_order_the_living_keep_theirs(void **state) {
    (void)state;
    void **dead[MODEL_ROOTS];
    for (unsigned i = 0; i < MODEL_ROOTS; i++) {
        model_root[i] = model_new();
        dead[i] = model_new();
        assert_int_equal(mallard_gc_finalizer_set_unordered(model_root[i], note), 0);
        assert_int_equal(mallard_gc_finalizer_set_unordered(dead[i], note), 0);
    }
    cycle();
    assert_int_equal(ran_count, MODEL_ROOTS);
    for (unsigned i = 0; i < MODEL_ROOTS; i++)
        assert_true(model_lives(dead[i]) && !mal_special_has_finalizer((uintptr_t)dead[i]));
    memset(model_root, 0, sizeof model_root);
    cycle();
    assert_int_equal(ran_count, 2 * MODEL_ROOTS);
}

static void it_is_known_who_has_a_finalizer(void **state) {
    (void)state;
    void **with = model_new(), **without = model_new();
    model_root[0] = mallard_gc_weak_new(without);
    assert_int_equal(mallard_gc_finalizer_set(with, note), 0);
    for (int twice = 0; twice < 2; twice++) {
        assert_true(mal_special_has_finalizer((uintptr_t)with));
        assert_false(mal_special_has_finalizer((uintptr_t)without));
    }
    cycle();
    assert_false(mal_special_has_finalizer((uintptr_t)with));
}

/* ---- cleanups ---- */

static void cleanups_run_when_the_object_is_gone(void **state) {
    (void)state;
    void **object = model_new(), **argument = model_new();
    assert_int_equal(mallard_gc_cleanup_add(object, note, argument, NULL), 0);
    assert_int_equal(mallard_gc_cleanup_add((char *)object + 24, note, (void *)7, NULL), 0);
    model_root[0] = object;
    cycle();
    assert_int_equal(ran_count, 0);
    assert_true(model_lives(argument));
    model_root[0] = NULL;
    cycle();
    assert_int_equal(ran_count, 2);
    assert_false(model_lives(object));
    assert_true(ran[0] == argument || ran[1] == argument);
    cycle();
    assert_false(model_lives(argument));
}

/* The thread that runs them may be busy for cycles. */
static void what_is_queued_is_kept(void **state) {
    (void)state;
    void **object = model_new(), **dead = model_new(), **argument = model_new();
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    assert_int_equal(mallard_gc_cleanup_add(dead, note, argument, NULL), 0);
    model_hold_callbacks();
    for (int i = 0; i < 3; i++)
        model_cycle();
    assert_true(model_lives(object) && model_lives(argument));
    assert_int_equal(ran_count, 0);
    model_release_callbacks();
    assert_true(model_callbacks_done());
    assert_int_equal(ran_count, 2);
}

static void a_cleanup_added_while_marking_keeps_its_argument(void **state) {
    (void)state;
    void **object = model_root[0] = model_new(), **argument = model_new();
    model_begin_mark();
    assert_int_equal(mallard_gc_cleanup_add(object, note, argument, NULL), 0);
    model_end_mark();
    model_sweep();
    assert_true(model_lives(argument));
}

static void a_stopped_cleanup_does_not_run(void **state) {
    (void)state;
    struct mallard_gc_cleanup first, second, none = {0};
    void **object = model_new();
    assert_int_equal(mallard_gc_cleanup_add(object, note, (void *)1, &first), 0);
    assert_int_equal(mallard_gc_cleanup_add(object, note, (void *)2, &second), 0);
    assert_int_equal(mallard_gc_cleanup_stop(&first), 0);
    assert_int_equal(mallard_gc_cleanup_stop(&first), -ENOENT);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_ptr_equal(ran[0], (void *)2);
    assert_int_equal(mallard_gc_cleanup_stop(&second), -ENOENT);
    assert_int_equal(mallard_gc_cleanup_stop(&none), -EINVAL);
    assert_int_equal(mallard_gc_cleanup_stop(NULL), -EINVAL);
}

/* The handle of a cleanup holds no pointer that would keep the object alive. */
static void holding_a_cleanup_keeps_nothing_alive(void **state) {
    (void)state;
    struct mallard_gc_cleanup cleanup;
    void **object = model_new();
    assert_int_equal(mallard_gc_cleanup_add(object, note, NULL, &cleanup), 0);
    memcpy(&model_root[4], &cleanup, sizeof cleanup);
    cycle();
    assert_int_equal(ran_count, 1);
}

static void check_that_a_cleanup_waits(typeof(mallard_gc_finalizer_set) *set_finalizer) {
    void **object = model_new();
    assert_int_equal(mallard_gc_cleanup_add(object, note, (void *)5, NULL), 0);
    assert_int_equal(set_finalizer(object, note), 0);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_ptr_equal(ran[0], object);
    cycle();
    assert_int_equal(ran_count, 2);
    assert_ptr_equal(ran[1], (void *)5);
}

static void a_cleanup_waits_for_the_finalizer(void **state) {
    (void)state;
    check_that_a_cleanup_waits(mallard_gc_finalizer_set);
}

static void cleanups_that_are_wrong_are_refused(void **state) {
    (void)state;
    char *object = (char *)model_new();
    assert_int_equal(mallard_gc_cleanup_add(NULL, note, NULL, NULL), -EINVAL);
    assert_int_equal(mallard_gc_cleanup_add(object, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(mallard_gc_cleanup_add(object, note, object, NULL), -EINVAL);
    assert_int_equal(mallard_gc_cleanup_add(object, note, object + 40, NULL), -EINVAL);
    assert_int_equal(mallard_gc_cleanup_add(&object, note, NULL, NULL), -EINVAL);
}

/* ---- weak references ---- */

static void a_weak_reference_ends_with_its_object(void **state) {
    (void)state;
    void **object = model_root[0] = model_new();
    struct mallard_gc_weak *weak = model_root[1] = mallard_gc_weak_new(object);
    assert_non_null(weak);
    assert_ptr_equal(mallard_gc_weak_new(object), weak);
    assert_ptr_not_equal(mallard_gc_weak_new((char *)object + 16), weak);
    cycle();
    assert_ptr_equal(mallard_gc_weak_get(weak), object);
    assert_ptr_equal(mallard_gc_weak_new(object), weak);
    model_root[0] = NULL;
    cycle();
    assert_null(mallard_gc_weak_get(weak));
    assert_null(mallard_gc_weak_get(NULL));
}

/* Be it that nobody remembers its word. */
static void a_weak_word_lives_as_long_as_its_object(void **state) {
    (void)state;
    void **object = model_root[0] = model_new();
    struct mallard_gc_weak *weak = mallard_gc_weak_new(object);
    cycle();
    cycle();
    assert_true(model_lives(weak));
    assert_ptr_equal(mallard_gc_weak_new(object), weak);
}

/* Without an order, too: an object's cleanups wait until it is gone. */
static void without_an_order_cleanups_wait(void **state) {
    (void)state;
    check_that_a_cleanup_waits(mallard_gc_finalizer_set_unordered);
}

/* What was judged before says nothing of this time: a cleanup that waited for a finalizer goes on
 * waiting when another object of its chain dies. */
static void without_an_order_fates_are_judged_anew(void **state) {
    (void)state;
    void **raised = model_new(), **beside;
    assert_int_equal(mallard_gc_cleanup_add(raised, note, (void *)7, NULL), 0);
    assert_int_equal(mallard_gc_finalizer_set(raised, note), 0);
    cycle();
    assert_int_equal(ran_count, 1);
    model_root[0] = raised;
    do
        beside = model_new();
    while (beside && ((uintptr_t)beside ^ (uintptr_t)raised) >= MAL_SPECIAL_BLOCK_BYTES);
    assert_non_null(beside);
    assert_int_equal(mallard_gc_finalizer_set_unordered(beside, note), 0);
    cycle();
    assert_true(model_lives(raised));
    assert_int_equal(ran_count, 2);
    assert_ptr_equal(ran[1], beside);
}

#define FINALIZERS 4000

static unsigned seen_before, added;

/* Adds as many again on its way, of which it may meet any number. */
static void count_and_add(struct mal_special_shard *shard, struct mal_special **chain,
                          void *context) {
    unsigned seen = 0;
    (void)context;
    for (const struct mal_special *special = *chain; special; special = special->next)
        seen += special->kind == MAL_SPECIAL_FINALIZER;
    seen_before += seen;
    for (int i = 0; seen > 0 && i < 64 && added < FINALIZERS; i++, added++)
        mal_special_add(shard, (uintptr_t)model_root[0] + added * MAL_SPECIAL_BLOCK_BYTES,
                        MAL_SPECIAL_CLEANUP)
            ->callback.function = note;
}

static void forget_added(struct mal_special_shard *shard, struct mal_special **chain,
                         void *context) {
    (void)context;
    while (*chain)
        mal_special_recycle(shard, mal_special_unlink(shard, chain));
}

/* Shards double under a walk: nothing that was there before is passed over. */
static void walks_see_all_that_was_there(void **state) {
    (void)state;
    model_root[0] = model_new();
    for (int i = 0; i < FINALIZERS; i++)
        assert_int_equal(mallard_gc_finalizer_set(model_new(), note), 0);
    seen_before = added = 0;
    mal_special_each_chain(count_and_add, NULL);
    assert_int_equal(added, FINALIZERS);
    assert_true(seen_before >= FINALIZERS);
    mal_special_each_chain(forget_added, NULL);
}

static uint32_t walked; /* atomic */

static void look_at_record(struct mal_special *special, void *context) {
    (void)special, (void)context;
}

static void *walk_over_all(void *unused) {
    mal_special_each(look_at_record, NULL);
    mal_store_release(&walked, 1u);
    return unused;
}

/* A walk waits for whoever changes a shard. */
static void walks_hold_the_lock(void **state) {
    const struct timespec nap = {0, 20000000};
    pthread_t thread;
    (void)state;
    model_root[0] = model_new();
    assert_int_equal(mallard_gc_finalizer_set(model_root[0], note), 0);
    mal_store_release(&walked, 0u);
    struct mal_special_shard *shard = mal_special_lock((uintptr_t)model_root[0]);
    assert_int_equal(pthread_create(&thread, NULL, walk_over_all, NULL), 0);
    nanosleep(&nap, NULL);
    assert_int_equal(mal_load_acquire(&walked), 0);
    mal_special_unlock(shard);
    pthread_join(thread, NULL);
    assert_int_equal(mal_load_acquire(&walked), 1);
}

static void getting_while_marking_keeps_the_object(void **state) {
    (void)state;
    void **object = model_new();
    struct mallard_gc_weak *weak = model_root[1] = mallard_gc_weak_new(object);
    model_begin_mark();
    assert_ptr_equal(mallard_gc_weak_get(weak), object);
    model_end_mark();
    assert_ptr_equal(mallard_gc_weak_get(weak), object);
    model_sweep();
    assert_ptr_equal(mallard_gc_weak_get(weak), object);
    cycle();
    assert_null(mallard_gc_weak_get(weak));
}

static void the_dead_do_not_come_back_before_the_sweep(void **state) {
    (void)state;
    void **dead = model_new(), **live = model_root[0] = model_new();
    struct mallard_gc_weak *weak_dead = model_root[1] = mallard_gc_weak_new(dead);
    struct mallard_gc_weak *weak_live = model_root[2] = mallard_gc_weak_new(live);
    model_begin_mark();
    model_end_mark();
    assert_null(mallard_gc_weak_get(weak_dead));
    assert_ptr_equal(mallard_gc_weak_get(weak_live), live);
    struct mallard_gc_weak *young = mallard_gc_weak_new((char *)live + 8);
    assert_ptr_equal(mallard_gc_weak_get(young), (char *)live + 8);
    model_root[3] = young;
    model_set_mark((uintptr_t)young);
    model_sweep();
    assert_ptr_equal(mallard_gc_weak_get(weak_live), live);
    assert_null(mallard_gc_weak_get(weak_dead));
}

static struct mallard_gc_weak *watched;
static void *seen_by_finalizer;

static void look_at_weak(void *object) {
    note(object);
    seen_by_finalizer = mallard_gc_weak_get(watched);
}

static void weak_references_end_before_the_finalizer(void **state) {
    (void)state;
    void **object = model_new();
    watched = model_root[1] = mallard_gc_weak_new(object);
    seen_by_finalizer = object;
    assert_int_equal(mallard_gc_finalizer_set(object, look_at_weak), 0);
    cycle();
    assert_int_equal(ran_count, 1);
    assert_null(seen_by_finalizer);
    assert_true(model_lives(object));
    assert_ptr_not_equal(mallard_gc_weak_new(object), watched);
}

static void weak_references_to_nothing_are_refused(void **state) {
    (void)state;
    errno = 0;
    assert_null(mallard_gc_weak_new(NULL));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(mallard_gc_weak_new(&errno));
    assert_int_equal(errno, EINVAL);
}

/* ---- all ---- */

static void freeing_by_hand_settles_everything(void **state) {
    (void)state;
    void **object = model_new();
    struct mallard_gc_weak *weak = model_root[1] = mallard_gc_weak_new(object);
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    assert_int_equal(mallard_gc_cleanup_add(object, note, (void *)9, NULL), 0);
    mal_gc_specials_forget((uintptr_t)object);
    assert_true(model_callbacks_done());
    assert_int_equal(ran_count, 1);
    assert_ptr_equal(ran[0], (void *)9);
    assert_null(mallard_gc_weak_get(weak));
    cycle();
    assert_int_equal(ran_count, 1);
}

static void pages_without_specials_say_so(void **state) {
    (void)state;
    uintptr_t low = (uintptr_t)model_slab, high = low + MODEL_SLOTS * MODEL_SLOT_BYTES;
    assert_false(mal_gc_specials_on_pages(low, high));
    void **object = model_root[0] = model_new();
    assert_int_equal(mallard_gc_finalizer_set(object, note), 0);
    assert_true(mal_gc_specials_on_pages((uintptr_t)object, (uintptr_t)object + 1));
    assert_true(mal_gc_specials_on_pages(low, high));
    assert_false(mal_gc_specials_on_pages(high - MAL_PAGE_BYTES, high));
    assert_int_equal(mallard_gc_finalizer_set(object, NULL), 0);
    cycle();
    assert_false(mal_gc_specials_on_pages(low, high));
}

/* Random objects and specials; every cleanup and finalizer runs exactly once, weak ones end. */
static void random_specials_match_the_model(void **state) {
    (void)state;
    uint64_t random = seeded_start(23);
    uint32_t expected = 0;
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 150; i++) {
            void **object = model_new();
            assert_seeded(object != NULL);
            if (seeded_below(&random, 2) == 0)
                object[0] = model_root[8 + seeded_below(&random, 32)];
            if (seeded_below(&random, 3) == 0)
                model_root[8 + seeded_below(&random, 32)] = object;
            bool final = seeded_below(&random, 2) == 0;
            assert_seeded(!final || mallard_gc_finalizer_set(object, note) == 0);
            uint64_t cleanups = seeded_below(&random, 3);
            for (uint64_t c = 0; c < cleanups; c++)
                assert_seeded(mallard_gc_cleanup_add(object, note, NULL, NULL) == 0);
            assert_seeded(mallard_gc_weak_new(object) != NULL);
            expected += (uint32_t) final + (uint32_t)cleanups;
        }
        cycle();
        assert_seeded(ran_count <= expected);
    }
    memset(model_root, 0, sizeof model_root);
    for (int i = 0; i < 200 && ran_count < expected; i++)
        cycle();
    assert_seeded(ran_count == expected);
    cycle();
    cycle();
    uintptr_t low = (uintptr_t)model_slab;
    assert_seeded(!mal_gc_specials_on_pages(low, low + MODEL_SLOTS * MODEL_SLOT_BYTES));
}

static void *add_and_stop(void *argument) {
    void **objects = argument;
    for (int i = 0; i < 20000; i++) {
        struct mallard_gc_cleanup cleanup;
        void *object = objects[i % 8];
        if (mallard_gc_cleanup_add(object, note, NULL, &cleanup) != 0 ||
            mallard_gc_weak_get(mallard_gc_weak_new(object)) != object ||
            mallard_gc_cleanup_stop(&cleanup) != 0)
            return (void *)1;
    }
    return NULL;
}

static void count_special(struct mal_special *special, void *context) {
    *(uint64_t *)context += special->object != 0;
}

/* What the table keeps follows what is in it, not what ever was. */
static void threads_share_the_table(void **state) {
    (void)state;
    pthread_t thread[4];
    uint64_t seen = 0, before_bytes = mal_meta_bytes(MAL_META_GC);
    for (size_t i = 0; i < 8; i++)
        model_root[i] = model_new();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, add_and_stop, model_root), 0);
    for (int i = 0; i < 200; i++)
        mal_special_each(count_special, &seen);
    for (int i = 0; i < 4; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        assert_null(complaint);
    }
    assert_true(mal_meta_bytes(MAL_META_GC) - before_bytes < 256 * 1024);
    memset(model_root, 0, sizeof model_root);
    cycle();
    assert_int_equal(ran_count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_finalizer_runs_once_on_a_whole_object, start),
        cmocka_unit_test_setup(a_live_object_is_not_finalized, start),
        cmocka_unit_test_setup(who_leads_to_another_dies_first, start),
        cmocka_unit_test_setup(a_ring_is_never_finalized, start),
        cmocka_unit_test_setup(an_object_that_leads_to_itself_is_finalized, start),
        cmocka_unit_test_setup(without_an_order_all_of_a_ring_run, start),
        cmocka_unit_test_setup(without_an_order_the_living_keep_theirs, start),
        cmocka_unit_test_setup(it_is_known_who_has_a_finalizer, start),
        cmocka_unit_test_setup(an_ordered_one_comes_before_what_it_leads_to, start),
        cmocka_unit_test_setup(an_order_is_lost_and_taken_back, start),
        cmocka_unit_test_setup(a_finalizer_may_raise_its_object_and_set_another, start),
        cmocka_unit_test_setup(finalizers_that_are_wrong_are_refused, start),
        cmocka_unit_test_setup(what_was_stored_while_marking_is_seen_again, start),
        cmocka_unit_test_setup(a_finalizer_set_while_marking_keeps_what_it_needs, start),
        cmocka_unit_test_setup(cleanups_run_when_the_object_is_gone, start),
        cmocka_unit_test_setup(what_is_queued_is_kept, start),
        cmocka_unit_test_setup(a_cleanup_added_while_marking_keeps_its_argument, start),
        cmocka_unit_test_setup(a_weak_word_lives_as_long_as_its_object, start),
        cmocka_unit_test_setup(without_an_order_cleanups_wait, start),
        cmocka_unit_test_setup(without_an_order_fates_are_judged_anew, start),
        cmocka_unit_test_setup(walks_see_all_that_was_there, start),
        cmocka_unit_test_setup(walks_hold_the_lock, start),
        cmocka_unit_test_setup(a_stopped_cleanup_does_not_run, start),
        cmocka_unit_test_setup(holding_a_cleanup_keeps_nothing_alive, start),
        cmocka_unit_test_setup(a_cleanup_waits_for_the_finalizer, start),
        cmocka_unit_test_setup(cleanups_that_are_wrong_are_refused, start),
        cmocka_unit_test_setup(a_weak_reference_ends_with_its_object, start),
        cmocka_unit_test_setup(getting_while_marking_keeps_the_object, start),
        cmocka_unit_test_setup(the_dead_do_not_come_back_before_the_sweep, start),
        cmocka_unit_test_setup(weak_references_end_before_the_finalizer, start),
        cmocka_unit_test_setup(weak_references_to_nothing_are_refused, start),
        cmocka_unit_test_setup(freeing_by_hand_settles_everything, start),
        cmocka_unit_test_setup(pages_without_specials_say_so, start),
        cmocka_unit_test_setup(random_specials_match_the_model, start),
        cmocka_unit_test_setup(threads_share_the_table, start),
    };
    model_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
