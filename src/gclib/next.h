/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that ours stand in front of, and how ours go through a blocking region.
 *
 *     NEXT(read)(fd, buffer, bytes)     libc's read, or that of the library behind us
 *     IN_REGION(result, call)           evaluates `call` in a region when the thread is registered
 *
 * A region ends on every way out: return, cancellation, and longjmp from a signal handler. For the
 * last two a cleanup handler of the kind that libc keeps in a list of its own, and runs when a jump
 * passes it, is registered; it costs two stores. (The kind that pthread_cleanup_push makes is
 * forgotten by longjmp.) It is registered before the region begins and until after its end, for a
 * signal may come in between, and goes back to the depth of regions that there was: any number of
 * times. The arguments of a call are needed after the region has begun, so the compiler keeps them
 * in this frame or in registers that are saved: what they point to is alive.
 */
#ifndef MAL_GCLIB_NEXT_H
#define MAL_GCLIB_NEXT_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "gclib/engine.h"

#define GCLIB_PUBLIC __attribute__((visibility("default")))

/* libc's, declared in no header. */
extern void _pthread_cleanup_push(struct _pthread_cleanup_buffer *buffer, void (*routine)(void *),
                                  void *argument);
extern void _pthread_cleanup_pop(struct _pthread_cleanup_buffer *buffer, int execute);

/* One per name and place of use. All lie in one section, so that the constructor finds them: the
 * dynamic linker must not be asked in a signal handler or a forked child. */
struct gclib_slot {
    const char *name;
    void *found; /* NULL until resolved; acquire/release */
} __attribute__((aligned(16)));

/* The next definition of the name; a function that fails with ENOSYS where there is none. */
void *gclib_next(struct gclib_slot *slot);

#define NEXT(name)                                                                                 \
    ({                                                                                             \
        static struct gclib_slot gclib_slot                                                        \
            __attribute__((section("gclib_slots"), used)) = {#name, NULL};                         \
        void *gclib_found = __atomic_load_n(&gclib_slot.found, __ATOMIC_ACQUIRE);                  \
        (__typeof__(&name))(gclib_found ? gclib_found : gclib_next(&gclib_slot));                  \
    })

void gclib_leave(void *depth);

#define IN_REGION(result, call)                                                                    \
    do {                                                                                           \
        struct _pthread_cleanup_buffer gclib_buffer;                                               \
        void *gclib_depth = (void *)(uintptr_t)mallard_gc_blocking_depth();                        \
        _pthread_cleanup_push(&gclib_buffer, gclib_leave, gclib_depth);                            \
        mallard_gc_blocking_try();                                                                 \
        (result) = (call);                                                                         \
        gclib_leave(gclib_depth);                                                                  \
        _pthread_cleanup_pop(&gclib_buffer, 0);                                                    \
    } while (0)

#endif
