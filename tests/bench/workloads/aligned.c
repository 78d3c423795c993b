/* SPDX-License-Identifier: Apache-2.0
 *
 * Aligned blocks: cache lines, SIMD vectors, pages, as numeric and storage code asks for them.
 *
 * Only 16 bytes of alignment are insisted on: mimalloc 2.0.9 answers posix_memalign(256, 512) with
 * less than it was asked for, and shall be timed nevertheless.
 */
#include "load.h"

enum { LIVE = 2000, OPERATIONS = 9000000 };

static const size_t alignments[] = {32, 64, 64, 64, 128, 256, 4096};
static char *live[LIVE];

int main(int argc, char **argv) {
    uint64_t seed = 4096, sum = 0;
    size_t operations = scaled(argc, argv, OPERATIONS);
    for (size_t i = 0; i < operations; i++) {
        size_t alignment = alignments[random_below(&seed, sizeof alignments / sizeof *alignments)];
        size_t bytes = random_size(&seed, 32, 4096);
        char **slot = &live[random_below(&seed, LIVE)];
        void *memory = NULL;
        sum += drop(*slot);
        if (posix_memalign(&memory, alignment, bytes) != 0 || (uintptr_t)memory % 16)
            fail("posix_memalign");
        *slot = stamp(memory, bytes);
    }
    return result(sum);
}
