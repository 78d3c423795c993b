/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting, its settings, and what the heap is made of.
 *
 * Settings that steer how Boehm's collector works have no counterpart (settings.c); those that say
 * what the program wants are translated: a free space divisor becomes a percentage of growth, a
 * largest heap a memory limit.
 *
 * SYNCHRONIZATION: the lock SETTINGS orders changes of the percentage with those of GC_dont_gc.
 */
#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/gc.h"
#include "mallard/mallard.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define AWAIT_MOST_NS 200000000u
#define DIVISOR_DEFAULT 3 /* which is our default, 100 % */

BDWGC_PUBLIC int GC_dont_gc;
BDWGC_PUBLIC GC_word GC_free_space_divisor = DIVISOR_DEFAULT;

static int enabled_percent; /* what GC_enable goes back to; SETTINGS */

/* Set before there are threads, as with Boehm's. */
static GC_warn_proc warn_procedure = GC_ignore_warn_proc;
static GC_oom_func oom_procedure;
static GC_start_callback_proc start_procedure;

static int collecting; /* threads in GC_gcollect; atomic */

void *bdwgc_no_memory(size_t bytes) {
    return oom_procedure ? oom_procedure(bytes) : NULL;
}

BDWGC_PUBLIC void GC_init(void) {
    bdwgc_finalize_some();
}

BDWGC_PUBLIC int GC_is_init_called(void) {
    return 1;
}

BDWGC_PUBLIC unsigned GC_get_version(void) {
    return GC_VERSION_MAJOR << 16 | GC_VERSION_MINOR << 8 | GC_VERSION_MICRO;
}

/* ---- collecting ---- */

