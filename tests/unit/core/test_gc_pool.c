/* SPDX-License-Identifier: Apache-2.0
 *
 * Pools: nothing is lost and nothing is in two hands, what is idle goes after two flips, and the
 * bounds hold. With items from malloc, and with collected ones of a model.
 */
#include "gc_model.h"

#include "gc/pool_private.h"
#include "mallard/pool.h"
#include "os/clock.h"
#include "os/thread.h"
#include "os/vm.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/seeded.h"

struct item {
    uint32_t in_hand; /* atomic */
    size_t bytes;
};

static uint32_t made, destroyed, resets; /* atomic */

static void *make_item(void *context) {
    (void)context;
    struct item *item = mallard_calloc(1, sizeof *item);
    item->bytes = 100;
    mal_add_relaxed(&made, 1);
    return item;
}

static void destroy_item(void *item, void *context) {
    (void)context;
    mal_add_relaxed(&destroyed, 1);
    mallard_free(item);
}

static void reset_item(void *item, void *context) {
    (void)item;
    (void)context;
    mal_add_relaxed(&resets, 1);
}

static size_t item_bytes(const void *item, void *context) {
    (void)context;
    return ((const struct item *)item)->bytes;
}

static struct mallard_pool_options options(void) {
    made = destroyed = resets = 0;
    return (struct mallard_pool_options){.size = sizeof(struct mallard_pool_options),
                                         .new_item = make_item,
                                         .destroy = destroy_item,
                                         .reset = reset_item,
                                         .size_of = item_bytes};
}

static void note_destroyed(void *item, void *context) {
    (void)item, (void)context;
    mal_add_relaxed(&destroyed, 1);
}

static struct mallard_pool *new_pool(void) {
    struct mallard_pool_options all = options();
    return mallard_pool_new(&all);
}

static struct mallard_pool_stats stats_of(struct mallard_pool *pool) {
    struct mallard_pool_stats stats = {.size = sizeof stats};
    assert_int_equal(mallard_pool_read_stats(pool, &stats), 0);
    return stats;
}

static void what_is_put_comes_back(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    void *item = mallard_pool_get(pool);
    assert_int_equal(made, 1);
    mallard_pool_put(pool, item);
    assert_int_equal(resets, 1);
    assert_int_equal(stats_of(pool).kept_items, 1);
    assert_ptr_equal(mallard_pool_get(pool), item);
    assert_int_equal(made, 1);
    mallard_pool_put(pool, NULL);
    mallard_pool_put(pool, item);
    mallard_pool_free(pool);
    assert_int_equal(destroyed, 1);
    mallard_pool_free(NULL);
}

static void a_pool_without_new_gives_null(void **state) {
    (void)state;
    struct mallard_pool_options none = {.size = sizeof none, .destroy = destroy_item};
    struct mallard_pool *pool = mallard_pool_new(&none);
    assert_null(mallard_pool_get(pool));
    void *item = mallard_malloc(8);
    mallard_pool_put(pool, item);
    assert_ptr_equal(mallard_pool_get(pool), item);
    assert_null(mallard_pool_get(pool));
    mallard_free(item);
    mallard_pool_free(pool);
}

static void options_that_are_wrong_are_refused(void **state) {
    (void)state;
    struct mallard_pool_options none = {.size = 0};
    errno = 0;
    assert_null(mallard_pool_new(&none));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(mallard_pool_new(NULL));
    assert_int_equal(errno, EINVAL);
    struct mallard_pool *pool = new_pool();
    struct mallard_pool_stats stats = {.size = 0};
    assert_int_equal(mallard_pool_read_stats(pool, &stats), -EINVAL);
    mallard_pool_free(pool);
}

/* ---- the model: a set ---- */

#define MODEL_ITEMS 2000u

struct held {
    struct item *item[MODEL_ITEMS];
    uint32_t count;
};

