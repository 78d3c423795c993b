/* SPDX-License-Identifier: Apache-2.0
 *
 * A process of the collected heap, to be watched: allocates what it is told, in functions with
 * names of their own and on threads that end, so that no stack remembers what died. Says "ready",
 * then reads one order a line and answers "done":
 *
 *     hold COUNT      allocates as many nodes of 1 KiB that live for ever
 *     drop COUNT      the same, dead at once
 *     malloc BYTES    of the other heap; what it had before is freed
 *     clock SECONDS   from now on each reading of the monotonic clock is as much later, for all
 *                     that asks in this process: two minutes need not be waited for
 *
 * It ends where its orders end. Before the first hold or drop it has malloc's heap only.
 */
#include "../support/program.h"
#include "mallard/gc.h"

#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NODE_BYTES 1024u

struct node {
    struct node *next;
    char data[NODE_BYTES - sizeof(struct node *)];
};
MALLARD_GC_TYPE(node_type, struct node, next);

static struct node *held;            /* a root: it is in a data segment */
static struct node *volatile newest; /* in sight, so that no compiler takes allocations away */
static void *volatile malloced;

__attribute__((noinline)) static void *hold_nodes(void *count) {
    for (uintptr_t i = 0; i < (uintptr_t)count; i++) {
        struct node *node = not_null(mallard_gc_new(&node_type));
        node->next = held;
        held = node;
    }
    return NULL;
}

__attribute__((noinline)) static void *drop_nodes(void *count) {
    for (uintptr_t i = 0; i < (uintptr_t)count; i++)
        newest = not_null(mallard_gc_new(&node_type));
    newest = NULL;
    return NULL;
}

static void *malloc_bytes(void *bytes) {
    free(malloced);
    malloced = not_null(malloc((size_t)bytes));
    return NULL;
}

/* ---- a clock that can be hurried: libmallard asks it instead of the kernel's */

static uint64_t hurry_seconds, ahead_seconds; /* relaxed atomics */

int mallard_test_clock(clockid_t id, struct timespec *ret_time);

int mallard_test_clock(clockid_t id, struct timespec *ret_time) {
    long error = syscall(SYS_clock_gettime, id, ret_time);
    if (error == 0 && id == CLOCK_MONOTONIC)
        ret_time->tv_sec += (time_t)__atomic_add_fetch(
            &ahead_seconds, __atomic_load_n(&hurry_seconds, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    return (int)error;
}

static void *hurry_clock(void *seconds) {
    __atomic_store_n(&hurry_seconds, (uintptr_t)seconds, __ATOMIC_RELAXED);
    return NULL;
}

/* ---- orders */

static void run(void *(*function)(void *), unsigned long count) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, (void *)(uintptr_t)count) != 0 ||
        pthread_join(thread, NULL) != 0)
        exit(1);
}

static const struct order {
    const char *name;
    void *(*function)(void *);
} orders[] = {
    {"hold", hold_nodes}, {"drop", drop_nodes}, {"malloc", malloc_bytes}, {"clock", hurry_clock}};

static void obey(const char *order, unsigned long argument) {
    for (unsigned i = 0; i < sizeof orders / sizeof orders[0]; i++)
        if (strcmp(order, orders[i].name) == 0)
            run(orders[i].function, argument);
}

int main(void) {
    char line[64], order[16];
    unsigned long argument;
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && sscanf(line, "%15s %lu", order, &argument) == 2) {
        obey(order, argument);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
