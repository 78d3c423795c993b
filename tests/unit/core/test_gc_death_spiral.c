/* SPDX-License-Identifier: Apache-2.0
 *
 * A death spiral: more lives than a memory limit leaves to the collected heap, so cycle follows
 * upon cycle. On two CPUs, of which one thread can use one: the other's time is not the program's,
 * and the limiter has to find that out before it can let the program go on.
 */
#include "gc/cycle_private.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "os/clock.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/emulated.h"

#define MIB (1l << 20)
#define LIVE_BYTES (96 * MIB)
#define LIMIT_BYTES (64 * MIB)
#define DEADLINE_NS UINT64_C(200000000000) /* of CPU time it takes some seconds */

struct node {
    struct node *next;
    uint64_t number;
};
MALLARD_GC_TYPE(node_type, struct node, next);

static struct node *live;

static struct node *new_node(struct node *next) {
    struct node *node = mallard_gc_new(&node_type);
    assert_non_null(node);
    node->next = next;
    return node;
}

/* One long list: one marker scans, and whoever allocates waits for it, using no CPU at all. */
static void make_live(void) {
    for (size_t bytes = 0; bytes < LIVE_BYTES; bytes += sizeof *live)
        live = new_node(live);
}

static void allocate(size_t bytes) {
    for (size_t done = 0; done < bytes; done += sizeof *live)
        new_node(NULL);
}

static bool becomes_limited(void) {
    uint64_t start_ns = mal_clock_mono_ns();
    while (!mal_gc_pace_is_limiting() && mal_clock_mono_ns() - start_ns < DEADLINE_NS)
        allocate(4096);
    return mal_gc_pace_is_limiting();
}

static void one_thread_on_two_cpus_is_let_go_on(void **state) {
    (void)state;
    if (mal_gc_cpus() < 2 || is_emulated())
        skip();
    make_live();
    int64_t before = mallard_set_memory_limit(LIMIT_BYTES);
    assert_true(becomes_limited());
    mallard_set_memory_limit(before);
}

static int two_cpus(void **state) {
    cpu_set_t mine, two;
    (void)state;
    CPU_ZERO(&two);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&two) < 2; cpu++)
        if (CPU_ISSET(cpu, &mine))
            CPU_SET(cpu, &two);
    return sched_setaffinity(0, sizeof two, &two);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_thread_on_two_cpus_is_let_go_on)};
    return cmocka_run_group_tests(tests, two_cpus, NULL);
}
