/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks. MAL_CHECK is always on: it guards what a wrong program, or a bug of ours, could turn
 * into silent corruption. MAL_ASSERT is on from MAL_DEBUG 1, MAL_SLOW_ASSERT (walks) from 2. Where
 * one is off its condition is still compiled.
 *
 * mal_die writes "mallard: <sentence>\n" to standard error in one write and aborts. Sentences are
 * stable: tests and log scrapers match them.
 */
#ifndef MAL_BASE_CHECK_H
#define MAL_BASE_CHECK_H

#include "base/attr.h"

#ifndef MAL_DEBUG
#define MAL_DEBUG 0
#endif

MAL_SLOW _Noreturn void mal_die(const char *format, ...) MAL_PRINTF(1, 2);

#define MAL_CHECK(condition, sentence)                                                             \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            mal_die("%s (%s:%d)", (sentence), __FILE__, __LINE__);                                 \
    } while (0)

#define MAL_ASSERT_AT(level, condition)                                                            \
    do {                                                                                           \
        if ((level) <= MAL_DEBUG && __builtin_expect(!(condition), 0))                             \
            mal_die("assertion failed: %s (%s:%d)", #condition, __FILE__, __LINE__);               \
    } while (0)

#define MAL_ASSERT(condition) MAL_ASSERT_AT(1, condition)
#define MAL_SLOW_ASSERT(condition) MAL_ASSERT_AT(2, condition)

#endif
