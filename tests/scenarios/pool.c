/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool that keeps its largest buffers.
 *
 * Requests encode their answer into a buffer that grows as needed and goes back to a pool. Nearly
 * all answers are small; one in a hundred is large. Without a bound each large buffer goes back
 * too, is handed to small requests, and in the end every buffer of the pool is a large one: the
 * heap that the trace calls live. With a bound on what is kept the large ones go.
 *
 *     pool before|after [requests = 20000]
 */
#include "scene.h"

#include "mallard/gc.h"
#include "mallard/pool.h"

enum {
    AT_ONCE = 24,
    SMALL_BYTES = 4 << 10,
    LARGE_BYTES = 10 << 20,
    LARGE_ONE_IN = 100,
    BOUND_BYTES = 64 << 10
};

struct buffer {
    char *data;
    size_t room;
};
MALLARD_GC_TYPE(buffer_type, struct buffer, data);

static void *fresh(void *context) {
    (void)context;
    return mallard_gc_new(&buffer_type);
}

static size_t size_of(const void *item, void *context) {
    (void)context;
    return sizeof(struct buffer) + ((const struct buffer *)item)->room;
}

static void encode(struct buffer *buffer, size_t bytes) {
    if (buffer->room < bytes) {
        buffer->data = not_null(mallard_gc_alloc_noscan(bytes));
        buffer->room = bytes;
    }
    memset(buffer->data, 'x', bytes);
}

static __attribute__((noinline)) void serve(struct mallard_pool *pool, uint64_t *random) {
    struct buffer *volatile busy[AT_ONCE];
    for (size_t i = 0; i < AT_ONCE; i++) {
        busy[i] = not_null(mallard_pool_get(pool));
        int large = random_next(random) % LARGE_ONE_IN == 0;
        encode(busy[i], large ? LARGE_BYTES : SMALL_BYTES);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        mallard_pool_put(pool, busy[i]);
        busy[i] = NULL;
    }
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    struct mallard_pool_options options = {
        .size = sizeof options,
        .new_item = fresh,
        .size_of = size_of,
        .max_item_bytes = strcmp(argv[1], "after") == 0 ? BOUND_BYTES : 0,
    };
    struct mallard_pool *pool = not_null(mallard_pool_new(&options));
    long requests = argc > 2 ? atol(argv[2]) : 20000;
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < requests; i += AT_ONCE)
        serve(pool, &random);
    mallard_gc_collect();
    struct mallard_gc_stats heap = {.size = sizeof heap};
    mallard_gc_read_stats(&heap);
    struct mallard_pool_stats stats = {.size = sizeof stats};
    mallard_pool_read_stats(pool, &stats);
    figure("live_mib", (double)heap.live_bytes / (1 << 20));
    figure("resident_mib", resident_mib());
    figure("kept_items", (double)stats.kept_items);
    figure("refused", (double)stats.refused);
    mallard_pool_free(pool);
    return 0;
}