static void note_told(void) {
    __atomic_store_n(&bdwgc_cycle_told, __atomic_load_n(&bdwgc_cycle, __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
}

/* A cycle that began by itself: now there is a thread of the program's for the callback. Not while
 * collection is disabled, when programs are not prepared for it; not for a cycle that somebody
 * asked for, and was told of; and not by a finalizer, whose thread may do nothing else. */
void bdwgc_tell_cycle(void) {
    if (GC_is_disabled() || bdwgc_is_finalizing() ||
        __atomic_load_n(&collecting, __ATOMIC_RELAXED) > 0)
        return;
    note_told();
    if (start_procedure)
        start_procedure();
}

void bdwgc_forget_collecting(void) {
    __atomic_store_n(&collecting, 0, __ATOMIC_RELAXED);
}

/* When it returns, what it has found dead waits to be finalized. */
BDWGC_PUBLIC void GC_gcollect(void) {
    if (!GC_is_disabled()) {
        if (start_procedure)
            start_procedure();
        __atomic_add_fetch(&collecting, 1, __ATOMIC_RELAXED);
        mallard_gc_collect();
        mallard_gc_callbacks_await(AWAIT_MOST_NS);
        note_told();
        __atomic_sub_fetch(&collecting, 1, __ATOMIC_RELAXED);
    }
    bdwgc_finalize_some();
}

BDWGC_PUBLIC void GC_gcollect_and_unmap(void) {
    GC_gcollect();
    mallard_free_os_memory();
}

BDWGC_PUBLIC int GC_try_to_collect(GC_stop_func stop) {
    (void)stop;
    if (GC_is_disabled())
        return 0;
    GC_gcollect();
    return 1;
}

BDWGC_PUBLIC int GC_collect_a_little(void) {
    bdwgc_finalize_some();
    return 0;
}

BDWGC_PUBLIC void GC_enable_incremental(void) {}

BDWGC_PUBLIC int GC_is_incremental_mode(void) {
    return 1;
}

BDWGC_PUBLIC void GC_disable(void) {
    bdwgc_lock(BDWGC_SETTINGS);
    if (__atomic_fetch_add(&GC_dont_gc, 1, __ATOMIC_RELAXED) == 0)
        enabled_percent = mallard_gc_set_percent(-1);
    bdwgc_unlock(BDWGC_SETTINGS);
}

BDWGC_PUBLIC void GC_enable(void) {
    bdwgc_lock(BDWGC_SETTINGS);
    if (GC_dont_gc > 0 && __atomic_fetch_sub(&GC_dont_gc, 1, __ATOMIC_RELAXED) == 1)
        mallard_gc_set_percent(enabled_percent);
    bdwgc_unlock(BDWGC_SETTINGS);
}

BDWGC_PUBLIC int GC_is_disabled(void) {
    return __atomic_load_n(&GC_dont_gc, __ATOMIC_RELAXED) > 0;
}

BDWGC_PUBLIC int GC_expand_hp(size_t bytes) {
    (void)bytes;
    return 1;
}

BDWGC_PUBLIC void GC_set_max_heap_size(GC_word bytes) {
    mallard_set_memory_limit(bytes > 0 && bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX);
}

BDWGC_PUBLIC void GC_set_free_space_divisor(GC_word divisor) {
    if (divisor == 0)
        return;
    GC_free_space_divisor = divisor;
    int percent = divisor < 100 * DIVISOR_DEFAULT ? (int)(100 * DIVISOR_DEFAULT / divisor) : 1;
    bdwgc_lock(BDWGC_SETTINGS);
    if (GC_dont_gc > 0)
        enabled_percent = percent;
    else
        mallard_gc_set_percent(percent);
    bdwgc_unlock(BDWGC_SETTINGS);
}

BDWGC_PUBLIC GC_word GC_get_free_space_divisor(void) {
    return GC_free_space_divisor;
}

/* ---- figures ---- */

static struct mallard_memstats memory(void) {
    struct mallard_memstats stats = {.size = sizeof stats};
    mallard_read_memstats(&stats);
    return stats;
}

/* Without the rings of pauses. */
static struct mallard_gc_stats collector(void) {
    struct mallard_gc_stats stats = {.size = offsetof(struct mallard_gc_stats, pause_ns)};
    mallard_gc_read_stats(&stats);
    return stats;
}

BDWGC_PUBLIC GC_word GC_get_gc_no(void) {
    return collector().num_gc;
}

BDWGC_PUBLIC size_t GC_get_heap_size(void) {
    struct mallard_memstats stats = memory();
    return stats.heap_sys - stats.heap_released;
}

BDWGC_PUBLIC size_t GC_get_free_bytes(void) {
    struct mallard_memstats stats = memory();
    return stats.heap_sys - stats.heap_released - stats.heap_alloc;
}

BDWGC_PUBLIC size_t GC_get_unmapped_bytes(void) {
    return memory().heap_released;
}

BDWGC_PUBLIC size_t GC_get_bytes_since_gc(void) {
    struct mallard_gc_stats stats = collector();
    /* What the program freed by hand may be more. */
    return stats.live_bytes > stats.marked_bytes ? stats.live_bytes - stats.marked_bytes : 0;
}

BDWGC_PUBLIC size_t GC_get_total_bytes(void) {
    return memory().total_alloc;
}

BDWGC_PUBLIC size_t GC_get_memory_use(void) {
    return memory().heap_alloc;
}

BDWGC_PUBLIC size_t GC_get_obtained_from_os_bytes(void) {
    return memory().sys;
}

/* What was freed by hand is not counted apart. */
BDWGC_PUBLIC size_t GC_get_expl_freed_bytes_since_gc(void) {
    return 0;
}

BDWGC_PUBLIC unsigned long GC_get_full_gc_total_time(void) {
    return collector().pause_total_ns / 1000000;
}

static void put(GC_word *to, GC_word value) {
    if (to)
        *to = value;
}

BDWGC_PUBLIC void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_bytes, GC_word *unmapped,
                                         GC_word *since_gc, GC_word *total) {
    struct mallard_memstats stats = memory();
    put(heap, stats.heap_sys - stats.heap_released);
    put(free_bytes, stats.heap_sys - stats.heap_released - stats.heap_alloc);
    put(unmapped, stats.heap_released);
    put(since_gc, GC_get_bytes_since_gc());
    put(total, stats.total_alloc);
}

/* ---- words ---- */

BDWGC_PUBLIC void GC_ignore_warn_proc(char *format, GC_word argument) {
    (void)format;
    (void)argument;
}

BDWGC_PUBLIC void GC_set_warn_proc(GC_warn_proc procedure) {
    warn_procedure = procedure;
}

BDWGC_PUBLIC GC_warn_proc GC_get_warn_proc(void) {
    return warn_procedure;
}

BDWGC_PUBLIC void GC_set_oom_fn(GC_oom_func function) {
    oom_procedure = function;
}

BDWGC_PUBLIC GC_oom_func GC_get_oom_fn(void) {
    return oom_procedure;
}

BDWGC_PUBLIC void GC_abort_on_oom(void) {
    fputs("mallard: no memory for a collected object\n", stderr);
    abort();
}

BDWGC_PUBLIC void GC_set_all_interior_pointers(int value) {
    (void)value;
}

BDWGC_PUBLIC int GC_get_all_interior_pointers(void) {
    return 1;
}

/* What begins by itself begins on a thread of the collector's, where the callback has no business:
 * see bdwgc_tell_cycle. */
BDWGC_PUBLIC void GC_set_start_callback(GC_start_callback_proc callback) {
    start_procedure = callback;
}

BDWGC_PUBLIC GC_start_callback_proc GC_get_start_callback(void) {
    return start_procedure;
}

BDWGC_PUBLIC void GC_dump(void) {}

BDWGC_PUBLIC void GC_dump_named(const char *name) {
    (void)name;
}

BDWGC_PUBLIC void GC_dump_regions(void) {}

BDWGC_PUBLIC void GC_dump_finalization(void) {}

BDWGC_PUBLIC int GC_get_suspend_signal(void) {
    return mallard_gc_signal();
}

BDWGC_PUBLIC int GC_get_thr_restart_signal(void) {
    return -1;
}
