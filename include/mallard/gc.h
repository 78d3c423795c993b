/* SPDX-License-Identifier: Apache-2.0
 *
 * Mallard's collected heap: memory that is never freed by hand.
 *
 * Objects live as long as a root leads to them: stacks, registers and thread-local storage of every
 * thread, data segments of every loaded object (of dlmopen's too), and what is added here.
 * Collection runs beside the program; no call is needed when pointers are stored. Memory from
 * malloc is not looked at: a pointer that lies only there keeps nothing alive (see
 * mallard_gc_root_add).
 *
 * Link with -lmallard-gc. C99 and C++; MALLARD_GC_TYPE needs C11. Every function may be called by
 * any thread, none from a signal handler. Functions that can fail return NULL with errno ENOMEM, or
 * a negative errno.
 *
 * The kernel may write bytes into collected objects at any time, and pointers by read(2),
 * recvmsg(2) and their like, requests of io_uring among them, as long as what is copied stays
 * reachable where it came from until the call or the request is complete. It must not write
 * pointers into buffers that are registered with io_uring, nor by O_DIRECT: it has taken their
 * pages beforehand, and a mark that runs beside the program does not see such writes. What a
 * request in flight points to is to be kept reachable by the program: its queues are no roots.
 *
 * Nor may a signal handler that interrupts a waiting call of libc's move pointers to collected
 * objects about: its thread counts as asleep, and is scanned as it was when the call began. A
 * program that is not linked so is collected all the same, but its waiting calls may end with
 * EINTR, and a thread that calls exec during a collection may hand the stop signal on to the next
 * program, which that ends.
 *
 * Threads are stopped with one real-time signal: 40 (SIGRTMIN + 6), or the next one that has no
 * handler when the collector comes up; MALLARD_DEBUG=gcsignal=N names another. The program gives it
 * no handler (sigaction says EINVAL where it is linked with -lmallard-gc; set in another way, the
 * next collection takes the signal back and says so) and does not block it.
 */
#ifndef MALLARD_GC_H
#define MALLARD_GC_H

#include <mallard/gc_type.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- types: where the pointers of an object are ---------------------------------------------- */

struct mallard_gc_type; /* mallard/gc_type.h: made by MALLARD_GC_TYPE and its kin */

/* ---- allocation: zeroed, aligned to 16 bytes ------------------------------------------------- */

/* One object of the type, which is not NULL (it faults). Of a type of no bytes, one of 16. Go:
 * new(T). */
void *mallard_gc_new(const struct mallard_gc_type *type);
/* A structure with `count` elements in its flexible array. NULL with ENOMEM also where its size is
 * no number of bytes. A pointer one past the last element keeps it alive too. Of a type without a
 * flexible array, one object of the type, whatever the count. Dies with a sentence for NULL. */
void *mallard_gc_new_flex(const struct mallard_gc_type *type, size_t count);
/* The same object with `count` elements: where it is, when they fit (those cut off are zero if they
 * come back), else a new one with the old one's contents; the old one is not freed, whatever still
 * points to it stays valid. NULL object: a new one. NULL and ENOMEM: nothing has changed. The type
 * is the one it was made with. Dies with a sentence for an object that is not the start of a
 * collected one, malloc's for instance. Go: append. */
void *mallard_gc_resize_flex(void *object, const struct mallard_gc_type *type, size_t count);
/* At least `bytes`, 0 included, up to PTRDIFF_MAX - 1. NULL type: every aligned word may be a
 * pointer. Else the type's layout, repeated to the end (an array of it), or for a type with a
 * flexible array its head and then elements. A pointer one past the end keeps it alive too. NULL
 * and errno ENOMEM. Go: make([]T, n). */
void *mallard_gc_alloc(size_t bytes, const struct mallard_gc_type *type);
/* As many bytes that are never looked into. Below 16 bytes several objects share a block of 16,
 * aligned to the largest power of two that divides the size; the block lives as long as any of
 * them. */
void *mallard_gc_alloc_noscan(size_t bytes);
/* A hint: nothing points to the object any more. It may be taken at once, or by the next collection
 * as any other (while a mark is going on; blocks of 16 bytes without pointers). NULL, and what is
 * not the start of an object, is left alone. A pointer that is still used afterwards is an error
 * as with free. No counterpart in Go. */
void mallard_gc_free(void *object);
/* Usable bytes of the object, at least what was asked for; 0 when it is not the start of one. Any
 * pointer may be asked about. */
size_t mallard_gc_size(const void *object);
/* Whether the object is never looked into; 0 also when it is not the start of one. Any pointer. */
int mallard_gc_is_noscan(const void *object);
/* The start of the object that the pointer leads into; NULL when it leads into none. Any pointer.
 */
void *mallard_gc_base(const void *pointer);

/* ---- roots ----------------------------------------------------------------------------------- */

/* Aligned words of [low, low + bytes) are roots from now on: memory of malloc, or a mapping, that
 * has to stay readable until it is removed. A range may be added more than once, and is removed as
 * often. -EINVAL: NULL, no bytes, or no such range of addresses; -ENOMEM. */
int mallard_gc_root_add(const void *low, size_t bytes);
/* The very range that was added; when it returns, nobody reads there. -ENOENT: there is none. */
int mallard_gc_root_remove(const void *low, size_t bytes);

/* Keeps one object alive from anywhere. */
struct mallard_gc_handle;
/* NULL and errno ENOMEM. A handle of NULL is one that has no object. Go: cgo.NewHandle. */
struct mallard_gc_handle *mallard_gc_handle_new(void *object);
/* The object. NULL for NULL; dies with a sentence when the handle was freed and is nobody else's.
 */
