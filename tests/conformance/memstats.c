/* SPDX-License-Identifier: Apache-2.0
 *
 * MemStats tells the truth while the program works, and exactly when it rests.
 *
 *     LD_PRELOAD=libmallard.so.0 memstats [SEED]
 *
 * 1. Threads allocate and free; meanwhile statistics are read thousands of times. Every reading
 *    obeys Go's identities and no counter goes back.
 * 2. The threads rest at a barrier. Against a reading taken before they worked, Mallocs, Frees and
 *    HeapAlloc have changed by exactly what the threads did.
 * 3. With about 200 MiB of touched objects, what MemStats says explains the resident set:
 *        VmRSS = (HeapSys - HeapReleased) + (MSpanSys + MCacheSys + BuckHashSys + OtherSys)
 *                + what was resident before, within 5 %.
 *    The first bracket is the heap that the system has not taken back; idle pages count, for they
 *    were touched once. The second is our own tables. Of what was there before, only the program
 *    and its libraries count: the same sum at that moment is subtracted.
 */
#include "mallard/mallard.h"

#include "support/seeded.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 6
#define SLOTS 300
#define READINGS 5000
#define RESIDENT_BYTES (200u << 20)

static int (*read_memstats)(struct mallard_memstats *stats);
static int passed, failed;
static uint64_t seed = 1;

static void check(bool holds, const char *what) {
    passed += holds;
    failed += !holds;
    printf(holds ? "ok   %s\n" : "FAIL %s; again: memstats %lu\n", what, (unsigned long)seed);
}

static struct mallard_memstats stats_now(void) {
    struct mallard_memstats stats = {.size = sizeof stats};
    if (read_memstats(&stats) != 0)
        abort();
    return stats;
}

/* ---- the load ---- */

struct worker {
    pthread_t thread;
    uint64_t random;
    uint64_t mallocs, frees, live_bytes;
    void *slot[SLOTS];
};

static struct worker workers[THREADS];
static pthread_barrier_t barrier;
static int stop;

static size_t pick_size(uint64_t *random) {
    uint64_t draw = seeded_next(random);
    unsigned bits = draw % 64 == 0 ? 21 : draw % 8 == 0 ? 16 : 10;
    return (draw >> 8) & ((1u << bits) - 1);
}

static void step(struct worker *worker) {
    void **slot = &worker->slot[seeded_next(&worker->random) % SLOTS];
    if (*slot) {
        worker->live_bytes -= malloc_usable_size(*slot);
        worker->frees++;
        free(*slot);
        *slot = NULL;
    } else {
        *slot = malloc(pick_size(&worker->random));
        if (!*slot)
            abort();
        worker->mallocs++;
        worker->live_bytes += malloc_usable_size(*slot);
    }
}

