/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the programs that stop the world: results, and a thread that does nothing but stop it.
 */
#ifndef TESTS_STRESS_GC_WORLD_H
#define TESTS_STRESS_GC_WORLD_H

#include "base/atomic.h"
#include "gc/thread.h"
#include "gc/world.h"
#include "mallard/gc.h"
#include "os/clock.h"
#include "os/futex.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static unsigned passed, failed;

static inline bool judge(bool good, const char *what) {
    printf("%s %s\n", good ? "ok" : "FAIL", what);
    fflush(stdout);
    *(good ? &passed : &failed) += 1;
    return good;
}

static inline int end_of_tests(void) {
    printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}

static inline void must(bool good, const char *what) {
    if (good)
        return;
    printf("FAIL %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint32_t stopper_state; /* 1: stop on and on, 2: end */
static uint64_t stops_done, stop_ns_total, stop_ns_max;

static inline void nothing(void *unused) {
    (void)unused;
}

static inline uint64_t stop_once(void (*body)(void *), void *context) {
    struct mal_gc_stop stop = {0};
    mal_gc_world_stopped(body, context, &stop);
    return stop.stopped_ns - stop.asked_ns;
}

/* Sleeps by itself: the wrappers are what is tested. */
static inline void *stop_on_and_on(void *unused) {
    (void)unused;
    unsigned seed = 1;
    while (mal_load_acquire(&stopper_state) == 1) {
        uint64_t took_ns = stop_once(nothing, NULL);
        stops_done++;
        stop_ns_total += took_ns;
        if (took_ns > stop_ns_max)
            stop_ns_max = took_ns;
        struct timespec pause = {0, (long)(rand_r(&seed) % 300000)};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static inline pthread_t stopper_start(void) {
    pthread_t thread;
    stops_done = stop_ns_total = stop_ns_max = 0;
    mal_store_release(&stopper_state, 1u);
    must(pthread_create(&thread, NULL, stop_on_and_on, NULL) == 0, "pthread_create");
    return thread;
}

static inline void stopper_end(pthread_t thread, const char *during) {
    mal_store_release(&stopper_state, 2u);
    pthread_join(thread, NULL);
    printf("   %s: %lu stops, %lu us on average, %lu us at most\n", during,
           (unsigned long)stops_done,
           (unsigned long)(stop_ns_total / 1000 / (stops_done + !stops_done)),
           (unsigned long)(stop_ns_max / 1000));
}

#endif