void *mallard_gc_handle_get(const struct mallard_gc_handle *handle);
/* NULL is ignored; a second time, it dies with a sentence likewise. */
void mallard_gc_handle_free(struct mallard_gc_handle *handle);

/* The stack of a coroutine, scanned while it is known, whole. As mallard_gc_root_add. */
int mallard_gc_stack_add(void *low, size_t bytes);
int mallard_gc_stack_remove(void *low); /* -ENOENT: there is none that begins there */
/* Between them the thread touches no collected memory and is never interrupted for a collection.
 * Both in the same function. They nest; an end without a beginning does nothing. Go does this
 * around each system call. */
void mallard_gc_blocking_begin(void);
void mallard_gc_blocking_end(void);
/* The object is reachable up to here. Go: runtime.KeepAlive. */
static inline void mallard_gc_keepalive(const void *object) {
    __asm__ volatile("" : : "r"(object) : "memory");
}

/* ---- collecting ------------------------------------------------------------------------------ */

/* Waits for a whole cycle that begins after the call, and its sweep. Go: runtime.GC. */
void mallard_gc_collect(void);
/* Growth of the heap between two collections, in percent of what is live; returns the old value.
 * Negative: none but by mallard_gc_collect and the memory limit, and a collection that is under way
 * is over when it returns; all negative ones are -1. Go: debug.SetGCPercent. */
int mallard_gc_set_percent(int percent);

/* Of the collected heap alone; all zero before its first use. */
struct mallard_gc_stats {
    uint64_t size;            /* set to sizeof(struct mallard_gc_stats) by the caller */
    uint64_t num_gc;          /* finished cycles */
    uint64_t num_forced_gc;   /* those among them that somebody asked for */
    uint64_t pause_total_ns;  /* in which the program was stopped */
    uint64_t last_gc_unix_ns; /* when the last cycle ended */
    uint64_t next_gc_bytes;   /* the goal; INT64_MAX: none */
    double gc_cpu_fraction;   /* share of the CPU time that was there since the start, 0 .. 1 */
    uint64_t live_bytes;      /* found alive, and allocated since */
    uint64_t marked_bytes;    /* found alive by the last cycle */
    uint64_t mallocs, frees;  /* objects, ever */
    uint64_t pause_ns[256], pause_end_unix_ns[256]; /* ring: cycle N at (N + 255) % 256 */
};

/* Fills the first `stats->size` bytes, while others go on. -EINVAL: NULL, or size is 0. Go:
 * debug.ReadGCStats and runtime.MemStats. */
int mallard_gc_read_stats(struct mallard_gc_stats *stats);

/* ---- when objects die --------------------------------------------------------------------------
 *
 * Functions given here run one at a time on a thread of Mallard's, "mallard-gc-fin", with no lock
 * held, never inside an allocation. They are the program's code there: they may allocate, wait, and
 * use all of this. One that does not return keeps the others waiting. Signals sent to the process
 * are not handled on that thread. At exit nothing is run; a forked child runs what was queued, but
 * not the one that was running. Nothing says when an object is found dead: use these to give back
 * what is not memory, and close what must be closed in time by hand. Any thread may call any of
 * these. */

/* A cleanup that was added. Holding it does not keep the object alive. */
struct mallard_gc_cleanup {
    uint64_t id; /* 0: none */
    uintptr_t hidden;
};

/* Runs function(argument) once the object that `object` points to, or into, is gone; several may
 * be added to one object, and run in no order. The argument, and what it leads to, is kept alive
 * until then: if it leads to the object, the object never dies. An object with a finalizer too is
 * gone only after it died for a second time. ret_cleanup may be NULL. Preferred over a finalizer:
 * the memory is free at once and the order of death does not matter. Freeing the object by hand
 * runs it too.
 * -EINVAL: not in a collected object (NULL, malloc's, an arena's), or the argument points into the
 * object, or no function; -ENOMEM. Go: runtime.AddCleanup. */
int mallard_gc_cleanup_add(void *object, void (*function)(void *argument), void *argument,
                           struct mallard_gc_cleanup *ret_cleanup);

/* Takes a cleanup back. -ENOENT: it is due or has run, or was taken back; -EINVAL: there was none.
 * Go: Cleanup.Stop. */
int mallard_gc_cleanup_stop(const struct mallard_gc_cleanup *cleanup);

/* Runs function(object) once nothing leads to the object; it and all that it leads to is whole
 * then, and is free again when it is found dead another time. Of objects that lead to each other
 * the first dies first; in a ring none does, but an object's pointers to itself count for nothing.
 * NULL takes the finalizer back. `object` is the start of an object (of up to 16 bytes without
 * pointers: any address in it). Freeing the object by hand drops it.
 * -EINVAL: not the start of a collected object (NULL, an interior pointer, malloc's, an arena's);
 * -EEXIST: it has one; -ENOMEM. Go: runtime.SetFinalizer. */
int mallard_gc_finalizer_set(void *object, void (*function)(void *object));

/* A reference that keeps nothing alive: itself a collected object, the same one for the same
 * pointer as long as the object lives, so comparing these compares what they were made from, even
 * after its death. NULL and errno EINVAL: not in a collected object; ENOMEM. Go: weak.Make. */
struct mallard_gc_weak;
struct mallard_gc_weak *mallard_gc_weak_new(void *object);

/* The pointer it was made from; NULL once the object is gone, or its finalizer is due. NULL for
 * NULL. Go: weak.Pointer.Value. */
void *mallard_gc_weak_get(struct mallard_gc_weak *weak);

#ifdef __cplusplus
}
#endif

#endif
