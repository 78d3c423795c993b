/* SPDX-License-Identifier: Apache-2.0
 *
 * The marker and the allocator of the collected heap by themselves: no threads are stopped.
 *
 *     gc_mark [MIB] [WORKERS]     a heap of MIB MiB of 64-byte objects with two pointers each
 *
 * The objects form a random tree over shuffled addresses, the worst case for a marker: each step
 * leads to another page. Prints nanoseconds per allocation, and objects marked a second: by the
 * first mark of a heap that has just grown, and by later ones, between which the heap is swept and
 * given huge pages as the collector's own threads would do it.
 */
#include "base/bits.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "os/clock.h"

/* In angle brackets: the folder beside this file has the same name. */
#include <gc/cycle.h>
#include <gc/heap.h>
#include <gc/huge.h>
#include <gc/mark.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct node {
    struct node *left, *right;
    uint64_t other[6];
};
MALLARD_GC_TYPE(node_type, struct node, left, right);
MALLARD_GC_TYPE_NOSCAN(bytes_type, char[64]);
MALLARD_GC_TYPE_NOSCAN(small_type, char[16]);

static void *root[1];

static void before(void) {
    mal_gc_heap_before_mark();
    mal_gc_heap_start_mark();
    struct mal_gc_worker *worker = mal_gc_worker_take();
    mal_gc_mark_range(worker, (uintptr_t)root, (uintptr_t)(root + 1));
    mal_gc_worker_give(worker);
}

static void *mark(void *unused) {
    struct mal_gc_worker *worker = mal_gc_worker_take();
    while (!mal_gc_mark_is_done())
        mal_gc_drain(worker, UINT64_MAX, NULL);
    mal_gc_worker_give(worker);
    return unused;
}

static void report(const char *what, uint64_t ns, size_t count) {
    printf("%-28s %8.2f ns each, %8.1f M/s\n", what, (double)ns / (double)count,
           (double)count * 1e3 / (double)ns);
    fflush(stdout);
}

static void collect_nothing(void) {
    root[0] = NULL;
    before();
    mark(NULL);
    mal_gc_heap_end_mark();
}

/* `count` objects in rounds of so many that they fit a cache; collected and swept in between. */
static void time_alloc(const char *what, const struct mallard_gc_type *type, size_t count,
                       size_t round) {
    uint64_t alloc_ns = 0, sweep_ns = 0;
    for (size_t done = 0; done < count; done += round) {
        uint64_t start = mal_clock_mono_ns();
        for (size_t i = 0; i < round; i++)
            mallard_gc_new(type);
        alloc_ns += mal_clock_mono_ns() - start;
        collect_nothing();
        start = mal_clock_mono_ns();
        mal_gc_heap_before_mark();
        sweep_ns += mal_clock_mono_ns() - start;
    }
    report(what, alloc_ns, count);
    report("  swept", sweep_ns, count);
}

static void shuffle(struct node **node, size_t count) {
    uint64_t random = 42;
    for (size_t i = count; i > 1; i--) {
        random = mal_mix(random + i);
        size_t j = random % i;
        struct node *other = node[j];
        node[j] = node[i - 1];
        node[i - 1] = other;
    }
}

static void make_tree(size_t count) {
    struct node **node = mallard_malloc(count * sizeof *node);
    for (size_t i = 0; i < count; i++)
        node[i] = mallard_gc_new(&node_type);
    shuffle(node, count);
    for (size_t i = 0; i < count; i++) {
        node[i]->left = 2 * i + 1 < count ? node[2 * i + 1] : NULL;
        node[i]->right = 2 * i + 2 < count ? node[2 * i + 2] : NULL;
    }
    root[0] = node[0];
    mallard_free(node);
}

static void sweep(size_t count) {
    uint64_t start = mal_clock_mono_ns();
    mal_gc_heap_before_mark();
    report("  swept", mal_clock_mono_ns() - start, count);
}

static void make_huge_pages(size_t count) {
    uint64_t start = mal_clock_mono_ns();
    mal_gc_huge_begin(UINT64_MAX);
    while (mal_gc_huge_step())
        ;
    report("  huge pages", mal_clock_mono_ns() - start, count);
}

static void time_mark(size_t count, unsigned workers) {
    pthread_t thread[16];
    before();
    uint64_t start = mal_clock_mono_ns();
    for (unsigned i = 1; i < workers; i++)
        pthread_create(&thread[i], NULL, mark, NULL);
    mark(NULL);
    for (unsigned i = 1; i < workers; i++)
        pthread_join(thread[i], NULL);
    uint64_t ns = mal_clock_mono_ns() - start;
    mal_gc_heap_end_mark();
    report("marked", ns, count);
    if (mal_gc_heap_counters().marked_bytes != count * sizeof(struct node))
        printf("wrong: %llu bytes marked\n",
               (unsigned long long)mal_gc_heap_counters().marked_bytes);
    sweep(count);
    make_huge_pages(count);
}

int main(int argc, char **argv) {
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 0) : 1024;
    unsigned workers = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) % 17 : 1;
    size_t count = (mib << 20) / sizeof(struct node);
    mallard_free(mallard_malloc(1));
    if (mal_gc_ensure() != 0)
        return 1;
    mallard_gc_set_percent(-1); /* no cycles but ours */
    mal_gc_heap_set_hooks(&(struct mal_gc_heap_hooks){NULL});
    for (size_t round = 1 << 12; round <= 1 << 22; round <<= 10) {
        printf("%zu objects at a time\n", round);
        time_alloc("16 bytes, no pointers", &small_type, 1 << 22, round);
        time_alloc("64 bytes, no pointers", &bytes_type, 1 << 22, round);
        time_alloc("64 bytes, typed", &node_type, 1 << 22, round);
    }
    make_tree(count);
    for (int round = 0; round < 5; round++)
        time_mark(count, workers);
    return 0;
}
