/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast a full collection marks: a tree of 64-byte objects whose addresses are shuffled, so that
 * every edge is a cache miss.
 *
 *     mark [MiB = 1024 [rounds = 5]]
 */
#include "heap.h"

/* All objects, made one after the other and linked in another order. */
static struct fat_node *build(long count) {
    struct fat_node **all = heap_words((size_t)count);
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < count; i++)
        all[i] = heap_fat_node();
    for (long i = count - 1; i > 0; i--) {
        long j = (long)(random_next(&random) % (uint64_t)(i + 1));
        struct fat_node *swap = all[i];
        all[i] = all[j];
        all[j] = swap;
    }
    for (long i = 0; i < count; i++) {
        all[i]->left = 2 * i + 1 < count ? all[2 * i + 1] : NULL;
        all[i]->right = 2 * i + 2 < count ? all[2 * i + 2] : NULL;
    }
    return all[0];
}

int main(int argc, char **argv) {
    long count = (argument(argc, argv, 1, 1024) << 20) / (long)sizeof(struct fat_node);
    long rounds = argument(argc, argv, 2, 5);
    heap_begin();
    struct fat_node *volatile root = build(count);
    heap_collect();
    uint64_t best_ns = UINT64_MAX;
    for (long round = 0; round < rounds; round++) {
        uint64_t start_ns = now_ns();
        heap_collect();
        uint64_t spent_ns = now_ns() - start_ns;
        best_ns = spent_ns < best_ns ? spent_ns : best_ns;
    }
    printf("objects_per_second %.0f\n", (double)count * 1e9 / (double)best_ns);
    heap_end();
    return root == NULL;
}
