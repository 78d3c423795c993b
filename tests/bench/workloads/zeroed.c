/* SPDX-License-Identifier: Apache-2.0
 *
 * calloc: zeroed structures and tables, checked to be zero, soiled, and freed.
 *
 * Whoever clears memory that the OS gave clean pays twice; whoever does not clear used memory
 * fails.
 */
#include "load.h"

enum { LIVE = 3000, OPERATIONS = 14000000, MOST = 64 * 1024 };

struct piece {
    unsigned char *byte;
    size_t bytes;
};

static struct piece pieces[LIVE];

static void check_zero(const struct piece *piece) {
    if (piece->byte[0] | piece->byte[piece->bytes / 2] | piece->byte[piece->bytes - 1])
        fail("calloc's memory is not zero");
}

static size_t replace(struct piece *piece, size_t bytes) {
    size_t sum = piece->byte ? piece->byte[0] + piece->bytes : 0;
    free(piece->byte);
    *piece = (struct piece){not_null(calloc(1, bytes)), bytes};
    check_zero(piece);
    memset(piece->byte, 0xa5, bytes < 256 ? bytes : 256);
    piece->byte[bytes / 2] = piece->byte[bytes - 1] = 1;
    return sum;
}

int main(int argc, char **argv) {
    uint64_t seed = 77, sum = 0;
    size_t operations = scaled(argc, argv, OPERATIONS);
    for (size_t i = 0; i < operations; i++) {
        size_t bytes = i % 300 == 0 ? random_size(&seed, 4096, MOST) : random_size(&seed, 16, 1024);
        sum += replace(&pieces[random_below(&seed, LIVE)], bytes);
    }
    return result(sum);
}
