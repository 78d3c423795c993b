/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that is not the fast path.
 */
#ifndef MAL_FRONT_SLOW_H
#define MAL_FRONT_SLOW_H

#include "base/attr.h"

#include <stddef.h>
#include <stdint.h>

/* The countdown went below zero while `bytes` (at most MAL_SMALL_MAX_BYTES) were being allocated.
 * Serves the request; NULL and errno on failure. */
MAL_SLOW void *mal_alloc_due(size_t bytes);

/* The CPU's cache of the class is empty; the countdown was charged. */
MAL_SLOW void *mal_alloc_miss(uint32_t class);

/* Above MAL_SMALL_MAX_BYTES; nothing was charged. */
MAL_SLOW void *mal_alloc_big(size_t bytes);

/* Any size, `alignment` a power of two; nothing was charged. */
MAL_SLOW void *mal_alloc_aligned_unusual(size_t bytes, size_t alignment);

/* A pointer that failed the fast path's test: NULL, sampled, large, foreign or wrong. */
MAL_SLOW void mal_free_unusual(void *pointer);

/* The same for C++'s delete, which may get what another allocator's malloc gave (front/lacking.c).
 */
MAL_SLOW void mal_delete_unusual(void *pointer);

/* The same for those shapes of delete that come down to a plainer one, which the program may have
 * of its own. */
MAL_SLOW void mal_delete_shape_unusual(void *pointer);
MAL_SLOW void mal_delete_array_shape_unusual(void *pointer);

/* An object that was marked free, and that its CPU's cache has no room for. */
MAL_SLOW void mal_free_full(void *object);

#endif
