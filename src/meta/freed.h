/* SPDX-License-Identifier: Apache-2.0
 *
 * The mark of a freed object: what its first word says from free until it is handed out again.
 *
 *     first word = key ^ address      freed, and not written to since
 *
 * The key is random, the same for a process's life and its children's; it is odd and has a top that
 * no address has, so the mark is neither a pointer nor a multiple of anything. An object in use
 * says it by chance once in 2^60 frees.
 *
 * free and malloc write into the object because its line is what the program has just used, or is
 * about to: on another CPU nobody waits for it, as somebody would for a table of marks in which
 * neighbours share a line.
 *
 * SYNCHRONIZATION: the word belongs to whoever owns the object. Only for objects of class spans.
 */
#ifndef MAL_META_FREED_H
#define MAL_META_FREED_H

#include "base/atomic.h"
#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

extern MAL_HIDDEN uint64_t mal_freed_key; /* constant after mal_freed_init */

/* Once, before an object is handed out. */
void mal_freed_init(uint64_t random);

MAL_FAST bool mal_is_freed(const void *object) {
    return mal_load_relaxed((const uint64_t *)object) == (mal_freed_key ^ (uintptr_t)object);
}

MAL_FAST void mal_mark_freed(void *object) {
    mal_store_relaxed((uint64_t *)object, mal_freed_key ^ (uintptr_t)object);
}

MAL_FAST void mal_unmark_freed(void *object) {
    mal_store_relaxed((uint64_t *)object, (uint64_t)0);
}

#endif
