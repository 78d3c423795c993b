/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads of the program: in the registry from their first instruction, and the collected objects
 * that are passed to them and handed back by them kept alive on the way.
 *
 * An argument is in no scanned memory between pthread_create and the start routine, nor a result
 * between the thread's end and the join. Handles hold them meanwhile: of the argument until the
 * thread has it on its stack; of the result, for a joinable thread, until somebody joins or
 * detaches it, in a list by thread.
 *
 * SYNCHRONIZATION: `results_lock` guards the list; fork holds it, maybe with all of Mallard's locks
 * already taken, so nothing of Mallard's is called under it.
 */
#include "gclib/next.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

struct start {
    void *(*routine)(void *argument);
    struct mallard_gc_handle *argument;
};

struct result {
    pthread_t thread;
    struct mallard_gc_handle *handle;
    struct result *next;
};

static pthread_mutex_t results_lock = PTHREAD_MUTEX_INITIALIZER;
static struct result *results; /* results_lock */

#define NO_POINTER_BELOW 65536u /* small numbers and NULL */

static bool may_point(const void *value) {
    return (uintptr_t)value >= NO_POINTER_BELOW && value != PTHREAD_CANCELED;
}

static bool is_joinable(void) {
    pthread_attr_t attributes;
    int state = PTHREAD_CREATE_DETACHED;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return false;
    pthread_attr_getdetachstate(&attributes, &state);
    pthread_attr_destroy(&attributes);
    return state == PTHREAD_CREATE_JOINABLE;
}

static void keep_result(void *value) {
    if (!may_point(value) || !is_joinable())
        return;
    struct result *result = malloc(sizeof *result);
    struct mallard_gc_handle *handle = mallard_gc_handle_new(value);
    if (!result || !handle) {
        free(result);
        mallard_gc_handle_free(handle);
        return;
    }
    pthread_mutex_lock(&results_lock);
    *result = (struct result){pthread_self(), handle, results};
    results = result;
    pthread_mutex_unlock(&results_lock);
}

/* Takes off what there is of the thread: an old entry of a reused name too. */
static struct result *take_results(pthread_t thread) {
    struct result **at = &results;
    struct result *taken = NULL;
    pthread_mutex_lock(&results_lock);
    while (*at) {
        struct result *result = *at;
        if (!pthread_equal(result->thread, thread)) {
            at = &result->next;
            continue;
        }
        *at = result->next;
        result->next = taken;
        taken = result;
    }
    pthread_mutex_unlock(&results_lock);
    return taken;
}

/* The thread is joined, or nobody wants to know. */
static void drop_result(pthread_t thread) {
    struct result *result = take_results(thread);
    while (result) {
        struct result *next = result->next;
        mallard_gc_handle_free(result->handle);
        free(result);
        result = next;
    }
}

static void *run(void *argument) {
    struct start *given = argument;
    struct start start = *given;
    mallard_gc_thread_attach();
    free(given);
    void *routine_argument = mallard_gc_handle_get(start.argument);
    mallard_gc_handle_free(start.argument);
    void *value = start.routine(routine_argument);
    keep_result(value);
    return value;
}

static struct start *make_start(void *(*routine)(void *), void *argument) {
    struct start *start = malloc(sizeof *start);
    struct mallard_gc_handle *handle = mallard_gc_handle_new(argument);
    if (!start || !handle) {
        free(start);
        mallard_gc_handle_free(handle);
        return NULL;
    }
    *start = (struct start){routine, handle};
    return start;
}

GCLIB_PUBLIC int pthread_create(pthread_t *restrict ret_thread,
                                const pthread_attr_t *restrict attributes, void *(*routine)(void *),
                                void *restrict argument) {
    if (!mallard_gc_thread_is_wanted())
        return NEXT(pthread_create)(ret_thread, attributes, routine, argument);
    struct start *start = make_start(routine, argument);
    if (!start)
        return EAGAIN;
    int error = NEXT(pthread_create)(ret_thread, attributes, run, start);
    if (error != 0) {
        mallard_gc_handle_free(start->argument);
        free(start);
    }
    return error;
}

GCLIB_PUBLIC void pthread_exit(void *value) {
    keep_result(value);
    NEXT(pthread_exit)(value);
    __builtin_unreachable();
}

GCLIB_PUBLIC int pthread_detach(pthread_t thread) {
    int error = NEXT(pthread_detach)(thread);
    if (error == 0)
        drop_result(thread);
    return error;
}

/* Whoever joins has the result in memory of its own before the handle goes. */
#define DEFINE_JOIN(name, parameters, arguments)                                                   \
    GCLIB_PUBLIC int name parameters {                                                             \
        int error;                                                                                 \
        IN_REGION(error, NEXT(name) arguments);                                                    \
        if (error == 0)                                                                            \
            drop_result(thread);                                                                   \
        return error;                                                                              \
    }
DEFINE_JOIN(pthread_join, (pthread_t thread, void **ret_value), (thread, ret_value))
DEFINE_JOIN(pthread_tryjoin_np, (pthread_t thread, void **ret_value), (thread, ret_value))
DEFINE_JOIN(pthread_timedjoin_np,
            (pthread_t thread, void **ret_value, const struct timespec *until),
            (thread, ret_value, until))
DEFINE_JOIN(pthread_clockjoin_np,
            (pthread_t thread, void **ret_value, clockid_t clock, const struct timespec *until),
            (thread, ret_value, clock, until))

static void before_fork(void) {
    pthread_mutex_lock(&results_lock);
}

static void after_fork(void) {
    pthread_mutex_unlock(&results_lock);
}

__attribute__((constructor(102))) static void come_up(void) {
    pthread_atfork(before_fork, after_fork, after_fork);
    if (mallard_gc_signal() != 0)
        mallard_gc_thread_attach();
}