static void take_one(struct mallard_pool *pool, struct held *held) {
    struct item *item = mallard_pool_get(pool);
    assert_seeded(item && item->in_hand == 0);
    item->in_hand = 1;
    held->item[held->count++] = item;
}

static void give_one(struct mallard_pool *pool, struct held *held, uint64_t *random) {
    uint64_t at = seeded_below(random, held->count);
    struct item *item = held->item[at];
    held->item[at] = held->item[--held->count];
    item->in_hand = 0;
    mallard_pool_put(pool, item);
}

static void random_steps_match_the_model(void **state) {
    (void)state;
    static struct held held;
    uint64_t random = seeded_start(31);
    struct mallard_pool *pool = new_pool();
    for (int step = 0; step < 200000; step++) {
        bool growing = seeded_below(&random, 10) < (step / 5000 % 2 ? 3u : 7u);
        if (growing && held.count < MODEL_ITEMS)
            take_one(pool, &held);
        else if (held.count > 0)
            give_one(pool, &held, &random);
        if (step % 1000 == 0)
            assert_seeded(stats_of(pool).kept_items + held.count + destroyed == made);
        if (step % 20000 == 0) {
            mal_gc_pools_flip();
            mal_gc_callbacks_need_thread();
            assert_seeded(model_callbacks_done());
        }
    }
    while (held.count > 0)
        give_one(pool, &held, &random);
    assert_seeded(model_callbacks_done());
    mallard_pool_free(pool);
    assert_seeded(destroyed == made);
}

/* ---- threads ---- */

#define ROUNDS 40000

static struct mallard_pool *shared_pool;

static void *borrow_and_return(void *argument) {
    uint64_t random = (uintptr_t)argument;
    struct item *mine[4] = {0};
    for (int i = 0; i < ROUNDS; i++) {
        struct item **slot = &mine[seeded_below(&random, 4)];
        if (*slot) {
            mal_store_relaxed(&(*slot)->in_hand, 0u);
            mallard_pool_put(shared_pool, *slot);
            *slot = NULL;
            continue;
        }
        *slot = mallard_pool_get(shared_pool);
        if (!*slot || __atomic_exchange_n(&(*slot)->in_hand, 1u, __ATOMIC_RELAXED) != 0)
            return (void *)1;
        if (i % 64 == 0)
            sched_yield();
    }
    for (int i = 0; i < 4; i++)
        if (mine[i]) {
            mine[i]->in_hand = 0;
            mallard_pool_put(shared_pool, mine[i]);
        }
    return NULL;
}

static void *flip_often(void *argument) {
    for (int i = 0; i < 200; i++) {
        mal_gc_pools_flip();
        sched_yield();
    }
    return argument;
}

static void no_item_is_in_two_hands(void **state) {
    (void)state;
    pthread_t thread[6], flipper;
    shared_pool = new_pool();
    for (uintptr_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, borrow_and_return, (void *)(i + 1)), 0);
    assert_int_equal(pthread_create(&flipper, NULL, flip_often, NULL), 0);
    for (int i = 0; i < 6; i++) {
        void *complaint;
        pthread_join(thread[i], &complaint);
        assert_null(complaint);
    }
    pthread_join(flipper, NULL);
    assert_true(model_callbacks_done());
    assert_int_equal(stats_of(shared_pool).kept_items, made - destroyed);
    mallard_pool_free(shared_pool);
    assert_int_equal(destroyed, made);
}

/* Items that one CPU put are found by another, all of them. */
static void other_cpus_items_are_found(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    struct item *item[100];
    if (mal_thread_move_to(1) != 0)
        return;
    for (int i = 0; i < 100; i++)
        item[i] = make_item(NULL);
    for (int i = 0; i < 100; i++)
        mallard_pool_put(pool, item[i]);
    assert_int_equal(mal_thread_move_to(0), 0);
    for (int i = 0; i < 100; i++)
        assert_non_null(item[i] = mallard_pool_get(pool));
    assert_int_equal(made, 100);
    for (int i = 0; i < 100; i++)
        mallard_pool_put(pool, item[i]);
    mallard_pool_free(pool);
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    sched_setaffinity(0, sizeof all, &all);
}

