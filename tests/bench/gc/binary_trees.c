/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary trees: short-lived complete trees of many depths beside one that lives on.
 *
 *     binary_trees [depth = 20 [threads = 1]]
 */
#include "heap.h"

enum { LEAST_DEPTH = 4, THREADS_MAX = 64 };

static struct node *grow(int depth) {
    struct node *node = heap_node();
    node->left = depth > 0 ? grow(depth - 1) : NULL;
    node->right = depth > 0 ? grow(depth - 1) : NULL;
    return node;
}

static long count_and_drop(struct node *node) {
    long count = 1;
    if (node->left)
        count += count_and_drop(node->left) + count_and_drop(node->right);
    heap_free(node);
    return count;
}

struct share {
    long trees;
    int depth;
    long nodes;
};

static void *work(void *argument) {
    struct share *share = argument;
    share->nodes = 0;
    for (long i = 0; i < share->trees; i++)
        share->nodes += count_and_drop(grow(share->depth));
    return NULL;
}

static long run(long trees, int depth, long threads) {
    pthread_t thread[THREADS_MAX];
    struct share share[THREADS_MAX];
    long nodes = 0;
    for (long i = 0; i < threads; i++)
        share[i] = (struct share){trees / threads + (i < trees % threads), depth, 0};
    for (long i = 1; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, &share[i]) != 0)
            exit(1);
    work(&share[0]);
    for (long i = 1; i < threads; i++)
        pthread_join(thread[i], NULL);
    for (long i = 0; i < threads; i++)
        nodes += share[i].nodes;
    return nodes;
}

int main(int argc, char **argv) {
    int depth = (int)argument(argc, argv, 1, 20);
    long threads = argument(argc, argv, 2, 1), nodes = 0;
    heap_begin();
    if (depth < LEAST_DEPTH || threads < 1 || threads > THREADS_MAX)
        return 2;
    nodes += count_and_drop(grow(depth + 1));
    struct node *long_lived = grow(depth);
    for (int d = LEAST_DEPTH; d <= depth; d += 2)
        nodes += run(1l << (depth - d + LEAST_DEPTH), d, threads);
    nodes += count_and_drop(long_lived);
    printf("nodes %ld\n", nodes);
    heap_end();
    return 0;
}
