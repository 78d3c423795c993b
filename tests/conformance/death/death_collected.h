/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects of the collected heap for programs that are not linked with Mallard.
 */
#ifndef TESTS_DEATH_COLLECTED_H
#define TESTS_DEATH_COLLECTED_H

#include "death.h"

#include <dlfcn.h>

/* NULL where the library that is preloaded has no collected heap. */
static inline char *collected(size_t bytes) {
    void *(*make)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "mallard_gc_alloc_noscan");
    return make ? make(bytes) : NULL;
}

#endif
