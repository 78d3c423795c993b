/* SPDX-License-Identifier: Apache-2.0
 *
 * One program over three heaps: compiled with HEAP_MALLARD, HEAP_BOEHM or HEAP_MALLOC. Collected
 * heaps never free; with malloc the programs free by hand where `heap_free` stands.
 *
 * Every program prints one line "KEY VALUE" per result on standard output; pauses in nanoseconds as
 * "pause N" (Boehm's collector tells them by events; of the others the trace on standard error
 * does).
 */
#ifndef BENCH_GC_HEAP_H
#define BENCH_GC_HEAP_H

#include "../../support/program.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline void sleep_ns(uint64_t ns) {
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    nanosleep(&t, NULL);
}

static inline long argument(int argc, char **argv, int number, long fallback) {
    return argc > number ? atol(argv[number]) : fallback;
}

/* Two pointers and what else an object carries. */
struct node {
    struct node *left, *right;
};
struct fat_node {
    struct fat_node *left, *right;
    uint64_t data[6];
};

#if defined HEAP_MALLARD

#include "mallard/gc.h"
MALLARD_GC_TYPE(node_type, struct node, left, right);
MALLARD_GC_TYPE(fat_node_type, struct fat_node, left, right);
static inline void heap_begin(void) {}
static inline void heap_end(void) {}
static inline struct node *heap_node(void) {
    return not_null(mallard_gc_new(&node_type));
}
static inline struct fat_node *heap_fat_node(void) {
    return not_null(mallard_gc_new(&fat_node_type));
}
static inline void *heap_words(size_t count) {
    return not_null(mallard_gc_alloc(count * sizeof(void *), NULL));
}
static inline void *heap_bytes(size_t bytes) {
    return not_null(mallard_gc_alloc_noscan(bytes));
}
static inline void heap_collect(void) {
    mallard_gc_collect();
}
static inline void heap_stop_collecting(void) {
    mallard_gc_set_percent(-1);
}
static inline void heap_free(void *object) {
    (void)object;
}

#elif defined HEAP_BOEHM

#define GC_THREADS
#include <gc/gc.h>
enum { PAUSES_MAX = 1 << 20 };
static uint64_t *boehm_pauses, boehm_began_ns;
static size_t boehm_pause_count;
static inline void boehm_event(GC_EventType event) {
    if (event == GC_EVENT_PRE_STOP_WORLD)
        boehm_began_ns = now_ns();
    if (event == GC_EVENT_POST_START_WORLD && boehm_pause_count < PAUSES_MAX)
        boehm_pauses[boehm_pause_count++] = now_ns() - boehm_began_ns;
}
static inline void heap_begin(void) {
    GC_INIT();
    boehm_pauses = calloc(PAUSES_MAX, sizeof *boehm_pauses);
    GC_set_on_collection_event(boehm_event);
}
static inline void heap_end(void) {
    for (size_t i = 0; i < boehm_pause_count; i++)
        printf("pause %llu\n", (unsigned long long)boehm_pauses[i]);
}
static inline struct node *heap_node(void) {
    return not_null(GC_MALLOC(sizeof(struct node)));
}
static inline struct fat_node *heap_fat_node(void) {
    return not_null(GC_MALLOC(sizeof(struct fat_node)));
}
static inline void *heap_words(size_t count) {
    return not_null(GC_MALLOC(count * sizeof(void *)));
}
static inline void *heap_bytes(size_t bytes) {
    return memset(not_null(GC_MALLOC_ATOMIC(bytes)), 0, bytes);
}
/* What is disabled collects nothing, by hand neither. */
static inline void heap_collect(void) {
    int was_disabled = GC_is_disabled();
    if (was_disabled)
        GC_enable();
    GC_gcollect();
    if (was_disabled)
        GC_disable();
}
static inline void heap_stop_collecting(void) {
    GC_disable();
}
static inline void heap_free(void *object) {
    (void)object;
}

#else

static inline void heap_begin(void) {}
static inline void heap_end(void) {}
static inline struct node *heap_node(void) {
    return not_null(malloc(sizeof(struct node)));
}
static inline struct fat_node *heap_fat_node(void) {
    return not_null(calloc(1, sizeof(struct fat_node)));
}
static inline void *heap_words(size_t count) {
    return not_null(calloc(count, sizeof(void *)));
}
static inline void *heap_bytes(size_t bytes) {
    return not_null(calloc(1, bytes));
}
static inline void heap_collect(void) {}
static inline void heap_stop_collecting(void) {}
static inline void heap_free(void *object) {
    free(object);
}

#endif

#endif
