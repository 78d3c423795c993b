/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C++ runtime provides, if it is there, and the names it expects of us.
 */
#ifndef MAL_OS_OPERATORS_H
#define MAL_OS_OPERATORS_H

#include "base/attr.h"

#include <stddef.h>

typedef void (*mal_new_handler)(void);

/* The program's new_handler; NULL when it has none, or no C++ runtime. */
mal_new_handler mal_current_new_handler(void);

/* libstdc++'s own operator of that name; NULL where there is none. */
MAL_SLOW void *mal_libstdcxx_operator(const char *mangled);

/* Throws std::bad_alloc; without a C++ runtime dies with a sentence. */
_Noreturn MAL_SLOW void mal_throw_bad_alloc(size_t bytes);

/* Follows an operator's declaration: overriding builds give it its C++ name, others leave it the
 * C one. */
#if MAL_OVERRIDE
#define MAL_CXX_NAME(mangled) __asm__(mangled)
#else
#define MAL_CXX_NAME(mangled)
#endif

#endif
