/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that knows what it has allocated, for truth.py to compare with its box.
 *
 *     truth SEED THREADS OPERATIONS
 *
 * Each thread runs OPERATIONS seeded steps (malloc, calloc, aligned_alloc, realloc, free, some of
 * them on objects of the thread before it) over sizes of every kind. All calls of the malloc family
 * are made by functions in one section of code, so that a reader can tell them from libc's own.
 * Then it prints range LOW HIGH size BYTES ALLOCS FREES       per size, as malloc_usable_size tells
 * it ready and waits for the end of its input.
 */
#include "support/seeded.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 8
#define SLOTS 400
#define SIZES_MAX 64

static const size_t wanted_sizes[] = {1,     16,    24,     100,    500,    1000,   4096,   10000,
                                      32768, 40000, 100000, 262144, 300000, 400000, 1000000};
#define WANTED (sizeof wanted_sizes / sizeof *wanted_sizes)

struct tally {
    size_t bytes;
    uint64_t allocs;
    uint64_t frees;
};

struct worker {
    pthread_t thread;
    uint64_t random;
    long operations;
    struct tally tally[SIZES_MAX];
    void *slot[SLOTS];
    size_t slot_bytes[SLOTS];
};

static struct worker workers[THREADS_MAX];
static pthread_barrier_t halfway;
static int thread_count;

#define KNOWN __attribute__((noinline, noclone, section("known_text")))
extern const char __start_known_text[], __stop_known_text[];

/* A tail call would leave the frame out of the stack. */
#define KEEP_FRAME(pointer) __asm__ volatile("" : "+r"(pointer)::"memory")

KNOWN static void *known_malloc(size_t bytes) {
    void *object = malloc(bytes);
    KEEP_FRAME(object);
    return object;
}

KNOWN static void *known_calloc(size_t bytes) {
    void *object = calloc(1, bytes);
    KEEP_FRAME(object);
    return object;
}

KNOWN static void *known_aligned(size_t bytes) {
    void *object = aligned_alloc(64, bytes);
    KEEP_FRAME(object);
    return object;
}

KNOWN static void *known_realloc(void *old, size_t bytes) {
    void *object = realloc(old, bytes);
    KEEP_FRAME(object);
    return object;
}

static struct tally *tally_of(struct worker *worker, size_t bytes) {
    struct tally *tally = worker->tally;
    while (tally->bytes != bytes && tally->bytes != 0)
        if (++tally == worker->tally + SIZES_MAX)
            abort();
    tally->bytes = bytes;
    return tally;
}

/* Small sizes more often than large ones, so that bytes are spread over sizes. */
static size_t pick_size(uint64_t *random) {
    uint64_t draw = seeded_next(random);
    size_t limit = draw % 16 == 0 ? WANTED : draw % 4 == 0 ? 9 : 6;
    return wanted_sizes[(draw >> 8) % limit];
}

static void put(struct worker *worker, size_t at, void *object) {
    if (!object)
        abort();
    worker->slot[at] = object;
    worker->slot_bytes[at] = malloc_usable_size(object);
    tally_of(worker, worker->slot_bytes[at])->allocs++;
}

static void drop(struct worker *worker, struct worker *owner, size_t at) {
    tally_of(worker, owner->slot_bytes[at])->frees++;
    free(owner->slot[at]);
    owner->slot[at] = NULL;
}

/* A block that stays where it is, at the size it had, is neither freed nor allocated. */
static void resize(struct worker *worker, size_t at) {
    void *old = worker->slot[at];
    size_t old_bytes = worker->slot_bytes[at];
    uintptr_t old_place = (uintptr_t)old;
    void *object = known_realloc(old, pick_size(&worker->random));
    if ((uintptr_t)object == old_place && malloc_usable_size(object) == old_bytes)
        return;
    tally_of(worker, old_bytes)->frees++;
    put(worker, at, object);
}

static void step(struct worker *worker) {
    size_t at = seeded_next(&worker->random) % SLOTS;
    uint64_t draw = seeded_next(&worker->random) % 8;
    if (worker->slot[at] && draw == 0)
        resize(worker, at);
    else if (worker->slot[at])
        drop(worker, worker, at);
    else if (draw == 1)
        put(worker, at, known_calloc(pick_size(&worker->random)));
    else if (draw == 2)
        put(worker, at, known_aligned((pick_size(&worker->random) + 63) & ~(size_t)63));
    else
        put(worker, at, known_malloc(pick_size(&worker->random)));
}

static void free_some_of(struct worker *worker, struct worker *other) {
    for (size_t at = 0; at < SLOTS; at += 3)
        if (other->slot[at])
            drop(worker, other, at);
}

static void *work(void *argument) {
    struct worker *worker = argument;
    for (long i = 0; i < worker->operations; i++)
        step(worker);
    pthread_barrier_wait(&halfway);
    free_some_of(worker, &workers[(worker - workers + 1) % thread_count]);
    return NULL;
}

static void print_sum(void) {
    static struct worker sum;
    for (int i = 0; i < thread_count; i++)
        for (struct tally *tally = workers[i].tally; tally->bytes; tally++) {
            tally_of(&sum, tally->bytes)->allocs += tally->allocs;
            tally_of(&sum, tally->bytes)->frees += tally->frees;
        }
    printf("range %lx %lx\n", (unsigned long)__start_known_text, (unsigned long)__stop_known_text);
    for (struct tally *tally = sum.tally; tally->bytes; tally++)
        printf("size %zu %lu %lu\n", tally->bytes, (unsigned long)tally->allocs,
               (unsigned long)tally->frees);
    printf("ready\n");
    fflush(stdout);
}

int main(int count, char **arguments) {
    char byte;
    if (count != 4)
        return 2;
    thread_count = atoi(arguments[2]);
    pthread_barrier_init(&halfway, NULL, (unsigned)thread_count);
    for (int i = 0; i < thread_count; i++) {
        workers[i].random = strtoull(arguments[1], NULL, 0) * 1000 + (uint64_t)i;
        workers[i].operations = atol(arguments[3]);
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < thread_count; i++)
        pthread_join(workers[i].thread, NULL);
    print_sum();
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
