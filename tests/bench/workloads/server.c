/* SPDX-License-Identifier: Apache-2.0
 *
 * Server churn with four threads.
 */
#include "load.h"

enum { WORKERS = 4, ROUNDS = 12, OBJECTS = 5000, REPLACEMENTS = 2000000 };

static size_t object_bytes(uint64_t *seed) {
    return 16 + random_below(seed, 1000);
}

#include "churn.h"

int main(int argc, char **argv) {
    return churn(argc, argv);
}
