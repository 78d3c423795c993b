/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool that keeps its largest buffers.
 *
 * Requests encode their answer into a buffer that grows as needed and goes back to a pool. Nearly
 * all answers are small; one in a hundred is large. Without a bound each large buffer goes back
 * too, is handed to small requests, and in the end every buffer of the pool is a large one. With a
 * bound on what is kept the large ones go.
 *
 *     pool before|after [requests = 20000]
 */
#include "scene.h"

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

static void *fresh(void *context) {
    (void)context;
    return calloc(1, sizeof(struct buffer));
}

static void destroy(void *item, void *context) {
    struct buffer *buffer = item;
    (void)context;
    free(buffer->data);
    free(buffer);
}

static size_t size_of(const void *item, void *context) {
    (void)context;
    return ((const struct buffer *)item)->room;
}

static void encode(struct buffer *buffer, size_t bytes) {
    if (buffer->room < bytes) {
        buffer->data = not_null(realloc(buffer->data, bytes));
        buffer->room = bytes;
    }
    memset(buffer->data, 'x', bytes);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    struct mallard_pool_options options = {
        .size = sizeof options,
        .new_item = fresh,
        .destroy = destroy,
        .size_of = size_of,
        .max_item_bytes = strcmp(argv[1], "after") == 0 ? BOUND_BYTES : 0,
    };
    struct mallard_pool *pool = not_null(mallard_pool_new(&options));
    size_t requests = argc > 2 ? (size_t)atol(argv[2]) : 20000;
    for (size_t i = 0; i < requests; i += AT_ONCE) {
        struct buffer *busy[AT_ONCE];
        for (size_t j = 0; j < AT_ONCE; j++) {
            busy[j] = not_null(mallard_pool_get(pool));
            encode(busy[j], (i + j) % LARGE_ONE_IN == 0 ? LARGE_BYTES : SMALL_BYTES);
        }
        for (size_t j = 0; j < AT_ONCE; j++)
            mallard_pool_put(pool, busy[j]);
    }
    sleep_ms(4000); /* what was given back reaches the system */
    figure("resident_mib", resident_mib());
    struct mallard_pool_stats stats = {.size = sizeof stats};
    mallard_pool_read_stats(pool, &stats);
    figure("kept_items", (double)stats.kept_items);
    mallard_pool_free(pool);
    return 0;
}
