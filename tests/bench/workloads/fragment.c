/* SPDX-License-Identifier: Apache-2.0
 *
 * Fragmentation over a long life: the sizes in demand change from phase to phase, survivors remain.
 *
 * Each phase fills up to a fixed live size with its own range of sizes, then frees all but every
 * tenth block in random order. A heap that cannot give the holes to the next phase grows: the
 * figure to look at is the peak, beside the bytes that are really live (100 MiB at scale 1).
 */
#include "load.h"

enum { PHASES = 8, SURVIVE_ONE_IN = 10, BLOCKS_MOST = 4000000 };

static const size_t phase_size[PHASES] = {24, 1500, 96, 6000, 48, 400, 20000, 160};
static char *blocks[BLOCKS_MOST];

static size_t fill(size_t held, size_t *live, size_t target, size_t typical, uint64_t *seed) {
    while (*live < target && held < BLOCKS_MOST) {
        blocks[held] = take(typical / 2 + random_below(seed, typical));
        *live += inspect(blocks[held++]);
    }
    return held;
}

static size_t thin(size_t held, size_t *live, uint64_t *seed) {
    size_t keep = held / SURVIVE_ONE_IN;
    while (held > keep) {
        size_t victim = random_below(seed, held--);
        *live -= drop(blocks[victim]);
        blocks[victim] = blocks[held];
    }
    return held;
}

int main(int argc, char **argv) {
    uint64_t seed = 31337;
    size_t target = scaled(argc, argv, 100u << 20), held = 0, live = 0;
    for (int phase = 0; phase < PHASES; phase++) {
        held = fill(held, &live, target, phase_size[phase], &seed);
        held = thin(held, &live, &seed);
    }
    return result(live + held);
}
