/* SPDX-License-Identifier: Apache-2.0
 *
 * printf's little sister for code that runs inside malloc: no allocation, no locale, no lock.
 * Understands %s %c %d %u %x %p %% with the lengths l, ll and z, and nothing else.
 */
#ifndef MAL_BASE_FORMAT_H
#define MAL_BASE_FORMAT_H

#include "base/attr.h"

#include <stdarg.h>
#include <stddef.h>

/* Writes at most `bytes` including the final NUL, which is always there; bytes >= 1. Returns the
 * length written, without the NUL. */
size_t mal_format(char *ret_text, size_t bytes, const char *format, ...) MAL_PRINTF(3, 4);
size_t mal_vformat(char *ret_text, size_t bytes, const char *format, va_list arguments);

#endif
