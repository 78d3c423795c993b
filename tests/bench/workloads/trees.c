/* SPDX-License-Identifier: Apache-2.0
 *
 * Trees: small objects of one size, built, walked and taken down; one long-lived among short ones.
 *
 * Nearly all the time is malloc, free and cache misses over nodes, so both the fast path and how
 * close together consecutive allocations lie count.
 */
#include "load.h"

enum { DEPTH = 17, LONG_DEPTH = 20, SHORT_TREES = 260, WALKS = 6 };

struct node {
    struct node *left, *right;
    size_t value;
};

static struct node *build(unsigned depth) {
    struct node *node = not_null(malloc(sizeof *node));
    node->value = depth;
    node->left = depth ? build(depth - 1) : NULL;
    node->right = depth ? build(depth - 1) : NULL;
    return node;
}

static size_t walk(const struct node *node) {
    return node ? node->value + walk(node->left) + walk(node->right) : 0;
}

static void take_down(struct node *node) {
    if (!node)
        return;
    take_down(node->left);
    take_down(node->right);
    free(node);
}

int main(int argc, char **argv) {
    size_t sum = 0, trees = scaled(argc, argv, SHORT_TREES);
    struct node *kept = build(LONG_DEPTH);
    for (size_t i = 0; i < trees; i++) {
        struct node *tree = build(DEPTH);
        sum += walk(tree);
        take_down(tree);
    }
    for (int i = 0; i < WALKS; i++)
        sum += walk(kept);
    take_down(kept);
    return result(sum);
}
