/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks of arenas as the heap sees them: spans with one object without pointers, allocated for
 * ever, on no list, so that the sweeper never meets them.
 */
#ifndef MAL_GC_CHUNKS_H
#define MAL_GC_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>

struct mal_span;

/* NULL when memory is short. Inside a critical section, no lock of a rank above GC_ARENAS held. */
struct mal_span *mal_gc_chunk_new(size_t bytes);
/* Whether a word led into it since the last call. */
bool mal_gc_chunk_take_mark(struct mal_span *span);
/* Never while phase == MARK. */
void mal_gc_chunk_free(struct mal_span *span);

/* The accounts; see gc/collector.h. */
void mal_gc_chunk_charge(struct mal_span *span);
void mal_gc_chunk_end(struct mal_span *span);
void mal_gc_chunk_discount(struct mal_span *span);

#endif
