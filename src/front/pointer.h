/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pointer is that a program hands in, found out from the page map and the span, and what is
 * said of a wrong one. Any pointer, even a wild one; any thread.
 */
#ifndef MAL_FRONT_POINTER_H
#define MAL_FRONT_POINTER_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mal_pointer_kind {
    MAL_POINTER_FOREIGN,   /* in no span */
    MAL_POINTER_INTERIOR,  /* in a span, not at the start of an object */
    MAL_POINTER_FREED,     /* the start of an object that is not in use */
    MAL_POINTER_LIVE,      /* of a plain one in use */
    MAL_POINTER_SAMPLED,   /* of one whose free is to be noticed */
    MAL_POINTER_LARGE,     /* of a large one */
    MAL_POINTER_COLLECTED, /* anywhere in the collected heap */
};

struct mal_pointer_facts {
    enum mal_pointer_kind kind;
    struct mal_span *span; /* NULL when FOREIGN */
    uint32_t class;        /* of the span, 0 when FOREIGN */
};
struct mal_pointer_facts mal_pointer_facts(const void *pointer);

/* Whether the heap ever reached so far. */
bool mal_pointer_is_in_heap(const void *pointer);

/* Ends the process with the sentence for what is wrong with the pointer. `what` is the function
 * that it was handed to. */
MAL_SLOW void mal_pointer_die(const void *pointer, const char *what);

/* Usable bytes of a live object of ours; dies with a sentence on anything else but NULL (0).
 * `what` names the caller for that sentence. */
size_t mal_usable_bytes(const void *pointer, const char *what);

#endif