/* ---- time ---- */

static void what_nobody_fetches_goes_after_two_flips(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    for (int i = 0; i < 50; i++)
        mallard_pool_put(pool, make_item(NULL));
    mal_gc_pools_flip();
    assert_int_equal(stats_of(pool).kept_items, 50);
    assert_int_equal(stats_of(pool).dropped, 0);
    struct item *item = mallard_pool_get(pool);
    assert_int_equal(made, 50);
    mallard_pool_put(pool, item);
    mal_gc_pools_flip();
    assert_int_equal(stats_of(pool).dropped, 49);
    struct item *bridge = mallard_pool_get(pool);
    assert_ptr_equal(bridge, item);
    mal_gc_callbacks_need_thread();
    assert_true(model_callbacks_done());
    assert_int_equal(destroyed, 49);
    destroy_item(bridge, NULL);
    mallard_pool_free(pool);
}

static void two_minutes_flip_without_a_collector(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    mallard_pool_put(pool, make_item(NULL));
    mal_gc_pools_flip();
    uint64_t now_ns = mal_clock_mono_ns();
    mal_gc_pools_tick(now_ns + 60ull * 1000 * 1000 * 1000);
    assert_int_equal(stats_of(pool).dropped, 0);
    mal_gc_pools_tick(now_ns + 121ull * 1000 * 1000 * 1000);
    assert_int_equal(stats_of(pool).dropped, 1);
    assert_true(model_callbacks_done());
    assert_int_equal(destroyed, 1);
    mallard_pool_free(pool);
}

/* Whoever found none does not look among the old ones before the next flip. */
static void old_items_are_looked_for_after_a_flip(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    struct item *item = mallard_pool_get(pool);
    mallard_pool_put(pool, item);
    mal_gc_pools_flip();
    assert_ptr_equal(mallard_pool_get(pool), item);
    mallard_pool_put(pool, item);
    mal_gc_pools_flip();
    mallard_pool_free(pool);
    assert_int_equal(destroyed, made);
}

/* ---- its end ---- */

/* Dropped items that wait for the thread of callbacks are in the pool, and alive. */
static void what_waits_to_be_destroyed_counts(void **state) {
    struct mallard_pool_options collected = {.size = sizeof collected, .destroy = note_destroyed};
    (void)state;
    struct mallard_pool *pool = mallard_pool_new(&collected);
    void **item = model_new();
    destroyed = 0;
    model_hold_callbacks();
    mallard_pool_put(pool, item);
    mal_gc_pools_flip();
    mal_gc_pools_flip();
    assert_int_equal(stats_of(pool).dropped, 1);
    assert_int_equal(stats_of(pool).kept_items, 1);
    model_cycle();
    assert_true(model_lives(item));
    assert_int_equal(destroyed, 0);
    model_release_callbacks();
    assert_true(model_callbacks_done());
    assert_int_equal(destroyed, 1);
    assert_int_equal(stats_of(pool).kept_items, 0);
    mallard_pool_free(pool);
}

static void free_again(struct mallard_pool *pool) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        mallard_pool_free(pool);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* All of it on the thread that frees the pool, whose memory is another's once the callback that was
 * on its way is over. */
static void a_pool_may_end_with_items_that_wait(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    model_hold_callbacks();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10; i++)
            mallard_pool_put(pool, make_item(NULL));
        mal_gc_pools_flip();
    }
    assert_int_equal(mallard_pool_get(pool) != NULL, 1);
    mallard_pool_free(pool);
    assert_int_equal(destroyed, made - 1);
    free_again(pool);
    struct mallard_pool *other = new_pool();
    assert_ptr_not_equal(other, pool);
    model_release_callbacks();
    assert_true(model_callbacks_done());
    struct mallard_pool *again = new_pool();
    assert_ptr_equal(again, pool);
    mallard_pool_free(again);
    mallard_pool_free(other);
}

