/* SPDX-License-Identifier: Apache-2.0
 *
 * The README's program: an index that stays and queries that do not, and nobody frees anything.
 */
#include <mallard/gc.h>
#include <mallard/mallard.h>

struct node {
    struct node *left, *right;
    long key;
};
MALLARD_GC_TYPE(node_type, struct node, left, right);

static struct node *build(int depth) {
    struct node *node = mallard_gc_new(&node_type);
    if (depth > 0) {
        node->left = build(depth - 1);
        node->right = build(depth - 1);
    }
    return node;
}

int main(void) {
    struct node *index = build(19);
    for (int query = 0; query < 1000; query++)
        build(13);
    mallard_gc_collect();
    mallard_write_heap_profile(1);
    return index == NULL;
}
