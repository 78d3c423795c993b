/* SPDX-License-Identifier: Apache-2.0
 *
 * Every allocation and free on standard error: MALLARD_DEBUG=allocfreetrace=1.
 */
#ifndef MAL_FRONT_OBJECT_TRACE_H
#define MAL_FRONT_OBJECT_TRACE_H

#include "base/attr.h"
#include "front/options.h"

#include <stdbool.h>
#include <stddef.h>

/* Whether every allocation and free must take the slow path. */
static inline bool mal_object_trace_is_on(void) {
    return mal_options.flags & MAL_OPTION_ALLOCFREETRACE;
}

/* An object has just come to be. True where its free is to be shown too: its mark must then send it
 * the slow way. `bytes` is what it occupies. Slow paths only; any thread, signal handlers too; no
 * lock held; errno kept. */
bool mal_object_trace_alloc(const void *object, size_t bytes);

/* An object is about to be freed whose allocation may have been shown. The same. */
void mal_object_trace_free(const void *object, size_t bytes);

#endif
