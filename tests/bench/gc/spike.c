/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory after a spike: a live heap that grows to ten times its size and falls back. A collection
 * finds that out (nobody knows without one, so it is asked for here); then low load for some
 * seconds, whose garbage is a fortieth of what is live, and the resident set at the end.
 *
 *     spike [live MiB = 50 [seconds = 10]]
 */
#include "heap.h"

#include <unistd.h>

static struct fat_node *list(long mib) {
    struct fat_node *head = NULL;
    for (long i = 0; i < (mib << 20) / (long)sizeof *head; i++) {
        struct fat_node *node = heap_fat_node();
        node->left = head;
        head = node;
    }
    return head;
}

static void drop(struct fat_node *head) {
    while (head) {
        struct fat_node *next = head->left;
        heap_free(head);
        head = next;
    }
}

static long resident_kib(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* In a thread of its own: a stack that goes on being used may hold forgotten copies of pointers. */
static void *spike(void *mib) {
    drop(list(*(long *)mib));
    return NULL;
}

static void run_spike(long mib) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, spike, &mib) != 0 || pthread_join(thread, NULL) != 0)
        exit(1);
}

int main(int argc, char **argv) {
    long mib = argument(argc, argv, 1, 50), seconds = argument(argc, argv, 2, 10);
    heap_begin();
    struct fat_node *volatile live = list(mib);
    run_spike(9 * mib);
    heap_collect();
    printf("spike_kib %ld\n", resident_kib());
    for (long i = 0; i < seconds * 100; i++) {
        for (int j = 0; j < 20; j++)
            heap_free(heap_fat_node());
        sleep_ns(10000000);
    }
    printf("after_kib %ld\n", resident_kib());
    printf("live_kib %ld\n", mib << 10);
    heap_end();
    return live == NULL;
}
