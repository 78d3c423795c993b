/* SPDX-License-Identifier: Apache-2.0
 *
 * Mallard's arenas: many objects that end together.
 *
 * Objects of an arena are never freed one by one and never collected: mallard_arena_free ends all
 * of them at once. They may point to collected objects, which keeps those alive as long as the
 * arena, to each other, and to other arenas; collected objects may point to them. Touching an
 * object of an arena that was freed is a bug that is found at once: the access faults, and Mallard
 * says
 *
 *     mallard: accessed 0x... in an arena that was freed at 0x...
 *
 * on standard error before the process dies of SIGSEGV at that instruction. (Where the program, a
 * sanitizer or another library handles SIGSEGV itself, it does so here too, without the sentence.)
 * The addresses are not used for anything else until a cycle of the collector has found no pointer
 * to them. While a cycle is marking, freed memory stays readable until the marking ends.
 *
 * The first chunk of an arena is 32 KiB and each is twice as large as the one before, up to 8 MiB;
 * memory is touched when objects are. An object of more than 2 MiB has a chunk of its own.
 *
 * A chunk counts as one collected object of its size, touched or not, from when it is made until
 * the arena is freed: in the heap's goal and its trace line, in MemStats, and for the thread that
 * takes it, which may have to help a running cycle. It is sampled as such a one, with the stack of
 * the call that made it necessary and the label heap=gc; objects inside are not sampled one by one,
 * and neither counted. What is scanned of arenas in each cycle is work that the pacer expects, as
 * that of collected objects is. Addresses of freed arenas count for nothing. Go: the same, with
 * chunks of 8 MiB.
 *
 * C99 and C++. One arena is used by one thread at a time; different arenas, and these functions,
 * by any. None may be called from a signal handler. Go: package arena.
 */
#ifndef MALLARD_ARENA_H
#define MALLARD_ARENA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mallard_gc_type;

/* The handle is itself a collected object. When nothing leads to it any more, the arena is freed:
 * keep it (mallard_gc_keepalive) as long as its objects are in use. */
struct mallard_arena;

/* NULL and errno ENOMEM, or what kept the collector from coming up. Go: arena.NewArena. */
struct mallard_arena *mallard_arena_new(void);

/* Zeroed bytes, 0 .. PTRDIFF_MAX of them, aligned to 16; NULL and errno ENOMEM. What lies in them
 * may be pointers, found wherever they are: every aligned word is looked at in every cycle, as for
 * NULL, whatever the type says. `type` is for the reader and checked for nothing; it may be NULL. A
 * type without pointers does not make the bytes unscanned: mallard_arena_alloc_noscan does. Dies
 * with a sentence when the arena was freed. Go: arena.New, arena.MakeSlice. */
void *mallard_arena_alloc(struct mallard_arena *arena, size_t bytes,
                          const struct mallard_gc_type *type);

/* The same for what holds no pointers: the collector never looks at it. */
void *mallard_arena_alloc_noscan(struct mallard_arena *arena, size_t bytes);

/* Ends all objects of the arena. A second time, it dies with a sentence. NULL is ignored.
 * Go: Arena.Free. */
void mallard_arena_free(struct mallard_arena *arena);

#ifdef __cplusplus
}
#endif

#endif
