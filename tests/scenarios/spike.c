/* SPDX-License-Identifier: Apache-2.0
 *
 * RSS that never falls.
 *
 * Once a day the live heap is ten times as large. Afterwards the goal still stands at twice the
 * spike, and at the low rate of the rest of the day the heap takes minutes to grow up to it: until
 * then nothing is collected and the memory stays. With a memory limit the collector works as soon
 * as the process is above it.
 *
 *     spike [live MiB = 40 [seconds = 8]]          before: nothing set; after: GOMEMLIMIT
 */
#include "scene.h"

#include "mallard/gc.h"

#include <pthread.h>

struct item {
    struct item *next;
    uint64_t data[15];
};
MALLARD_GC_TYPE(item_type, struct item, next);

static struct item *list(size_t mib) {
    struct item *head = NULL;
    for (size_t i = 0; i < (mib << 20) / sizeof *head; i++) {
        struct item *item = not_null(mallard_gc_new(&item_type));
        item->next = head;
        head = item;
    }
    return head;
}

/* In a thread of its own: a stack that goes on being used may hold forgotten copies of pointers. */
static void *spike(void *mib) {
    struct item *held = list(*(size_t *)mib);
    mallard_gc_collect(); /* the spike lasts: a cycle sees it, and sets the goal by it */
    figure("peak_mib", resident_mib());
    mallard_gc_keepalive(held);
    return NULL;
}

static void run_spike(size_t mib) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, spike, &mib) != 0 || pthread_join(thread, NULL) != 0)
        exit(1);
}

int main(int argc, char **argv) {
    size_t mib = argc > 1 ? (size_t)atol(argv[1]) : 40;
    int seconds = argc > 2 ? atoi(argv[2]) : 8;
    struct item *volatile kept = list(mib);
    run_spike(9 * mib);
    for (int i = 0; i < seconds * 10; i++) {
        list(1);
        sleep_ms(100);
    }
    figure("after_mib", resident_mib());
    figure("live_mib", (double)mib);
    return kept == NULL;
}
