/* SPDX-License-Identifier: Apache-2.0
 *
 * The names that libc's allocator has. Every entry point is written once as mallard_<name>; the
 * overriding library gives it libc's name as well, in the same unit, so that neither name costs a
 * jump. MAL_FIRST is whatever the program gets by that name: another library's, where that comes
 * before ours. Builds for sanitizers and unit tests have the prefixed names only.
 */
#ifndef MAL_OS_ALIAS_H
#define MAL_OS_ALIAS_H

#include "base/attr.h"

#if MAL_OVERRIDE
#define MAL_FIRST(name, ours) name
#define MAL_ALIAS(name, ours)                                                                      \
    extern __typeof__(ours) name                                                                   \
        __attribute__((alias(#ours), visibility("default"), used, copy(ours)))
#else
#define MAL_FIRST(name, ours) ours
#define MAL_ALIAS(name, ours) struct mal_alias_unused
#endif

#endif
