/* SPDX-License-Identifier: Apache-2.0
 *
 * ThreadSanitizer keeps a shadow of all memory: resident bytes and mappings are not ours to count
 * then, nor does it see what libraries that it did not compile do with descriptors.
 */
#ifndef TESTS_SUPPORT_WATCHED_H
#define TESTS_SUPPORT_WATCHED_H

#include <stdbool.h>
#include <stddef.h>

extern void __tsan_init(void) __attribute__((weak));

static inline bool memory_has_a_shadow(void) {
    return __tsan_init != NULL;
}

#endif
