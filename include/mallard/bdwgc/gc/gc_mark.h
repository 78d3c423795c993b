/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds of objects, mark procedures and pushed roots under the names of Boehm's collector.
 *
 * An object of a kind is scanned word by word, or not at all, or by a mark procedure of the
 * program's, which marks what the object leads to. What a procedure may rely on is what Boehm's
 * collector promises, although this one marks beside the program:
 *
 *     - it is called while every thread of the program is stopped (but those in GC_do_blocking,
 *       which touch nothing collected), and never two at a time;
 *     - what it marked last, and what that leads to, outlives the collection, also where it found
 *       the pointers outside the heap; words that it passes over keep nothing alive;
 *     - it may be called several times in one collection, for objects that are still as they were
 *       allocated (all zero), and for those that wait for their finalizer.
 *
 * And what it must not do, there as here: allocate, take a lock, wait. It runs on a thread of the
 * collector's with 256 KiB of stack, where pthread_getspecific answers NULL at first. All that is
 * reachable through procedures only is found with the world stopped; when that takes too long the
 * program goes on meanwhile, and the procedures are called again.
 */
#ifndef MALLARD_BDWGC_GC_MARK_H
#define MALLARD_BDWGC_GC_MARK_H

#include "gc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS ((1 << GC_DS_TAG_BITS) - 1)
#define GC_DS_LENGTH 0
#define GC_DS_BITMAP 1
#define GC_DS_PROC 2
#define GC_DS_PER_OBJECT 3

/* ---- mark procedures ---- */

/* Where procedures would push: handed through, nobody looks into it. There is always room. */
struct GC_ms_entry {
    void *opaque;
};
/* Answers the `top` that it was given, or what GC_mark_and_push answered last. */
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *object, struct GC_ms_entry *top,
                                            struct GC_ms_entry *limit, GC_word environment);
#define GC_LOG_MAX_MARK_PROCS 6
#define GC_MAX_MARK_PROCS (1 << GC_LOG_MAX_MARK_PROCS)
#define GC_RESERVED_MARK_PROCS 8
#define GC_GCJ_RESERVED_MARK_PROC_INDEX 0
#define GC_PROC_BYTES 100

/* The procedure's number for GC_MAKE_PROC. After GC_MAX_MARK_PROCS - GC_RESERVED_MARK_PROCS of them
 * it is that of none: objects are scanned word by word then. */
unsigned GC_new_proc(GC_mark_proc procedure);
unsigned GC_new_proc_inner(GC_mark_proc procedure);
/* The descriptor of a kind: the environment, below 2^56, is what the procedure is called with. */
#define GC_MAKE_PROC(index, environment)                                                           \
    ((((((GC_word)(environment)) << GC_LOG_MAX_MARK_PROCS) | (index)) << GC_DS_TAG_BITS) |         \
     GC_DS_PROC)

/* Marks what the pointer leads to, or into; anything that is no object is passed over. `source` is
 * not looked at. */
struct GC_ms_entry *GC_mark_and_push(void *object, struct GC_ms_entry *top,
                                     struct GC_ms_entry *limit, void **source);
extern void *GC_least_plausible_heap_addr, *GC_greatest_plausible_heap_addr; /* all there are */
#define GC_MARK_AND_PUSH(object, top, limit, source)                                               \
    ((GC_word)(object) >= (GC_word)GC_least_plausible_heap_addr &&                                 \
             (GC_word)(object) <= (GC_word)GC_greatest_plausible_heap_addr                         \
         ? GC_mark_and_push(object, top, limit, source)                                            \
         : (top))

/* ---- pushed roots ---- */

/* Called like a mark procedure, once at least in each collection. It should call the one that was
 * set before it, which is never NULL. */
typedef void (*GC_push_other_roots_proc)(void);
void GC_set_push_other_roots(GC_push_other_roots_proc procedure);
GC_push_other_roots_proc GC_get_push_other_roots(void);
extern GC_push_other_roots_proc GC_push_other_roots; /* older programs set it themselves */
/* From there, and from mark procedures; elsewhere they do nothing. Every word of [low, above) is
 * taken as a pointer that may be; `all` or not. */
void GC_push_all(void *low, void *above);
void GC_push_all_eager(void *low, void *above);
void GC_push_conditional(void *low, void *above, int all);
/* Marks the object, and what it leads to unless it is not scanned. */
void GC_set_mark_bit(const void *object);

/* ---- looking at all objects ---- */

/* Inside GC_call_with_alloc_lock: visits every object that the last collection found alive and
 * every younger one. What is set aside for the next objects of running threads, all zero, may be
 * among them. The procedure must not allocate, nor wait. */
typedef void (*GC_reachable_object_proc)(void *object, size_t bytes, void *data);
void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc procedure, void *data);

/* ---- kinds ---- */

void **GC_new_free_list(void); /* for GC_new_kind, and nothing else */
void **GC_new_free_list_inner(void);
/* A descriptor of no length is for objects that are not scanned, one of GC_MAKE_PROC for those with
 * a procedure; all others are word by word. UINT_MAX, which GC_generic_malloc refuses, when there
 * are too many. */
unsigned GC_new_kind(void **free_list, GC_word descriptor, int add_size, int clear);
unsigned GC_new_kind_inner(void **free_list, GC_word descriptor, int add_size, int clear);
void *GC_generic_malloc(size_t bytes, int kind);
void *GC_generic_malloc_ignore_off_page(size_t bytes, int kind);

#ifdef __cplusplus
}
#endif

#endif
