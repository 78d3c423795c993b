/* SPDX-License-Identifier: Apache-2.0
 *
 * Churn that makes the tail latency spike.
 *
 * A server holds an index of small objects and answers requests; each needs scratch memory. Taken
 * from the collected heap anew for every request, the scratch makes cycles come one after the
 * other, and during each the requests that allocate help to mark the index: the assist time of the
 * trace, and the tail of the latencies. Taken from a pool, it is allocated a few times and no more.
 *
 *     tail before|after [requests = 20000 [index MiB = 128]]
 */
#include "scene.h"

#include "mallard/gc.h"
#include "mallard/pool.h"

enum { SCRATCH_BYTES = 256 << 10, TOUCHED_BYTES = 32 << 10 };

struct entry {
    struct entry *left, *right;
    uint64_t key[6];
};
MALLARD_GC_TYPE(entry_type, struct entry, left, right);

static struct mallard_pool *pool;
static uint64_t checksum;

static struct entry *build(int depth) {
    struct entry *entry = not_null(mallard_gc_new(&entry_type));
    entry->key[0] = (uint64_t)depth;
    entry->left = depth > 0 ? build(depth - 1) : NULL;
    entry->right = depth > 0 ? build(depth - 1) : NULL;
    return entry;
}

static void *fresh(void *context) {
    (void)context;
    return mallard_gc_alloc_noscan(SCRATCH_BYTES);
}

static void answer(const struct entry *index, uint64_t request, int pooled) {
    unsigned char *scratch = not_null(pooled ? mallard_pool_get(pool) : fresh(NULL));
    memset(scratch, (int)request, TOUCHED_BYTES);
    for (uint64_t path = request * 0x9E3779B97F4A7C15u; index; path <<= 1) {
        checksum += index->key[0] + scratch[path >> 50];
        index = path >> 63 ? index->left : index->right;
    }
    if (pooled)
        mallard_pool_put(pool, scratch);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    int pooled = strcmp(argv[1], "after") == 0;
    size_t requests = argc > 2 ? (size_t)atol(argv[2]) : 20000;
    int depth = 0;
    while (((size_t)2 << depth) * sizeof(struct entry) < (size_t)(argc > 3 ? atol(argv[3]) : 128)
                                                             << 20)
        depth++;
    struct mallard_pool_options options = {.size = sizeof options, .new_item = fresh};
    uint64_t *spent_ns = not_null(calloc(requests, sizeof *spent_ns));
    struct entry *index = build(depth);
    pool = not_null(mallard_pool_new(&options));
    for (size_t i = 0; i < requests; i++) {
        uint64_t start_ns = now_ns();
        answer(index, i, pooled);
        spent_ns[i] = now_ns() - start_ns;
    }
    latencies(spent_ns, requests);
    mallard_gc_keepalive(index);
    return checksum == 0;
}
