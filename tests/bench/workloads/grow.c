/* SPDX-License-Identifier: Apache-2.0
 *
 * Growth by realloc: vectors that grow by half, logs that grow by a line, some that shrink again.
 *
 * Whether a block can stay where it is, and what a move costs when not, from 16 bytes to 2 MiB.
 */
#include "load.h"

enum { VECTORS = 400, STEPS = 4500000, MOST = 512 * 1024, HUGE_MOST = 2 << 20 };

struct vector {
    uint32_t *item;
    size_t count, room;
};

static struct vector vectors[VECTORS];

static void resize(struct vector *vector, size_t room) {
    vector->item = not_null(realloc(vector->item, room * sizeof *vector->item));
    vector->room = room;
}

static size_t end(struct vector *vector) {
    size_t sum = 0;
    for (size_t i = 0; i < vector->count; i += 64)
        sum += vector->item[i];
    free(vector->item);
    *vector = (struct vector){0};
    return sum;
}

/* A few vectors by line, the others by half. */
static size_t room_after(const struct vector *vector, size_t count) {
    return (vector - vectors) % 4 == 0 ? count : count + count / 2 + 4;
}

static size_t extend(struct vector *vector, size_t more) {
    size_t most = (vector - vectors) % 50 == 1 ? HUGE_MOST : MOST, count = vector->count + more;
    if (count * sizeof *vector->item > most)
        return end(vector);
    if (count > vector->room)
        resize(vector, room_after(vector, count));
    for (size_t i = vector->count; i < count; i++)
        vector->item[i] = (uint32_t)i;
    vector->count = count;
    return 0;
}

int main(int argc, char **argv) {
    uint64_t seed = 2024, sum = 0;
    size_t steps = scaled(argc, argv, STEPS);
    for (size_t step = 0; step < steps; step++) {
        struct vector *vector = &vectors[random_below(&seed, VECTORS)];
        sum += extend(vector, 1 + random_below(&seed, 60));
        if (step % 64 == 0 && vector->count)
            resize(vector, vector->count);
    }
    for (int i = 0; i < VECTORS; i++)
        sum += end(&vectors[i]);
    return result(sum);
}
