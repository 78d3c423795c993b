/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixed sizes in one thread: short-lived blocks, buffers grown with realloc, zeroed tables.
 *
 * The mixture of an interpreter or a parser: most blocks die within a few operations, some buffers
 * double until they are large, calloc makes hash tables now and then.
 */
#include "load.h"

enum { OPERATIONS = 18000000, RECENT = 256, BUFFERS = 64, BUFFER_MOST = 256 * 1024 };

struct buffer {
    char *text;
    size_t bytes, capacity;
};

static char *recent[RECENT];
static struct buffer buffers[BUFFERS];

static void append(struct buffer *buffer, size_t bytes) {
    while (buffer->bytes + bytes > buffer->capacity) {
        buffer->capacity = buffer->capacity ? 2 * buffer->capacity : 64;
        buffer->text = realloc(buffer->text, buffer->capacity);
        if (!buffer->text)
            fail("no memory");
    }
    memset(buffer->text + buffer->bytes, 'x', bytes);
    buffer->bytes += bytes;
    if (buffer->bytes > BUFFER_MOST) {
        free(buffer->text);
        *buffer = (struct buffer){0};
    }
}

static void table(uint64_t *seed) {
    size_t count = 32 + random_below(seed, 2000);
    char **slots = calloc(count, sizeof *slots);
    if (!slots)
        fail("no memory");
    slots[count / 2] = (char *)slots;
    free(slots);
}

int main(int argc, char **argv) {
    uint64_t seed = 42;
    size_t operations = scaled(argc, argv, OPERATIONS);
    for (size_t i = 0; i < operations; i++) {
        char **slot = &recent[random_below(&seed, RECENT)];
        free(*slot);
        *slot = take(random_size(&seed, 8, 4096));
        if (i % 8 == 0)
            append(&buffers[random_below(&seed, BUFFERS)], 1 + random_below(&seed, 200));
        if (i % 100 == 0)
            table(&seed);
    }
    return 0;
}
