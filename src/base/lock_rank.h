/* SPDX-License-Identifier: Apache-2.0
 *
 * The order in which locks are taken: a thread may take a lock only if its rank is higher than
 * that of every lock it holds. fork takes them all in this order. Debug builds check it.
 *
 *   GC_THREADS  the registry of threads that use the collected heap, gc/thread.c
 *   GC_ROOTS    ranges of roots and coroutine stacks, gc/ranges.c
 *   GC_HANDLES  slots of handles, gc/handles.c
 *   API         rows of statistics for callers, front/compat.c and front/api.c
 *   INIT        one-time set-up, front/init.c
 *   STATS       collecting statistics, front/stats.c
 *   PROFILE     inserting stacks and buckets, sample/profile.c
 *   LIVE        one shard of the table of live samples, sample/live.c (never two shards)
 *   THREADS     the registry of threads, front/thread.c
 *   BOX         trace ring, history, statistics, box/writer.c
 *   CPU_CACHE   one per-CPU cache in lock mode (never two)
 *   CENTRAL     one size class: transfer cache and span lists (never two)
 *   PAGEHEAP    pages, spans, scavenging
 *   META        memory for our own structures
 */
#ifndef MAL_BASE_LOCK_RANK_H
#define MAL_BASE_LOCK_RANK_H

enum mal_lock_rank {
    MAL_RANK_NONE,
    MAL_RANK_GC_THREADS,
    MAL_RANK_GC_ROOTS,
    MAL_RANK_GC_HANDLES,
    MAL_RANK_API,
    MAL_RANK_INIT,
    MAL_RANK_STATS,
    MAL_RANK_PROFILE,
    MAL_RANK_LIVE,
    MAL_RANK_THREADS,
    MAL_RANK_BOX,
    MAL_RANK_CPU_CACHE,
    MAL_RANK_CENTRAL,
    MAL_RANK_PAGEHEAP,
    MAL_RANK_META,
    MAL_RANK_COUNT
};

#endif
