/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue of callbacks across fork: one that was running when somebody else forked is over for
 * the child, one that forks itself goes on in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/atomic.h"
#include "gc/callbacks.h"
#include "mallard/mallard.h"
#include "os/clock.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_NS 20000000000ull

static uint32_t retired, result = UINT32_MAX; /* atomic */
static bool is_child;

static void retire(struct mal_gc_callback *callback) {
    (void)callback;
    __atomic_fetch_add(&retired, 1u, __ATOMIC_RELEASE);
}

static bool comes(const uint32_t *word, uint32_t least) {
    uint64_t latest_ns = mal_clock_mono_ns() + PATIENCE_NS;
    while (mal_load_acquire(word) < least && mal_clock_mono_ns() < latest_ns)
        poll(NULL, 0, 1);
    return mal_load_acquire(word) >= least;
}

static void note_exit(pid_t child) {
    int status = -1;
    bool ended = waitpid(child, &status, 0) == child && WIFEXITED(status);
    mal_store_release(&result, ended ? (uint32_t)WEXITSTATUS(status) : 255u);
}

/* Both sides return from it. The child has twenty seconds. */
static void fork_once(void *unused) {
    (void)unused;
    pid_t child = fork();
    is_child = child == 0;
    if (is_child)
        alarm(20);
    else
        note_exit(child);
}

/* Behind it in the queue, so run after it on either side. */
static void look_at_counts(void *argument) {
    uint64_t executed_before = *(const uint64_t *)argument;
    struct mal_gc_callbacks_counts counts = mal_gc_callbacks_counts();
    if (is_child)
        _exit((counts.executed != executed_before + 1) | (counts.queued < counts.executed) << 1 |
              (mal_gc_callbacks_threads() != 1) << 2);
}

static void test_callback_that_forks(void **state) {
    (void)state;
    uint64_t before = mal_gc_callbacks_counts().executed;
    uint32_t retired_before = mal_load_acquire(&retired);
    struct mal_gc_callback first = {.function = fork_once, .retire = retire};
    struct mal_gc_callback second = {
        .function = look_at_counts, .argument = &before, .retire = retire};
    result = UINT32_MAX;
    mal_gc_callbacks_push(&first);
    mal_gc_callbacks_push(&second);
    mal_gc_callbacks_need_thread();
    assert_true(comes(&retired, retired_before + 2));
    assert_int_equal(mal_load_acquire(&result), 0);
}

static uint32_t may_end, ended;

static void wait_to_end(void *unused) {
    (void)unused;
    comes(&may_end, 1);
    mal_store_release(&ended, 1u);
}

static void test_fork_beside_a_callback(void **state) {
    (void)state;
    struct mal_gc_callback callback = {.function = wait_to_end, .retire = retire};
    uint32_t retired_before = mal_load_acquire(&retired);
    mal_gc_callbacks_push(&callback);
    mal_gc_callbacks_need_thread();
    assert_true(comes(&retired, retired_before + 1));
    pid_t child = fork();
    struct mal_gc_callbacks_counts counts = mal_gc_callbacks_counts();
    if (child == 0)
        _exit((counts.executed != counts.queued) | (mal_gc_callbacks_threads() != 0) << 1);
    assert_int_equal(counts.executed, counts.queued - 1);
    mal_store_release(&may_end, 1u);
    note_exit(child);
    assert_int_equal(mal_load_acquire(&result), 0);
    assert_true(comes(&ended, 1));
}

int main(void) {
    mallard_free(mallard_malloc(1)); /* forks are noticed from here on */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callback_that_forks),
        cmocka_unit_test(test_fork_beside_a_callback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
