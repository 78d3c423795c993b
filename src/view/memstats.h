/* SPDX-License-Identifier: Apache-2.0
 *
 * What both forms of MemStats begin with.
 */
#ifndef MAL_VIEW_MEMSTATS_H
#define MAL_VIEW_MEMSTATS_H

#include "view/view.h"

typedef void view_put_value(struct view_buffer *out, const char *name, uint64_t value);

/* The fields about the heap as a whole, Alloc to HeapObjects, in Go's order. */
void view_memstats_heap(const uint64_t *value, view_put_value *put, struct view_buffer *out);

#endif
