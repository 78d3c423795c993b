/* SPDX-License-Identifier: Apache-2.0
 *
 * Huge pages under the collected heap: a heap of small objects gets them and keeps its contents, a
 * large object that nobody touched stays without memory, and a pass keeps to its time.
 */
#include "gc/cycle.h"
#include "gc/heap.h"
#include "gc/huge.h"
#include "gc_by_hand.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "os/env.h"
#include "os/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/emulated.h"

#define MIB ((size_t)1 << 20)
#define HEAP_BYTES (96 * MIB)

struct node {
    struct node *next;
    uint64_t number, other[6];
};
MALLARD_GC_TYPE(node_type, struct node, next);

static struct node *chain;

/* In bytes; -1 when the system does not say. */
static long long field_of_smaps(const char *name) {
    static char text[8192];
    long got = mal_read_file("/proc/self/smaps_rollup", text, sizeof text - 1);
    if (got <= 0)
        return -1;
    text[got] = '\0';
    const char *line = strstr(text, name);
    return line ? atoll(line + strlen(name)) * 1024 : -1;
}

/* By the same call, on memory of our own. */
static bool has_huge_pages(void) {
    char *memory = mal_vm_map(4 * MAL_VM_HUGE_BYTES);
    memset(memory, 1, 4 * MAL_VM_HUGE_BYTES);
    uintptr_t low = ((uintptr_t)memory + MAL_VM_HUGE_BYTES - 1) & ~(MAL_VM_HUGE_BYTES - 1);
    bool has = mal_vm_may_collapse() && mal_vm_collapse((void *)low, MAL_VM_HUGE_BYTES) == 0;
    mal_vm_unmap(memory, 4 * MAL_VM_HUGE_BYTES);
    return has && field_of_smaps("AnonHugePages:") >= 0;
}

static void fill(size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof(struct node); i++) {
        struct node *node = mallard_gc_new(&node_type);
        node->number = i;
        node->other[5] = ~i;
        node->next = chain;
        chain = node;
    }
}

static void check_chain(void) {
    uint64_t i = HEAP_BYTES / sizeof(struct node);
    for (struct node *node = chain; node; node = node->next) {
        i--;
        assert_true(node->number == i && node->other[5] == ~i);
    }
    assert_int_equal(i, 0);
}

static void run_pass(uint64_t most_ns) {
    mal_gc_huge_begin(most_ns);
    while (mal_gc_huge_step())
        ;
}

static void small_heaps_are_left_alone(void **state) {
    (void)state;
    fill(16 * MIB);
    long long before = field_of_smaps("AnonHugePages:");
    run_pass(UINT64_MAX);
    assert_int_equal(field_of_smaps("AnonHugePages:"), before);
    chain = NULL;
}

static void dense_blocks_become_huge(void **state) {
    (void)state;
    if (!has_huge_pages() || is_emulated())
        skip();
    fill(HEAP_BYTES);
    char *untouched = mallard_gc_alloc_noscan(64 * MIB);
    assert_non_null(untouched);
    long long resident = field_of_smaps("Rss:");
    long long huge = field_of_smaps("AnonHugePages:");
    run_pass(0);
    assert_int_equal(field_of_smaps("AnonHugePages:"), huge);
    run_pass(UINT64_MAX);
    assert_true(field_of_smaps("AnonHugePages:") - huge > (long long)HEAP_BYTES / 2);
    assert_true(field_of_smaps("Rss:") - resident < (long long)(8 * MIB));
    check_chain();
    mallard_gc_keepalive(untouched);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_heaps_are_left_alone),
        cmocka_unit_test(dense_blocks_become_huge),
    };
    return cmocka_run_group_tests(tests, gc_by_hand, NULL);
}
