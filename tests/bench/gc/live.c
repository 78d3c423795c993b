/* SPDX-License-Identifier: Apache-2.0
 *
 * A large live heap and a program that changes it at a moderate pace: swaps subtrees at random
 * places and replaces leaves, 10 000 times a second, while garbage makes collections come.
 *
 *     live [MiB = 1024 [seconds = 20]]
 */
#include "heap.h"

enum { OPERATIONS_PER_SECOND = 10000, GARBAGE_PER_OPERATION = 40 };

static struct fat_node **all;
static long count;

static void build(long mib) {
    count = (mib << 20) / (long)sizeof(struct fat_node);
    all = heap_words((size_t)count);
    for (long i = 0; i < count; i++)
        all[i] = heap_fat_node();
    for (long i = 0; i < count; i++) {
        all[i]->left = 2 * i + 1 < count ? all[2 * i + 1] : NULL;
        all[i]->right = 2 * i + 2 < count ? all[2 * i + 2] : NULL;
    }
}

static void operate(uint64_t *random) {
    struct fat_node *a = all[random_next(random) % (uint64_t)count];
    struct fat_node *b = all[random_next(random) % (uint64_t)count];
    struct fat_node *swap = a->left;
    a->left = b->left;
    b->left = swap;
    for (int i = 0; i < GARBAGE_PER_OPERATION; i++)
        a->data[0] += (uint64_t)(uintptr_t)heap_fat_node();
    struct fat_node *fresh = heap_fat_node();
    *fresh = *a;
    a->right = fresh;
}

int main(int argc, char **argv) {
    long seconds = argument(argc, argv, 2, 20);
    uint64_t random = 88172645463325252u, worst_ns = 0;
    heap_begin();
    build(argument(argc, argv, 1, 1024));
    uint64_t start_ns = now_ns(), before_ns = start_ns;
    for (long i = 0; i < seconds * OPERATIONS_PER_SECOND; i++) {
        uint64_t due_ns = start_ns + (uint64_t)i * (1000000000u / OPERATIONS_PER_SECOND);
        before_ns = now_ns();
        if (before_ns < due_ns)
            sleep_ns(due_ns - before_ns);
        before_ns = now_ns();
        operate(&random);
        uint64_t spent_ns = now_ns() - before_ns;
        worst_ns = spent_ns > worst_ns ? spent_ns : worst_ns;
    }
    printf("worst_operation_ns %llu\n", (unsigned long long)worst_ns);
    heap_end();
    return 0;
}
