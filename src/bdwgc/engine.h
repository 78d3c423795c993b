/* SPDX-License-Identifier: Apache-2.0
 *
 * What libmallard.so.0 exports for this library alone, beside its public names. Both are of one
 * version: nobody else may rely on these. See gc/links.c, gc/procedures.c, gc/callbacks.c,
 * gc/specials_unordered.c, gc/each.c.
 */
#ifndef BDWGC_ENGINE_H
#define BDWGC_ENGINE_H

#include <stddef.h>
#include <stdint.h>

enum mallard_gc_link_kind { MALLARD_GC_LINK_SHORT, MALLARD_GC_LINK_LONG };

/* 0, 1 when there was one at the place, which is the object's now, -ENOMEM, -EINVAL in an arena. */
int mallard_gc_link_add(void **place, const void *object, unsigned kind);
/* Whether there was one. */
int mallard_gc_link_remove(void **place, unsigned kind);
/* 0, 1 when there is another one already, -ENOENT, -ENOMEM, -EINVAL. */
int mallard_gc_link_move(void **place, void **to, unsigned kind);

/* As mallard_gc_finalizer_set, but what the object leads to is kept alive only from when it is
 * found dead: of objects that lead to each other all are finalized at once. One that the object has
 * already loses its order. 0, -EINVAL, -ENOMEM. */
int mallard_gc_finalizer_set_unordered(void *object, void (*function)(void *object));

/* Visits the objects that the last collection found alive or that are younger; memory that is set
 * aside for the next objects of running threads, all zero, may be among them. No stop comes
 * meanwhile: the visitor is short, allocates nothing, waits for nobody. */
void mallard_gc_each_object(void (*visit)(void *object, size_t bytes, void *data), void *data);

/* Calls a function that no stop interrupts: it is short, allocates nothing, waits for nobody. */
void *mallard_gc_link_call(void *(*function)(void *data), void *data);

/* Mark procedures. They run while no thread of the program does, perhaps more than once in a cycle,
 * on any thread: they allocate nothing, take no lock, and mark with the marker they are given. */
struct mallard_gc_marker;
typedef void mallard_gc_procedure(struct mallard_gc_marker *marker, void *object, uintptr_t data);
/* Of an object without pointers that has 16 bytes at least, from now until it dies. 0, -ENOMEM. */
int mallard_gc_procedure_add(void *object, mallard_gc_procedure *function, uintptr_t data);
/* To another such object. 0, -ENOENT: there is none, -ENOMEM. */
int mallard_gc_procedure_move(const void *object, void *to);
int mallard_gc_procedure_remove(const void *object); /* 0, -ENOENT */
/* One without object, which every cycle calls with the cycle's number. NULL: none. */
void mallard_gc_procedure_of_roots(mallard_gc_procedure *function);
/* What the word points to, or into; every word of [low, high). */
void mallard_gc_marker_word(struct mallard_gc_marker *marker, uintptr_t word);
void mallard_gc_marker_range(struct mallard_gc_marker *marker, uintptr_t low, uintptr_t high);

/* The number of the signal that stops threads; 0: there is none to be had. */
int mallard_gc_signal(void);

/* Waits until finalizers and cleanups that are due have run, at most so long. */
void mallard_gc_callbacks_await(uint64_t most_ns);

#endif
