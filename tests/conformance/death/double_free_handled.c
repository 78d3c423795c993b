/* SPDX-License-Identifier: Apache-2.0
 *
 * A second free that is noticed while a whole transfer cache goes back into its spans; and a
 * handler that allocates before the program ends. What went back before must not be handed out
 * twice: once from the cache and once from its span.
 */
#include "death.h"

#include <signal.h>
#include <stdint.h>

enum { FREED_BETWEEN = 40, TAKEN = 4000 };

static void take_and_compare(int signal) {
    static uint64_t *taken[TAKEN];
    (void)signal;
    for (uint64_t i = 0; i < TAKEN; i++)
        if ((taken[i] = hide(malloc(64))))
            *taken[i] = i;
    for (uint64_t i = 0; i < TAKEN; i++)
        if (!taken[i] || *taken[i] != i)
            _exit(3);
}

int main(void) {
    char *between[FREED_BETWEEN];
    char *object = make(64);
    for (int i = 0; i < FREED_BETWEEN; i++)
        between[i] = hide(malloc(64));
    signal(SIGABRT, take_and_compare);
    announce(object);
    malloc_trim(0);
    free(object);
    memset(hide(object), 7, 8);
    for (int i = 0; i < FREED_BETWEEN; i++)
        free(between[i]);
    free(hide(object));
    malloc_trim(0);
    return 0;
}
