/* SPDX-License-Identifier: Apache-2.0
 *
 * The order in which locks are taken: a thread may take a lock only if its rank is higher than
 * that of every lock it holds. fork takes them all in this order, libc's lock of its open files
 * behind the collector's first three (os/stdio_list.c). Debug builds check it.
 *
 *   GC_THREADS  the registry of threads that use the collected heap, gc/thread.c
 *   GC_ROOTS    ranges of roots and coroutine stacks, gc/ranges.c
 *   GC_HANDLES  slots of handles, gc/handles.c
 *   API         rows of statistics for callers, front/compat.c and front/api.c
 *   INIT        one-time set-up, front/init.c
 *   STATS       collecting statistics, front/stats.c
 *   PROFILE     inserting stacks and buckets, sample/profile.c
 *   LIVE        growth of the table of live samples, sample/live.c
 *   THREADS     the registry of threads, front/thread.c
 *   BOX         trace ring, history, statistics, box/writer_live.c
 *   GC_PACE     pacer and limiter, gc/cycle_pace.c
 *   GC_STATS    numbers of finished cycles, gc/stats.c
 *   GC_ARENAS   all arenas of the collected heap, gc/arena.c
 *   GC_LINKS    links that disappear, gc/links.c
 *   GC_PROCEDURES mark procedures of the program's, gc/procedures.c
 *   GC_SPECIALS one shard of what hangs on collected objects, gc/specials.c (never two)
 *   GC_POOLS    the list of pools, gc/pool.c
 *   GC_POOL     one CPU's shard of a pool, gc/pool.c (never two)
 *   GC_CHUNKS   idle pieces of pools, gc/pool_deque.c
 *   GC_CALLBACKS  the queue of finalizers and cleanups, gc/callbacks.c
 *   GC_SPANS    collected spans of one class and their lists (never two)
 *   GC_TABLES   growth of the collected heap's tables
 *   GC_WORK     the marker's workers and buffers
 *   CPU_SLABS   which CPUs' slabs are in use
 *   CPU_CACHE   one per-CPU cache: its limits, in lock mode its stacks as well (never two)
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
    MAL_RANK_GC_PACE,
    MAL_RANK_GC_STATS,
    MAL_RANK_GC_ARENAS,
    MAL_RANK_GC_LINKS,
    MAL_RANK_GC_PROCEDURES,
    MAL_RANK_GC_SPECIALS,
    MAL_RANK_GC_POOLS,
    MAL_RANK_GC_POOL,
    MAL_RANK_GC_CHUNKS,
    MAL_RANK_GC_CALLBACKS,
    MAL_RANK_GC_SPANS,
    MAL_RANK_GC_TABLES,
    MAL_RANK_GC_WORK,
    MAL_RANK_CPU_SLABS,
    MAL_RANK_CPU_CACHE,
    MAL_RANK_CENTRAL,
    MAL_RANK_PAGEHEAP,
    MAL_RANK_META,
    MAL_RANK_COUNT
};

/* "GC_THREADS" and so on; for messages. */
const char *mal_lock_rank_name(unsigned rank);

#endif
