/* SPDX-License-Identifier: Apache-2.0
 *
 * Leaks at a steady rate: leak BYTES_PER_SECOND. Prints "ready" and goes on until it is ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS_PER_SECOND = 20, OBJECT_BYTES = 4096 };

/* Kept in sight, so that no compiler takes the allocation away. */
static void *volatile newest;

__attribute__((noinline)) static void lose(size_t bytes) {
    for (size_t lost = 0; lost < bytes; lost += OBJECT_BYTES) {
        newest = malloc(OBJECT_BYTES);
        if (!newest)
            exit(1);
        memset(newest, 1, OBJECT_BYTES);
    }
}

int main(int count, char **arguments) {
    size_t bytes_per_second = count > 1 ? strtoull(arguments[1], NULL, 10) : 0;
    struct timespec step = {.tv_nsec = 1000000000 / STEPS_PER_SECOND};
    if (bytes_per_second == 0) {
        fprintf(stderr, "usage: leak BYTES_PER_SECOND\n");
        return 2;
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        lose(bytes_per_second / STEPS_PER_SECOND);
        nanosleep(&step, NULL);
    }
}
