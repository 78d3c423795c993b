/* SPDX-License-Identifier: Apache-2.0
 *
 * How an entry point of the program's says that there is no memory.
 */
#ifndef MAL_BASE_NO_MEMORY_H
#define MAL_BASE_NO_MEMORY_H

#include <errno.h>
#include <stddef.h>

static inline void *mal_no_memory(void) {
    errno = ENOMEM;
    return NULL;
}

#endif
