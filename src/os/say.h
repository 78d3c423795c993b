/* SPDX-License-Identifier: Apache-2.0
 *
 * Talking to the user of the program: standard error only, whole lines, one write each.
 */
#ifndef MAL_OS_SAY_H
#define MAL_OS_SAY_H

#include "base/attr.h"

#include <stddef.h>

/* "mallard: <sentence>\n"; control characters in it become question marks. */
MAL_SLOW void mal_warn(const char *format, ...) MAL_PRINTF(1, 2);

/* What an errno is called; static, in English whatever the program's language. */
const char *mal_error_text(int error);

/* Raw bytes to standard error, errors ignored, errno kept. */
void mal_write_error(const char *text, size_t bytes);

#endif
