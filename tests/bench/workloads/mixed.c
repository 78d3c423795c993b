/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixed sizes in one thread: short-lived blocks, buffers grown with realloc, zeroed tables.
 *
 * The mixture of an interpreter or a parser: most blocks die within a few operations, some buffers
 * double until they are large, calloc makes hash tables now and then.
 */
#include "load.h"

enum { OPERATIONS = 30000000, RECENT = 256, BUFFERS = 64, BUFFER_MOST = 256 * 1024 };

struct buffer {
    char *text;
    size_t bytes, capacity;
};

static char *recent[RECENT];
static struct buffer buffers[BUFFERS];

static size_t append(struct buffer *buffer, size_t bytes) {
    while (buffer->bytes + bytes > buffer->capacity) {
        buffer->capacity = buffer->capacity ? 2 * buffer->capacity : 64;
        buffer->text = realloc(buffer->text, buffer->capacity);
        not_null(buffer->text);
    }
    memset(buffer->text + buffer->bytes, 'x', bytes);
    buffer->bytes += bytes;
    if (buffer->bytes <= BUFFER_MOST)
        return 0;
    size_t kept = (size_t)buffer->text[0] + (size_t)buffer->text[buffer->bytes / 2];
    free(buffer->text);
    *buffer = (struct buffer){0};
    return kept;
}

static void table(uint64_t *seed) {
    size_t count = 32 + random_below(seed, 2000);
    char **slots = calloc(count, sizeof *slots);
    not_null(slots);
    slots[count / 2] = (char *)slots;
    free(slots);
}

int main(int argc, char **argv) {
    uint64_t seed = 42, sum = 0;
    size_t operations = scaled(argc, argv, OPERATIONS);
    for (size_t i = 0; i < operations; i++) {
        char **slot = &recent[random_below(&seed, RECENT)];
        sum += drop(*slot);
        *slot = take(random_size(&seed, 8, 4096));
        if (i % 8 == 0)
            sum += append(&buffers[random_below(&seed, BUFFERS)], 1 + random_below(&seed, 200));
        if (i % 100 == 0)
            table(&seed);
    }
    return result(sum);
}
