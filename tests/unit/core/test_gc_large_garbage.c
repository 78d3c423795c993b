/* SPDX-License-Identifier: Apache-2.0
 *
 * Large garbage beside a live heap that takes long to mark. What is allocated while marking lives
 * until the next cycle and raises its goal, so a thread that need not pay for what it takes makes
 * the heap larger with each cycle: 20 times what lives after six, where it is three or four.
 */
#include "mallard/gc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/emulated.h"

#define NODES 2000000
#define GARBAGE_BYTES ((size_t)4 << 20)
#define CYCLES 6
#define MOST_TIMES_LIVE 8

struct node {
    struct node *next;
    void *other;
    uint64_t number;
};
MALLARD_GC_TYPE(node_type, struct node, next, other);

static struct node *live;

static void make_live(void) {
    for (size_t i = 0; i < NODES; i++) {
        struct node *node = mallard_gc_new(&node_type);
        assert_non_null(node);
        node->next = live;
        live = node;
    }
    mallard_gc_collect();
}

static struct mallard_gc_stats read_stats(void) {
    struct mallard_gc_stats stats = {.size = sizeof stats};
    assert_int_equal(mallard_gc_read_stats(&stats), 0);
    return stats;
}

static void it_does_not_outgrow_what_lives(void **state) {
    uint64_t peak_bytes = 0;
    (void)state;
    if (is_emulated())
        skip();
    make_live();
    struct mallard_gc_stats before = read_stats(), now = before;
    while (now.num_gc < before.num_gc + CYCLES) {
        void *volatile garbage = mallard_gc_alloc_noscan(GARBAGE_BYTES);
        assert_non_null(garbage);
        now = read_stats();
        peak_bytes = now.live_bytes > peak_bytes ? now.live_bytes : peak_bytes;
    }
    assert_in_range(peak_bytes, before.live_bytes, MOST_TIMES_LIVE * before.live_bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_does_not_outgrow_what_lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
