/* SPDX-License-Identifier: Apache-2.0
 *
 * What one small object costs while no collection runs: rounds of 8 MiB of objects that are
 * dropped, collected outside the clock, so that memory is reused and not grown. They fit into a
 * CPU's caches: writing 64 MiB to memory costs more than any allocator, and is not its doing.
 *
 *     allocate [bytes = 16: 16 or 64 [rounds = 60]]
 */
#include "heap.h"

enum { ROUND_BYTES = 8 << 20 };

static struct node *volatile sink;

static void allocate_thin(long count) {
    for (long i = 0; i < count; i++)
        sink = heap_node();
}

static void allocate_fat(long count) {
    for (long i = 0; i < count; i++)
        sink = (struct node *)heap_fat_node();
}

int main(int argc, char **argv) {
    long bytes = argument(argc, argv, 1, 16), rounds = argument(argc, argv, 2, 60);
    uint64_t best_ns = UINT64_MAX;
    if (bytes != 16 && bytes != 64)
        return 2;
    heap_begin();
    heap_stop_collecting();
    long count = ROUND_BYTES / bytes;
    for (long round = 0; round < rounds; round++) {
        uint64_t start_ns = now_ns();
        (bytes == 16 ? allocate_thin : allocate_fat)(count);
        uint64_t spent_ns = now_ns() - start_ns;
        best_ns = spent_ns < best_ns ? spent_ns : best_ns;
        heap_collect();
    }
    printf("ns_per_object %.2f\n", (double)best_ns / (double)count);
    return 0;
}