/* Who found it empty is not told so when it ends. */
static void old_items_end_with_the_pool(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    mallard_pool_put(pool, make_item(NULL));
    mal_gc_pools_flip();
    mal_store_relaxed(&pool->old_is_empty, 1u);
    mallard_pool_free(pool);
    assert_int_equal(destroyed, made);
}

/* A program that was built before there was `destroy`. */
static void options_of_an_older_program_are_cut(void **state) {
    struct mallard_pool_options old = options();
    (void)state;
    old.size = offsetof(struct mallard_pool_options, new_item) + sizeof old.new_item;
    struct mallard_pool *pool = mallard_pool_new(&old);
    mallard_pool_put(pool, make_item(NULL));
    assert_int_equal(resets, 0);
    mallard_pool_free(pool);
    assert_int_equal(destroyed, 0);
}

/* ---- fork ---- */

/* Who was at the slot is in the parent only. */
static void a_slot_is_free_in_the_child(void **state) {
    (void)state;
    struct mallard_pool *pool = new_pool();
    mallard_pool_put(pool, make_item(NULL));
    struct mal_pool_shard *shard = NULL;
    for (unsigned cpu = 0; !shard; cpu++)
        shard = pool->shard[cpu];
    void *item = shard->private_item;
    assert_ptr_not_equal(item, NULL);
    for (int child = 0; child < 2; child++) {
        shard->private_item = MAL_POOL_BUSY;
        mal_gc_pools_before_fork();
        mal_gc_pools_after_fork(child);
        assert_ptr_equal(shard->private_item, child ? NULL : MAL_POOL_BUSY);
    }
    shard->private_item = item;
    mallard_pool_free(pool);
    assert_int_equal(destroyed, made);
}

/* ---- bounds ---- */

static void put_sized(struct mallard_pool *pool, size_t bytes) {
    struct item *item = make_item(NULL);
    item->bytes = bytes;
    mallard_pool_put(pool, item);
}

static void a_large_item_is_not_kept(void **state) {
    (void)state;
    struct mallard_pool_options bounded = options();
    bounded.max_item_bytes = 1 << 20;
    struct mallard_pool *pool = mallard_pool_new(&bounded);
    put_sized(pool, 10u << 20);
    assert_int_equal(destroyed, 1);
    put_sized(pool, 1 << 20);
    assert_int_equal(destroyed, 1);
    assert_int_equal(stats_of(pool).refused, 1);
    assert_int_equal(stats_of(pool).kept_bytes, 1 << 20);
    mallard_pool_free(pool);
}

/* On however many CPUs: one buffer of 10 MiB in all. */
static void *put_large_on_every_cpu(void *pool) {
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        if (mal_thread_move_to(cpu) != 0)
            continue;
        for (int i = 0; i < 10; i++)
            put_sized(pool, 10u << 20);
    }
    return NULL;
}

static void the_whole_pool_is_bounded(void **state) {
    (void)state;
    pthread_t thread[4];
    struct mallard_pool_options bounded = options();
    bounded.max_kept_bytes = 16u << 20;
    struct mallard_pool *pool = mallard_pool_new(&bounded);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, put_large_on_every_cpu, pool), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(stats_of(pool).kept_items, 1);
    assert_int_equal(stats_of(pool).kept_bytes, 10u << 20);
    assert_int_equal(destroyed + 1, made);
    /* What leaves makes room again. */
    struct item *item = mallard_pool_get(pool);
    put_sized(pool, 10u << 20);
    assert_int_equal(stats_of(pool).kept_items, 1);
    destroy_item(item, NULL);
    mal_gc_pools_flip();
    mal_gc_pools_flip();
    assert_true(model_callbacks_done());
    assert_int_equal(stats_of(pool).kept_items, 0);
    put_sized(pool, 16u << 20);
    assert_int_equal(stats_of(pool).kept_items, 1);
    mallard_pool_free(pool);
    assert_int_equal(destroyed, made);
}

