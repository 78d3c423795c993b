/* SPDX-License-Identifier: Apache-2.0
 *
 * Large objects: above MAL_MEDIUM_MAX_BYTES, or aligned to more than a class has. Each is a span of
 * its own.
 */
#ifndef MAL_FRONT_LARGE_H
#define MAL_FRONT_LARGE_H

#include "pageheap/move.h"
#include "pageheap/span.h"

#include <stdbool.h>
#include <stddef.h>

/* Any size; `alignment` is a power of two, a page at least; nothing was charged. NULL and errno. */
void *mal_large_alloc(size_t bytes, size_t alignment);
void mal_large_free(struct mal_span *span);

/* Whether a large object's memory is known to be zero, as fresh from the OS. */
bool mal_large_is_zeroed(const void *object);

/* Resizes a large object where it lies; false when that cannot be, or it is none. */
bool mal_resize_in_place(void *pointer, size_t bytes);

/* Moves the contents of one large object to another by its pages, where that can be done: see
 * pageheap/move.h. */
enum mal_move mal_move_pages(void *to, void *from);

#endif
