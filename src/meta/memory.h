/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for Mallard's own structures: never malloc, never given back, counted by purpose so that
 * MemStats can say what our tables cost.
 */
#ifndef MAL_META_MEMORY_H
#define MAL_META_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* What memory is for; the *Sys fields of MemStats. */
enum mal_meta_use {
    MAL_META_SPAN,   /* span descriptors, object states, page map, page bitmaps */
    MAL_META_CACHE,  /* per-CPU slabs, transfer caches */
    MAL_META_BUCKET, /* the profiler's tables */
    MAL_META_GC,     /* the collector's tables, buffers and threads */
    MAL_META_OTHER,
    MAL_META_USES
};

/* Zeroed, aligned to a cache line, rounded to one. NULL when the OS has no more. Thread-safe. */
void *mal_meta_alloc(size_t bytes, enum mal_meta_use use);

/* Whole zero pages of their own, for tables of 64 KiB and more. They can be returned. */
void *mal_meta_map(size_t bytes, enum mal_meta_use use);
void mal_meta_unmap(void *address, size_t bytes, enum mal_meta_use use);

/* A table for the largest size it may ever need: address space now, memory as it is committed.
 * Entries [0, committed) are readable and writable. The owner's lock guards commits. */
struct mal_table {
    char *base;
    size_t reserved_bytes;
    size_t committed_bytes; /* multiple of MAL_TABLE_STEP_BYTES, at most reserved_bytes */
    enum mal_meta_use use;
};
#define MAL_TABLE_STEP_BYTES (64u << 10)

/* 0 or -ENOMEM, and then nothing has changed. */
int mal_table_reserve(struct mal_table *table, size_t bytes, enum mal_meta_use use);
int mal_table_commit(struct mal_table *table, size_t bytes);

/* Objects of one size, recycled. All calls under the owner's lock. */
struct mal_pool {
    void *free;            /* linked through the first word */
    uint32_t object_bytes; /* multiple of a cache line */
    enum mal_meta_use use;
    uint64_t in_use;
};
#define MAL_POOL_INIT(bytes, use_)                                                                 \
    { NULL, (uint32_t)(((bytes) + 63) & ~(size_t)63), (use_), 0 }
void *mal_pool_take(struct mal_pool *pool); /* contents undefined */
void mal_pool_give(struct mal_pool *pool, void *object);

/* Bytes obtained so far. Relaxed snapshot; OTHER includes what is mapped but not handed out. */
uint64_t mal_meta_bytes(enum mal_meta_use use);

void mal_meta_before_fork(void);
void mal_meta_after_fork(void);

#endif
