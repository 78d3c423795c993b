/* SPDX-License-Identifier: Apache-2.0
 *
 * Server churn with a crowd: two hundred threads, far more than CPUs, all runnable. What an
 * allocator keeps per thread, and what a thread's end costs, is in the time and in the peak.
 */
#include "load.h"

enum { WORKERS = 200, ROUNDS = 8, OBJECTS = 600, REPLACEMENTS = 22000 };

static size_t object_bytes(uint64_t *seed) {
    return random_size(seed, 16, 2000);
}

#include "churn.h"

int main(int argc, char **argv) {
    return churn(argc, argv);
}
