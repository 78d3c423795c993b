/* SPDX-License-Identifier: Apache-2.0
 *
 * Arenas as the program uses them.
 *
 * Path up: an object is cut from the current chunk, from its low end if it may hold pointers, from
 * its high end if not; when it does not fit, the next chunk is twice as large. What is left of the
 * old one is given up: at most a quarter of it, since larger objects have chunks of their own.
 * Path down: all chunks at once.
 *
 * The handle is a collected object without pointers; what it stands for is memory of our own. A
 * cleanup of the handle frees an arena that was forgotten.
 *
 * CHUNK SIZES. Making a chunk and giving it up costs about four system calls and page-heap locks,
 * so few large ones are better; but an arena for one request should not cost megabytes of
 * addresses. Doubling from 32 KiB makes the number of chunks the logarithm of the size.
 *
 * SYNCHRONIZATION: one thread uses an arena at a time. `body` is exchanged, so that two threads
 * that both free it find out.
 */
#include "mallard/arena.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "base/bits.h"
#include "base/check.h"
#include "gc/arena.h"
#include "gc/arena_chunk.h"
#include "gc/collector.h"
#include "gc/cycle.h"
#include "mallard/gc.h"
#include "meta/memory.h"
#include "os/lock.h"

#include <errno.h>
#include <string.h>

#define CHUNK_FIRST_BYTES (32u << 10)
#define CHUNK_LAST_BYTES (8u << 20)
#define CHUNK_SHARE 4u /* an object of more than this share of a chunk has one of its own */
#define OBJECT_ALIGNMENT 16u

struct body {
    struct mal_arena_chunk *chunk; /* the current one; the others follow it */
    size_t next_chunk_bytes;
    struct mallard_gc_cleanup cleanup;
};

struct mallard_arena {
    struct body *body; /* NULL once freed; atomic */
    const void *self;  /* its own address, hidden: tells a handle from other memory */
};

static struct mal_lock bodies_lock = MAL_LOCK_INIT(MAL_RANK_GC_ARENAS);
static struct mal_pool bodies = MAL_POOL_INIT(sizeof(struct body), MAL_META_GC);

static const void *seal_of(const struct mallard_arena *arena) {
    return (const void *)~(uintptr_t)arena;
}

static struct body *take_body(void) {
    mal_lock(&bodies_lock);
    struct body *body = mal_pool_take(&bodies);
    mal_unlock(&bodies_lock);
    if (body)
        *body = (struct body){.next_chunk_bytes = CHUNK_FIRST_BYTES};
    return body;
}

static void give_body(struct body *body) {
    mal_lock(&bodies_lock);
    mal_pool_give(&bodies, body);
    mal_unlock(&bodies_lock);
}

/* ---- making and freeing ---- */

static void end(struct body *body, uintptr_t freed_at) {
    mal_arena_chunks_free(body->chunk, freed_at);
    give_body(body);
}

/* Nothing leads to the handle any more. */
static void end_forgotten(void *argument) {
    end(argument, (uintptr_t)end_forgotten);
}

static struct mallard_arena *make(struct body *body) {
    struct mallard_arena *arena = mal_gc_collector_get()->new_noscan(sizeof *arena);
    if (!arena || mallard_gc_cleanup_add(arena, end_forgotten, body, &body->cleanup) != 0)
        return NULL;
    arena->self = seal_of(arena);
    mal_store_release(&arena->body, body);
    return arena;
}

static struct mallard_arena *new_or_none(void) {
    struct body *body = take_body();
    struct mallard_arena *arena = body ? make(body) : NULL;
    if (body && !arena)
        give_body(body);
    return arena;
}

MAL_PUBLIC struct mallard_arena *mallard_arena_new(void) {
    int error = mal_gc_collector_get() ? 0 : mal_gc_ensure();
    struct mallard_arena *arena = error ? NULL : new_or_none();
    if (!arena)
        errno = error ? -error : ENOMEM;
    return arena;
}

static void check(const struct mallard_arena *arena, const char *what) {
    if (!arena || arena->self != seal_of(arena))
        mal_die("%s(%p): this is no arena", what, (const void *)arena);
}

