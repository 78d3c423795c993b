/* SPDX-License-Identifier: Apache-2.0
 *
 * A program that collects: half of its lists die, some cycles are forced. Last of all it prints
 * what the collector says of itself, NAME=NUMBER a line, and the ring of pauses.
 *
 *     gc_cycles MIB FORCED [WRITTEN_MIB [ARENA_MIB]]
 *
 * WRITTEN_MIB of objects are written to without a pause meanwhile: the collector has to give stops
 * up. ARENA_MIB lie in an arena, to be scanned by each cycle.
 */
#include "mallard/arena.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct cell {
    struct cell *next;
    uint64_t number;
};
MALLARD_GC_TYPE(cell_type, struct cell, next);

#define LISTS 256
static struct cell *list[LISTS];

static void *allocate(void *argument) {
    unsigned long cells = (unsigned long)(uintptr_t)argument;
    for (unsigned long i = 0; i < cells; i++) {
        struct cell *cell = mallard_gc_new(&cell_type);
        struct cell **head = &list[i * 2654435761u % LISTS];
        cell->number = i;
        cell->next = i % 97 == 0 ? NULL : *head;
        *head = cell;
    }
    return NULL;
}

static struct mallard_arena *arena;

static void fill_arena(unsigned long mib) {
    arena = mallard_arena_new();
    for (unsigned long i = 0; i < mib << 4; i++) {
        void **piece = mallard_arena_alloc(arena, 65536, NULL);
        for (size_t word = 0; word < 65536 / sizeof *piece; word += 64)
            piece[word] = piece;
    }
}

struct written {
    void **words;
    size_t count;
    int stop;
};

static void *write_everywhere(void *argument) {
    struct written *written = argument;
    while (!__atomic_load_n(&written->stop, __ATOMIC_RELAXED))
        for (size_t i = 0; i < written->count; i += 512)
            __atomic_store_n(&written->words[i], list[i % LISTS], __ATOMIC_RELAXED);
    return NULL;
}

static void print(const struct mallard_gc_stats *stats, const struct mallard_memstats *memory) {
    printf("num_gc=%lu\nnum_forced_gc=%lu\npause_total_ns=%lu\nlast_gc_unix_ns=%lu\n",
           stats->num_gc, stats->num_forced_gc, stats->pause_total_ns, stats->last_gc_unix_ns);
    printf("next_gc_bytes=%lu\nlive_bytes=%lu\nmarked_bytes=%lu\nmallocs=%lu\nfrees=%lu\n",
           stats->next_gc_bytes, stats->live_bytes, stats->marked_bytes, stats->mallocs,
           stats->frees);
    printf("cpu_ppb=%.0f\nheap_alloc=%lu\ntotal_alloc=%lu\nheap_objects=%lu\nall_mallocs=%lu\n"
           "all_frees=%lu\nheap_inuse=%lu\nheap_sys=%lu\nheap_idle=%lu\nsys=%lu\ngc_sys=%lu\n",
           stats->gc_cpu_fraction * 1e9, memory->heap_alloc, memory->total_alloc,
           memory->heap_objects, memory->mallocs, memory->frees, memory->heap_inuse,
           memory->heap_sys, memory->heap_idle, memory->sys, memory->gc_sys);
    for (unsigned i = 0; i < 256; i++)
        printf("pause %lu %lu\n", stats->pause_ns[i], stats->pause_end_unix_ns[i]);
}

int main(int count, char **argument) {
    static struct mallard_gc_stats stats = {.size = sizeof stats};
    static struct mallard_memstats memory = {.size = sizeof memory};
    unsigned long mib = count > 1 ? strtoul(argument[1], NULL, 10) : 100;
    int forced = count > 2 ? atoi(argument[2]) : 3;
    static struct written written;
    pthread_t thread, writer;
    if (count > 4)
        fill_arena(strtoul(argument[4], NULL, 10));
    written.count = (count > 3 ? strtoul(argument[3], NULL, 10) << 20 : 0) / sizeof(void *);
    if (written.count > 0) {
        written.words = mallard_gc_alloc(written.count * sizeof(void *), NULL);
        pthread_create(&writer, NULL, write_everywhere, &written);
    }
    for (int i = 0; i <= forced; i++) {
        void *cells = (void *)(uintptr_t)((mib << 20) / sizeof(struct cell) / 2 / (forced + 1u));
        pthread_create(&thread, NULL, allocate, cells);
        pthread_join(thread, NULL);
        allocate(cells);
        /* The last one at the end: no cycle is under way any more then, and its line is written. */
        if (i > 0)
            mallard_gc_collect();
    }
    if (written.count > 0) {
        __atomic_store_n(&written.stop, 1, __ATOMIC_RELAXED);
        pthread_join(writer, NULL);
    }
    mallard_gc_read_stats(&stats);
    printf("next_gc_by_percent=%lu\n", stats.next_gc_bytes);
    mallard_gc_set_percent(-1); /* what is read next is of one moment */
    mallard_gc_read_stats(&stats);
    mallard_read_memstats(&memory);
    mallard_gc_keepalive(arena);
    print(&stats, &memory);
    return 0;
}
