/* SPDX-License-Identifier: Apache-2.0
 *
 * What a tool that counts calls does: malloc and free go to whoever comes next. See beside.py.
 */
#include <dlfcn.h>
#include <stddef.h>

static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static unsigned long calls; /* relaxed atomic; counted behind free, so that this is no tail call */

void *malloc(size_t bytes) {
    if (!next_malloc)
        next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    return next_malloc(bytes);
}

void free(void *pointer) {
    if (!next_free)
        next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    next_free(pointer);
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
}
