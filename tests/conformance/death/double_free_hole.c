/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the two frees the memory of the freed object has gone back to the system, and every mark
 * in it with it.
 */
#include "death.h"

enum { OBJECTS = 40000, KEPT_ONE_IN = 400 };

int main(void) {
    static char *object[OBJECTS];
    for (size_t i = 0; i < OBJECTS; i++)
        memset(object[i] = hide(malloc(64)), 1, 64);
    announce(object[OBJECTS / 2 + KEPT_ONE_IN / 2]);
    for (size_t i = 0; i < OBJECTS; i++)
        if (i % KEPT_ONE_IN != 0)
            free(object[i]);
    malloc_trim(0);
    free(hide(object[OBJECTS / 2 + KEPT_ONE_IN / 2]));
    return 0;
}
