/* SPDX-License-Identifier: Apache-2.0
 *
 * The table behind gc/specials.h: which records hang on which object.
 *
 *     record r hangs on object o  =>  r.object = start of o, and r lies in chain_of(o)
 *     a chain holds the records of one block of MAL_SPECIAL_BLOCK_BYTES, and of others
 *     any record on a page        =>  the page's bit is set (the converse may fail)
 */
#ifndef MAL_GC_SPECIALS_TABLE_H
#define MAL_GC_SPECIALS_TABLE_H

#include "gc/callbacks.h"
#include "os/lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAL_SPECIAL_BLOCK_SHIFT 10
#define MAL_SPECIAL_BLOCK_BYTES (1u << MAL_SPECIAL_BLOCK_SHIFT)

enum mal_special_kind {
    MAL_SPECIAL_FINALIZER,
    MAL_SPECIAL_UNORDERED, /* a finalizer too, see gc/specials_unordered.c */
    MAL_SPECIAL_CLEANUP,
    MAL_SPECIAL_WEAK,
};
/* What was found out about a record's object, by the sweep or the stop. */
enum mal_special_fate { MAL_FATE_ALIVE, MAL_FATE_REVIVED, MAL_FATE_DEAD };

/* Under the lock of the object's shard, but for reading while marking:
 *     turn == the collector's turn  =>  the object's span was swept since the last mark, or the
 *                                       word is younger: target is right as it is
 *     otherwise                         the object's mark, still there, says whether it lives */
struct mallard_gc_weak {
    uintptr_t target; /* 0 once it is gone; atomic */
    uintptr_t object; /* that the target lies in; constant */
    uint32_t turn;
};

/* All under the shard's lock, but `callback` once it is queued. */
struct mal_special {
    struct mal_gc_callback callback; /* first; argument: what the function is called with */
    struct mal_special *next;        /* in the chain */
    uintptr_t object;
    union {
        uint64_t id;                  /* CLEANUP */
        struct mallard_gc_weak *weak; /* WEAK */
    };
    uint8_t kind; /* enum mal_special_kind */
    uint8_t fate; /* enum mal_special_fate; while a chain is swept or judged */
};

static inline bool mal_special_is_finalizer(const struct mal_special *special) {
    return special->kind <= MAL_SPECIAL_UNORDERED;
}

struct mal_special_shard;

/* Before a record is added, no lock held: the map of pages reaches to the object. False: memory is
 * short. */
bool mal_special_prepare(uintptr_t object);

/* The shard of an object, locked. */
struct mal_special_shard *mal_special_lock(uintptr_t object);
void mal_special_unlock(struct mal_special_shard *shard);

/* The head of the chain that records of the object lie in; NULL while there is none. */
struct mal_special **mal_special_chain(struct mal_special_shard *shard, uintptr_t object);

/* A new record on the object, zeroed but for `object` and `kind`. NULL: memory is short. */
struct mal_special *mal_special_add(struct mal_special_shard *shard, uintptr_t object,
                                    enum mal_special_kind kind);
/* Takes *link out of its chain; the caller queues the record or recycles it. */
struct mal_special *mal_special_unlink(struct mal_special_shard *shard, struct mal_special **link);
void mal_special_recycle(struct mal_special_shard *shard, struct mal_special *special);

/* The first page of [low, high) whose bit is set, as an address; `high` or above where there is
 * none. Any thread. */
uintptr_t mal_special_next_page(uintptr_t low, uintptr_t high);
/* False: there has never been a record. */
bool mal_special_have_any(void);
/* Whether a finalizer hangs on the object that keeps alive what it leads to. No shard locked. */
bool mal_special_has_finalizer(uintptr_t object);
/* No record lies on the page any more. */
void mal_special_clear_page(struct mal_special_shard *shard, uintptr_t page_address);

/* Visits every record, a few at a time under the shard's lock. Records that are added meanwhile may
 * be missed, others visited twice. */
void mal_special_each(void (*visit)(struct mal_special *special, void *context), void *context);

/* Visits every chain of records likewise; the visitor may unlink. */
void mal_special_each_chain(void (*visit)(struct mal_special_shard *shard,
                                          struct mal_special **chain, void *context),
                            void *context);

/* The record of an object that dies now: a callback is queued, a weak word emptied. The shard's
 * lock held, the record unlinked. */
void mal_special_carry_out(struct mal_special_shard *shard, struct mal_special *special);

void mal_special_lock_all(void);
void mal_special_unlock_all(void);

#endif
