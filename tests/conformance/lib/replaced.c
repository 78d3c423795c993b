/* SPDX-License-Identifier: Apache-2.0
 *
 * A library with one function, built under two names: see replaced.c.
 */
#include <stdlib.h>

void *NAME(size_t bytes);

void *NAME(size_t bytes) {
    void *object = malloc(bytes);
    __asm__ volatile("" ::: "memory"); /* so that this frame is on the stack */
    return object;
}
