/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate between the collector's steps and a fork: while it is held nobody is inside one, but for
 * a thread that forks in the middle of its own.
 */
#include "gc/steps.h"

#include "base/atomic.h"
#include "gc/cycle.h"
#include "mallard/mallard.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 3
#define HOLDS 2000

static uint32_t inside, most_inside, ending;
static uint64_t steps;

static void *step_for_ever(void *unused) {
    (void)unused;
    while (!mal_load_relaxed(&ending)) {
        mal_gc_step_begin();
        uint32_t now = mal_add_relaxed(&inside, 1u) + 1;
        if (now > mal_load_relaxed(&most_inside))
            mal_store_relaxed(&most_inside, now);
        mal_add_relaxed(&steps, 1u);
        mal_sub_relaxed(&inside, 1u);
        mal_gc_step_end();
    }
    return NULL;
}

static void nobody_is_inside_while_held(void **state) {
    (void)state;
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, step_for_ever, NULL), 0);
    while (mal_load_relaxed(&steps) == 0)
        sched_yield();
    for (int i = 0; i < HOLDS; i++) {
        mal_gc_steps_hold();
        uint64_t before = mal_load_relaxed(&steps);
        for (int look = 0; look < 100; look++)
            assert_int_equal(mal_load_relaxed(&inside), 0);
        assert_int_equal(mal_load_relaxed(&steps), before);
        mal_gc_steps_resume();
    }
    mal_store_relaxed(&ending, 1u);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
}

static void fork_once(int signal_number) {
    (void)signal_number;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status = -1;
    assert_true(waitpid(child, &status, 0) == child && status == 0);
}

/* Who would wait for the step has interrupted it: the alarm ends the test then. */
static void a_step_may_be_forked_in_by_its_own_thread(void **state) {
    (void)state;
    mallard_free(mallard_malloc(1));
    assert_int_equal(mal_gc_ensure(), 0);
    signal(SIGUSR1, fork_once);
    alarm(60);
    mal_gc_step_begin();
    assert_true(mal_gc_step_is_mine());
    raise(SIGUSR1);
    mal_gc_step_end();
    assert_false(mal_gc_step_is_mine());
    raise(SIGUSR1);
    alarm(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_inside_while_held),
        cmocka_unit_test(a_step_may_be_forked_in_by_its_own_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