MAL_PUBLIC void mallard_arena_free(struct mallard_arena *arena) {
    if (!arena)
        return;
    check(arena, "mallard_arena_free");
    struct body *body = __atomic_exchange_n(&arena->body, NULL, __ATOMIC_ACQ_REL);
    if (!body)
        mal_die("mallard_arena_free(%p): the arena was freed before", (void *)arena);
    mallard_gc_cleanup_stop(&body->cleanup);
    end(body, (uintptr_t)__builtin_return_address(0));
    mallard_gc_keepalive(arena);
}

/* ---- objects ---- */

enum part { SCAN, NOSCAN };

static void add_chunk(struct body *body, struct mal_arena_chunk *chunk) {
    chunk->next_of_arena = body->chunk;
    body->chunk = chunk;
}

/* Behind the current one, which stays. */
static void add_own_chunk(struct body *body, struct mal_arena_chunk *chunk) {
    if (!body->chunk) {
        add_chunk(body, chunk);
        return;
    }
    chunk->next_of_arena = body->chunk->next_of_arena;
    body->chunk->next_of_arena = chunk;
}

static struct mal_arena_chunk *next_chunk(struct body *body, size_t bytes) {
    if (bytes > CHUNK_LAST_BYTES / CHUNK_SHARE) {
        struct mal_arena_chunk *chunk = mal_arena_chunk_new(bytes);
        if (chunk)
            add_own_chunk(body, chunk);
        return chunk;
    }
    size_t wanted = mal_max(body->next_chunk_bytes, mal_pow2_ceil(CHUNK_SHARE * bytes));
    struct mal_arena_chunk *chunk = mal_arena_chunk_new(wanted - MAL_CHUNK_HEAD_BYTES);
    if (chunk) {
        add_chunk(body, chunk);
        body->next_chunk_bytes = mal_min(2 * wanted, CHUNK_LAST_BYTES);
    }
    return chunk;
}

static bool fits(const struct mal_arena_chunk *chunk, size_t bytes) {
    return chunk && chunk->noscan_low - chunk->scan_end >= bytes;
}

/* What is new is zero before the marker may look at it. */
static void *cut(struct mal_arena_chunk *chunk, size_t bytes, enum part part) {
    uintptr_t object = part == SCAN ? chunk->scan_end : chunk->noscan_low - bytes;
    if (chunk->memory == MAL_CHUNK_DIRTY)
        memset((void *)object, 0, bytes);
    if (part == SCAN)
        mal_store_release(&chunk->scan_end, object + bytes);
    else
        chunk->noscan_low = object;
    return (void *)object;
}

static void *alloc(struct body *body, size_t bytes, enum part part) {
    if (bytes > PTRDIFF_MAX)
        return NULL;
    bytes = mal_round_up(mal_max(bytes, 1), OBJECT_ALIGNMENT);
    struct mal_arena_chunk *chunk = body->chunk;
    if (!fits(chunk, bytes))
        chunk = next_chunk(body, bytes);
    return chunk ? cut(chunk, bytes, part) : NULL;
}

static void *alloc_in(struct mallard_arena *arena, size_t bytes, enum part part, const char *what) {
    check(arena, what);
    struct body *body = mal_load_relaxed(&arena->body);
    if (!body)
        mal_die("%s(%p): the arena was freed", what, (void *)arena);
    void *object = alloc(body, bytes, part);
    if (!object)
        errno = ENOMEM;
    return object;
}

MAL_PUBLIC void *mallard_arena_alloc(struct mallard_arena *arena, size_t bytes,
                                     const struct mallard_gc_type *type) {
    (void)type;
    return alloc_in(arena, bytes, SCAN, "mallard_arena_alloc");
}

MAL_PUBLIC void *mallard_arena_alloc_noscan(struct mallard_arena *arena, size_t bytes) {
    return alloc_in(arena, bytes, NOSCAN, "mallard_arena_alloc_noscan");
}

void mal_gc_arenas_before_fork(void) {
    mal_arena_chunks_before_fork();
    mal_lock(&bodies_lock);
}

void mal_gc_arenas_after_fork(bool child) {
    mal_unlock(&bodies_lock);
    mal_arena_chunks_after_fork(child);
}
