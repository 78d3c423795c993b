/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that is to go back, on demand:
 *
 *     scavenge BYTES KEEP-ONE-IN      then, from standard input, one order a line:
 *     fill    BYTES of 4000-byte objects, touched
 *     thin    frees all but one in KEEP-ONE-IN, counting from the first
 *     trim    malloc_trim(0)
 *     check   every kept object still holds what was written into it
 * Each order is answered by its name on standard output, or by "bad" when check fails.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_BYTES 4000u

static char **objects;
static size_t count, keep_one_in;

static void fill(void) {
    for (size_t i = 0; i < count; i++) {
        objects[i] = malloc(OBJECT_BYTES);
        if (!objects[i])
            exit(2);
        memset(objects[i], (int)(i % 251), OBJECT_BYTES);
    }
}

static void thin(void) {
    for (size_t i = 0; i < count; i++) {
        if (i % keep_one_in == 0)
            continue;
        free(objects[i]);
        objects[i] = NULL;
    }
}

static int is_whole(size_t i) {
    for (size_t at = 0; at < OBJECT_BYTES; at++)
        if (objects[i][at] != (char)(i % 251))
            return 0;
    return 1;
}

static int all_whole(void) {
    for (size_t i = 0; i < count; i += keep_one_in)
        if (!is_whole(i))
            return 0;
    return 1;
}

int main(int argc, char **argv) {
    char order[32];
    if (argc != 3)
        return 2;
    count = strtoul(argv[1], NULL, 10) / OBJECT_BYTES;
    keep_one_in = strtoul(argv[2], NULL, 10);
    objects = calloc(count, sizeof *objects);
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (objects && fgets(order, sizeof order, stdin)) {
        int well = 1;
        if (strcmp(order, "fill\n") == 0)
            fill();
        else if (strcmp(order, "thin\n") == 0)
            thin();
        else if (strcmp(order, "trim\n") == 0)
            malloc_trim(0);
        else
            well = all_whole();
        fputs(well ? order : "bad\n", stdout);
    }
    return 0;
}
