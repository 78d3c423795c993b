/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks of arenas, and where they are on their way:
 *
 *     LIVE -> (freed) -> QUARANTINED -> (no pointer found) -> page heap
 *              |              ^
 *              +-> PENDING ---+        freed while marking: the marker may be reading it
 *
 *     low + MAL_CHUNK_HEAD_BYTES <= scan_end <= noscan_low <= high
 *     words in [low + MAL_CHUNK_HEAD_BYTES, scan_end) may be pointers, [noscan_low, high) are none
 *
 * No object lies at a chunk's very start, so no pointer of the program is one that the collected
 * heap could take for an object of its own.
 */
#ifndef MAL_GC_ARENA_CHUNK_H
#define MAL_GC_ARENA_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_CHUNK_HEAD_BYTES 64u

enum mal_chunk_memory { MAL_CHUNK_DIRTY, MAL_CHUNK_ZEROED };

struct mal_span;

struct mal_arena_chunk {
    struct mal_arena_chunk *next_of_arena;   /* the arena's thread */
    struct mal_arena_chunk *next, *previous; /* of the list it is on; arenas' lock */
    struct mal_span *span;
    uintptr_t low, high;  /* constant */
    uintptr_t scan_end;   /* the arena's thread stores, release; the marker loads */
    uintptr_t noscan_low; /* the arena's thread */
    uintptr_t freed_at;   /* the program counter; arenas' lock */
    uint32_t memory;      /* enum mal_chunk_memory: what lies between the parts */
};

/* A live chunk with room for `bytes`; NULL when memory is short. No lock held. */
struct mal_arena_chunk *mal_arena_chunk_new(size_t bytes);

/* All chunks of an arena, linked by next_of_arena, are freed. No lock held. */
void mal_arena_chunks_free(struct mal_arena_chunk *chunk, uintptr_t freed_at);

/* Where the arena was freed that the address lay in; 0: in none that is known. In a signal handler
 * too. */
uintptr_t mal_arena_freed_at(uintptr_t address);

void mal_arena_chunks_before_fork(void);
void mal_arena_chunks_after_fork(bool child);

#endif
