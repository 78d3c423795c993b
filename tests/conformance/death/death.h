/* SPDX-License-Identifier: Apache-2.0
 *
 * What the death programs share. Each prints the pointer that it is about to misuse, misuses it,
 * and must not get any further. death.py knows what each has to say.
 */
#ifndef MAL_TESTS_DEATH_H
#define MAL_TESTS_DEATH_H

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuse-after-free"
#endif

/* Kept from the optimiser, which knows that this is wrong. */
static inline void *hide(void *pointer) {
    __asm__ volatile("" : "+r"(pointer));
    return pointer;
}

/* Without stdio's buffers, which are allocations too. */
static inline void announce(void *pointer) {
    char line[32];
    int length = snprintf(line, sizeof line, "%p\n", pointer);
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(3);
}

/* An object with live neighbours, so that its span stays. */
static inline char *make(size_t bytes) {
    char *first = hide(malloc(bytes));
    char *object = hide(malloc(bytes));
    char *last = hide(malloc(bytes));
    if (!first || !object || !last)
        _exit(3);
    memset(object, 1, bytes);
    return object;
}

#endif
