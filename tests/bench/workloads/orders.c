/* SPDX-License-Identifier: Apache-2.0
 *
 * Orders of free: batches of mixed small sizes, freed first-in, last-in, every other, at random.
 *
 * Each order leaves an allocator's free lists in a different state for the next batch.
 */
#include "load.h"

enum { BATCH = 5000, BATCHES = 5200 };

static char *block[BATCH];
static size_t shuffled[BATCH];

static void shuffle(uint64_t *seed) {
    for (size_t i = 0; i < BATCH; i++) {
        size_t j = random_below(seed, i + 1);
        shuffled[i] = shuffled[j];
        shuffled[j] = i;
    }
}

static size_t place(size_t i, unsigned order) {
    switch (order % 4) {
    case 0:
        return i;
    case 1:
        return BATCH - 1 - i;
    case 2:
        return i < BATCH / 2 ? 2 * i : 2 * (i - BATCH / 2) + 1;
    default:
        return shuffled[i];
    }
}

int main(int argc, char **argv) {
    uint64_t seed = 66, sum = 0;
    size_t batches = scaled(argc, argv, BATCHES);
    shuffle(&seed);
    for (size_t batch = 0; batch < batches; batch++) {
        for (int i = 0; i < BATCH; i++)
            block[i] = take(random_size(&seed, 16, 1024));
        for (size_t i = 0; i < BATCH; i++)
            sum += drop(block[place(i, (unsigned)batch)]);
    }
    return result(sum);
}