static void usable_size_is_what_malloc_says(void **state) {
    (void)state;
    struct mallard_pool_options bounded = options();
    bounded.size_of = NULL;
    bounded.max_item_bytes = 1000;
    struct mallard_pool *pool = mallard_pool_new(&bounded);
    mallard_pool_put(pool, mallard_malloc(2000));
    mallard_pool_put(pool, mallard_malloc(500));
    assert_int_equal(stats_of(pool).refused, 1);
    assert_int_equal(stats_of(pool).kept_items, 1);
    assert_true(stats_of(pool).kept_bytes >= 500 && stats_of(pool).kept_bytes <= 1000);
    mallard_pool_free(pool);
}

/* ---- collected items ---- */

static void collected_items_live_in_the_pool_and_die_after_it(void **state) {
    (void)state;
    struct mallard_pool_options plain = {.size = sizeof plain};
    struct mallard_pool *pool = mallard_pool_new(&plain);
    void **item = model_new(), **child = model_new();
    item[0] = child;
    mallard_pool_put(pool, item);
    model_cycle();
    assert_true(model_lives(item) && model_lives(child));
    assert_ptr_equal(mallard_pool_get(pool), item);
    mallard_pool_put(pool, item);
    model_cycle();
    assert_true(model_lives(item));
    model_cycle();
    assert_false(model_lives(item) || model_lives(child));
    assert_null(mallard_pool_get(pool));
    mallard_pool_free(pool);
}

/* Where there was no memory to flip it, a private item is where it was. */
static void private_items_are_roots(void **state) {
    (void)state;
    struct mallard_pool_options plain = {.size = sizeof plain};
    struct mallard_pool *pool = mallard_pool_new(&plain);
    void **item = model_new();
    mallard_pool_put(pool, item);
    mal_store_relaxed(&model_marking, true);
    mal_gc_pools_mark_roots(NULL);
    mal_store_relaxed(&model_marking, false);
    assert_true(model_is_marked((uintptr_t)item));
    model_sweep();
    mallard_pool_free(pool);
}

/* Of 128 bytes: what was dropped makes room again. */
static void dropped_collected_items_make_room(void **state) {
    (void)state;
    struct mallard_pool_options bounded = {.size = sizeof bounded, .max_kept_bytes = 128};
    struct mallard_pool *pool = mallard_pool_new(&bounded);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            mallard_pool_put(pool, model_new());
        assert_int_equal(stats_of(pool).kept_bytes, 128);
        assert_int_equal(stats_of(pool).refused, round + 1);
        mal_gc_pools_flip();
        mal_gc_pools_flip();
        assert_int_equal(stats_of(pool).kept_bytes, 0);
    }
    mallard_pool_free(pool);
}

static void an_item_put_while_marking_lives(void **state) {
    (void)state;
    struct mallard_pool_options plain = {.size = sizeof plain, .max_item_bytes = 64};
    struct mallard_pool *pool = mallard_pool_new(&plain);
    void **item = model_new(), **second = model_new();
    model_begin_mark();
    mallard_pool_put(pool, item);
    mallard_pool_put(pool, second);
    model_end_mark();
    model_sweep();
    assert_true(model_lives(item) && model_lives(second));
    assert_int_equal(stats_of(pool).kept_bytes, 128);
    mallard_pool_free(pool);
}

/* ---- the deque, and no memory ---- */

