/* SPDX-License-Identifier: Apache-2.0
 *
 * The mark of a freed object: what its first word says from free until it is handed out again.
 *
 *     first word = key ^ address << 8      freed, and not written to since
 *
 * The key is random, the same for a process's life and its children's; its top is one that no
 * address shifted by eight bits has, so an object in use says it by chance once in 2^60 frees. Its
 * low byte is odd and one that no ASCII or UTF-8 text begins with, so a pointer, a small number or
 * a string does not even begin like it. free therefore looks at that byte first, and at the word
 * only when it is the key's. A byte can be read at once from whatever store the program made last,
 * where a word waits until narrower stores have left the processor's store buffer: 3 ns a pair.
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

static inline uint64_t mal_freed_mark(const void *object) {
    return mal_freed_key ^ (uint64_t)(uintptr_t)object << 8;
}

/* Whether the object begins as a freed one does. */
MAL_FAST bool mal_may_be_freed(const void *object) {
    return mal_load_relaxed((const uint8_t *)object) == (uint8_t)mal_load_relaxed(&mal_freed_key);
}

static inline bool mal_is_freed(const void *object) {
    return mal_may_be_freed(object) &&
           mal_load_relaxed((const uint64_t *)object) == mal_freed_mark(object);
}

MAL_FAST void mal_mark_freed(void *object) {
    mal_store_relaxed((uint64_t *)object, mal_freed_mark(object));
}

MAL_FAST void mal_unmark_freed(void *object) {
    mal_store_relaxed((uint64_t *)object, (uint64_t)0);
}

#endif
