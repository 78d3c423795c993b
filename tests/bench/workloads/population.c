/* SPDX-License-Identifier: Apache-2.0
 *
 * A large population under steady replacement: a quarter of a million live blocks, sizes by a power
 * law, random ones replaced. Caches of the CPU miss on nearly every block; what an allocator adds
 * to that by reading its own lists or headers shows.
 */
#include "load.h"

enum { LIVE = 250000, REPLACEMENTS = 9000000 };

static char *live[LIVE];

int main(int argc, char **argv) {
    uint64_t seed = 909, sum = 0;
    size_t replacements = scaled(argc, argv, REPLACEMENTS);
    for (size_t i = 0; i < replacements; i++) {
        char **slot = &live[random_below(&seed, LIVE)];
        sum += drop(*slot);
        *slot = take(random_size(&seed, 16, 8000));
    }
    for (int i = 0; i < LIVE; i++)
        sum += drop(live[i]);
    return result(sum);
}
