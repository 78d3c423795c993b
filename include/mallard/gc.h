/* SPDX-License-Identifier: Apache-2.0
 *
 * Mallard's collected heap: memory that is never freed by hand.
 *
 * Objects live as long as a root leads to them: stacks, registers and thread-local storage of every
 * thread, data segments of every loaded object, and what is added here. Collection runs beside the
 * program; no call is needed when pointers are stored. Memory from malloc is not looked at: a
 * pointer that lies only there keeps nothing alive (see mallard_gc_root_add).
 *
 * Link with -lmallard-gc. C99 and C++; MALLARD_GC_TYPE needs C11. Every function may be called by
 * any thread, none from a signal handler. Functions that can fail return NULL with errno ENOMEM, or
 * a negative errno.
 */
#ifndef MALLARD_GC_H
#define MALLARD_GC_H

#include <mallard/gc_type.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- types: where the pointers of an object are (HEAP) --------------------------------------- */

struct mallard_gc_type; /* mallard/gc_type.h: made by MALLARD_GC_TYPE and its kin */

/* ---- allocation: zeroed, aligned to 16 bytes (HEAP) -------------------------------------------
 */
void *mallard_gc_new(const struct mallard_gc_type *type);
void *mallard_gc_new_flex(const struct mallard_gc_type *type, size_t count);
void *mallard_gc_resize_flex(void *object, const struct mallard_gc_type *type, size_t count);
void *mallard_gc_alloc(size_t bytes, const struct mallard_gc_type *type); /* NULL: conservative */
void *mallard_gc_alloc_noscan(size_t bytes);
void mallard_gc_free(void *object);         /* a hint: the object is not used any more */
size_t mallard_gc_size(const void *object); /* usable bytes; 0: not an object */
void *mallard_gc_base(const void *pointer); /* start of the object; NULL: none */

/* ---- roots (WORLD) -----------------------------------------------------------------------------
 */
int mallard_gc_root_add(const void *low, size_t bytes);    /* scanned as words in each cycle */
int mallard_gc_root_remove(const void *low, size_t bytes); /* -ENOENT */
struct mallard_gc_handle; /* keeps one object alive from anywhere */
struct mallard_gc_handle *mallard_gc_handle_new(void *object);
void *mallard_gc_handle_get(const struct mallard_gc_handle *handle);
void mallard_gc_handle_free(struct mallard_gc_handle *handle);
int mallard_gc_stack_add(void *low, size_t bytes); /* a stack of a coroutine, scanned while known */
int mallard_gc_stack_remove(void *low);
/* Between them the thread touches no collected memory and is never interrupted for a collection. */
void mallard_gc_blocking_begin(void);
void mallard_gc_blocking_end(void);
/* The object is reachable up to here. */
static inline void mallard_gc_keepalive(const void *object) {
    __asm__ volatile("" : : "r"(object) : "memory");
}

/* ---- collecting (CYCLE)
 * -------------------------------------------------------------------------- */
void mallard_gc_collect(void); /* Go: runtime.GC */
int mallard_gc_set_percent(
    int percent); /* Go: debug.SetGCPercent; negative: off; returns the old one */

struct mallard_gc_stats {
    uint64_t size; /* set to sizeof by the caller */
    uint64_t num_gc, num_forced_gc;
    uint64_t pause_total_ns, last_gc_unix_ns, next_gc_bytes;
    double gc_cpu_fraction;
    uint64_t live_bytes, marked_bytes;
    uint64_t mallocs, frees;                        /* objects of the collected heap */
    uint64_t pause_ns[256], pause_end_unix_ns[256]; /* ring: cycle N at (N + 255) % 256 */
};
int mallard_gc_read_stats(struct mallard_gc_stats *stats); /* Go: ReadGCStats and MemStats */

/* ---- when objects die (EXTRAS) ------------------------------------------------------------------
 */
struct mallard_gc_cleanup {
    uint64_t id;
    uintptr_t object;
};
/* Runs function(argument) on the collector's thread once `object` is gone. Go: runtime.AddCleanup.
 */
int mallard_gc_cleanup_add(void *object, void (*function)(void *argument), void *argument,
                           struct mallard_gc_cleanup *ret_cleanup);
int mallard_gc_cleanup_stop(const struct mallard_gc_cleanup *cleanup);
/* Runs function(object) once nothing else leads to it; NULL removes. Go: runtime.SetFinalizer. */
int mallard_gc_finalizer_set(void *object, void (*function)(void *object));
struct mallard_gc_weak; /* itself a collected object */
struct mallard_gc_weak *
mallard_gc_weak_new(void *object); /* the same one for the same object. Go: weak.Make */
void *mallard_gc_weak_get(struct mallard_gc_weak *weak); /* NULL once the object is gone */

#ifdef __cplusplus
}
#endif

#endif