/* Twice at the barrier before working, once after. */
static void *work(void *argument) {
    struct worker *worker = argument;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
        step(worker);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* ---- under load ---- */

static bool identities_hold(const struct mallard_memstats *s) {
    return s->sys == s->heap_sys + s->stack_sys + s->mspan_sys + s->mcache_sys + s->buck_hash_sys +
                         s->gc_sys + s->other_sys &&
           s->heap_sys == s->heap_idle + s->heap_inuse && s->heap_released <= s->heap_idle &&
           s->heap_alloc <= s->heap_inuse && s->alloc == s->heap_alloc &&
           s->heap_objects == s->mallocs - s->frees && s->frees <= s->mallocs &&
           s->stack_sys >= s->stack_inuse && s->mspan_sys >= s->mspan_inuse &&
           s->mcache_sys >= s->mcache_inuse && s->heap_alloc <= s->total_alloc;
}

static bool went_back(const struct mallard_memstats *s, const struct mallard_memstats *before) {
    return s->total_alloc < before->total_alloc || s->mallocs < before->mallocs ||
           s->frees < before->frees || s->heap_sys < before->heap_sys ||
           s->total_alloc - s->heap_alloc < before->total_alloc - before->heap_alloc;
}

static void read_under_load(void) {
    struct mallard_memstats before = stats_now();
    int broken = 0, back = 0;
    for (int i = 0; i < READINGS; i++) {
        struct mallard_memstats stats = stats_now();
        broken += !identities_hold(&stats);
        back += went_back(&stats, &before);
        before = stats;
    }
    check(broken == 0, "the identities hold in every reading under load");
    check(back == 0, "no counter goes back under load");
}

/* ---- at rest ---- */

static void compare_with_truth(const struct mallard_memstats *before) {
    struct mallard_memstats after = stats_now();
    uint64_t mallocs = 0, frees = 0, live_bytes = 0;
    for (int i = 0; i < THREADS; i++) {
        mallocs += workers[i].mallocs;
        frees += workers[i].frees;
        live_bytes += workers[i].live_bytes;
    }
    printf("     %lu mallocs, %lu frees, %lu bytes live; MemStats: %lu, %lu, %lu\n",
           (unsigned long)mallocs, (unsigned long)frees, (unsigned long)live_bytes,
           (unsigned long)(after.mallocs - before->mallocs),
           (unsigned long)(after.frees - before->frees),
           (unsigned long)(after.heap_alloc - before->heap_alloc));
    check(after.mallocs - before->mallocs == mallocs, "at rest Mallocs is exact");
    check(after.frees - before->frees == frees, "at rest Frees is exact");
    check(after.heap_alloc - before->heap_alloc == live_bytes, "at rest HeapAlloc is exact");
    check(identities_hold(&after), "the identities hold at rest");
}

static void test_load_and_rest(void) {
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        workers[i].random = seed * 1000 + (uint64_t)i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            abort();
    }
    pthread_barrier_wait(&barrier);
    struct mallard_memstats before = stats_now();
    pthread_barrier_wait(&barrier);
    read_under_load();
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_barrier_wait(&barrier);
    compare_with_truth(&before);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
}

/* ---- the resident set ---- */

static uint64_t resident_bytes(void) {
    unsigned long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    int fields = fscanf(file, "%lu %lu", &total, &resident);
    fclose(file);
    return fields == 2 ? resident * (uint64_t)getpagesize() : 0;
}

static uint64_t explained_bytes(void) {
    struct mallard_memstats s = stats_now();
    return s.heap_sys - s.heap_released + s.mspan_sys + s.mcache_sys + s.buck_hash_sys +
           s.other_sys;
}

static void test_resident_set(void) {
    uint64_t rss_before = resident_bytes(), explained_before = explained_bytes();
    if (rss_before == 0) {
        printf("skip resident set: no /proc\n");
        return;
    }
    static void *held[1u << 20];
    uint64_t random = seed;
    size_t count = 0;
    for (size_t bytes = 0; bytes < RESIDENT_BYTES; count++) {
        size_t size = 1 + pick_size(&random);
        held[count] = memset(malloc(size), 1, size);
        bytes += size;
    }
    double grown = (double)(resident_bytes() - rss_before);
    double explained = (double)(explained_bytes() - explained_before);
    printf("     grown by %.1f MiB, explained %.1f MiB\n", grown / (1 << 20),
           explained / (1 << 20));
    check(grown / explained > 0.95 && grown / explained < 1.05,
          "MemStats explains the resident set within 5 %");
    while (count-- > 0)
        free(held[count]);
}

/* The background thread's start is an allocation too: it comes before anything is compared. */
static void let_the_background_start(void) {
    for (int i = 0; i < 60; i++) {
        free(malloc(30000));
        usleep(1000);
    }
    usleep(20000);
}

int main(int count, char **arguments) {
    static char buffer[BUFSIZ];
    if (count > 1)
        seed = strtoull(arguments[1], NULL, 0);
    setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
    *(void **)&read_memstats = dlsym(RTLD_DEFAULT, "mallard_read_memstats");
    if (!read_memstats) {
        printf("FAIL libmallard.so.0 is not preloaded\n0 passed, 1 failed\n");
        return 1;
    }
    let_the_background_start();
    test_resident_set();
    test_load_and_rest();
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