static void deques_keep_their_order(void **state) {
    (void)state;
    struct mal_pool_deque a = {0}, b = {0};
    for (uintptr_t i = 1; i <= 100; i++) {
        assert_true(mal_pool_deque_push(&a, (struct mal_pool_item){(void *)i, 1}));
        assert_true(mal_pool_deque_push(&b, (struct mal_pool_item){(void *)(1000 + i), 1}));
    }
    mal_pool_deque_append(&a, &b);
    assert_int_equal(a.count, 200);
    assert_int_equal(b.count, 0);
    assert_ptr_equal(mal_pool_deque_pop_head(&a).item, (void *)100);
    assert_ptr_equal(mal_pool_deque_pop_tail(&a).item, (void *)1001);
    for (uintptr_t i = 99; i >= 1; i--)
        assert_ptr_equal(mal_pool_deque_pop_head(&a).item, (void *)i);
    assert_int_equal(mal_pool_deque_clear(&a), 99);
    assert_null(mal_pool_deque_pop_head(&a).item);
    assert_null(mal_pool_deque_pop_tail(&a).item);
    mal_pool_deque_append(&a, &b);
    assert_true(mal_pool_deque_push(&b, (struct mal_pool_item){(void *)5, 1}));
    assert_non_null(mal_pool_deque_pop_head(&b).item);
    assert_true(mal_pool_deque_push(&a, (struct mal_pool_item){(void *)6, 1}));
    mal_pool_deque_append(&b, &a);
    assert_ptr_equal(mal_pool_deque_pop_tail(&b).item, (void *)6);
    mal_pool_deque_clear(&b);
}

#define MANY_ITEMS 4000000u

static void count_destroyed(void *item, void *context) {
    (void)item;
    (void)context;
    destroyed++;
}

static size_t one_byte(const void *item, void *context) {
    (void)item, (void)context;
    return 1;
}

/* Addresses stand for items: nobody looks at them. */
static void without_memory_items_are_given_back_not_lost(void **state) {
    (void)state;
    struct mallard_pool_options bare = {.size = sizeof bare,
                                        .destroy = count_destroyed,
                                        .size_of = one_byte,
                                        .max_kept_bytes = SIZE_MAX};
    struct mallard_pool *pool = mallard_pool_new(&bare);
    uint64_t put = 0;
    destroyed = 0;
    mal_vm_inject_fault(1, MAL_VM_FAULT_FROM);
    for (; put < MANY_ITEMS && destroyed == 0; put++)
        mallard_pool_put(pool, (void *)(16 + 16 * put));
    mal_gc_pools_flip();
    mal_vm_inject_fault(0, MAL_VM_FAULT_ONCE);
    assert_true(destroyed > 0);
    assert_int_equal(stats_of(pool).kept_items + destroyed, put);
    assert_int_equal(stats_of(pool).kept_items, pool->kept_bytes);
    mallard_pool_free(pool);
    assert_int_equal(destroyed, put);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_comes_back),
        cmocka_unit_test(a_pool_without_new_gives_null),
        cmocka_unit_test(options_that_are_wrong_are_refused),
        cmocka_unit_test(random_steps_match_the_model),
        cmocka_unit_test(no_item_is_in_two_hands),
        cmocka_unit_test(other_cpus_items_are_found),
        cmocka_unit_test(what_nobody_fetches_goes_after_two_flips),
        cmocka_unit_test(two_minutes_flip_without_a_collector),
        cmocka_unit_test(old_items_are_looked_for_after_a_flip),
        cmocka_unit_test(what_waits_to_be_destroyed_counts),
        cmocka_unit_test(a_pool_may_end_with_items_that_wait),
        cmocka_unit_test(old_items_end_with_the_pool),
        cmocka_unit_test(options_of_an_older_program_are_cut),
        cmocka_unit_test(a_slot_is_free_in_the_child),
        cmocka_unit_test(a_large_item_is_not_kept),
        cmocka_unit_test(the_whole_pool_is_bounded),
        cmocka_unit_test(usable_size_is_what_malloc_says),
        cmocka_unit_test(collected_items_live_in_the_pool_and_die_after_it),
        cmocka_unit_test(private_items_are_roots),
        cmocka_unit_test(dropped_collected_items_make_room),
        cmocka_unit_test(an_item_put_while_marking_lives),
        cmocka_unit_test(deques_keep_their_order),
        cmocka_unit_test(without_memory_items_are_given_back_not_lost),
    };
    model_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
