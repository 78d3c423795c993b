/* SPDX-License-Identifier: Apache-2.0
 *
 * How a thread comes into the registry by itself, and how it leaves.
 *
 * Path up: a thread registers when it first allocates, or when libmallard-gc.so starts it: it says
 * where its stack lies, which libc knows, and asks for a call at its end. A record that a stop has
 * made for it meanwhile is completed so. Path down: a destructor of thread-specific data marks the
 * thread as leaving, in the last round of destructors, so that others still may use the heap.
 *
 * SYNCHRONIZATION: all is the calling thread's; the registry has its own lock.
 *
 * Must never keep a record in `completed` that is not the thread's any more: the pool may give the
 * same one back, uncompleted.
 */
#include "gc/thread.h"

#include "gc/thread_private.h"
#include "mallard/gc.h"
#include "mallard/mallard.h"
#include "os/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#define DESTRUCTOR_ROUNDS 3u /* of the four that POSIX promises */

static MAL_THREAD struct mal_gc_thread *completed; /* mal_gc_self, once it has bounds and an end */
static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static int exit_key_error; /* constant after exit_key_once */

void *mal_gc_thread_keep_table(void *table) {
    if (mal_gc_thread_generation() == 0)
        return table;
    if (!mal_gc_self)
        return NULL;
    void *before = mal_gc_self->kept_table;
    mal_gc_self->kept_table = table;
    return before;
}

/* Other destructors may run after this one and use the heap: asks for another round while there is
 * one. A region that the thread never left ends here: its cache must not be taken back while the
 * world is stopped. */
static void at_thread_exit(void *argument) {
    struct mal_gc_thread *thread = argument;
    while (thread->blocking_depth > 0)
        mallard_gc_blocking_end();
    if (++thread->exit_rounds < DESTRUCTOR_ROUNDS && pthread_setspecific(exit_key, thread) == 0)
        return;
    mallard_free(thread->kept_table);
    thread->kept_table = NULL;
    mal_gc_thread_note_leaving(thread);
    completed = NULL;
}

static void make_exit_key(void) {
    exit_key_error = pthread_key_create(&exit_key, at_thread_exit);
}

/* Without the key the thread is dropped by the first stop after its end. */
static void ask_for_exit(struct mal_gc_thread *thread) {
    pthread_once(&exit_key_once, make_exit_key);
    if (exit_key_error == 0)
        pthread_setspecific(exit_key, thread);
}

struct bounds {
    uintptr_t low, high;
};

/* Of a thread that libc made, this takes in its static thread-local block, which lies above. */
static struct bounds own_stack(void) {
    struct bounds bounds = {0, 0};
    pthread_attr_t attributes;
    void *low;
    size_t bytes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return bounds;
    if (pthread_attr_getstack(&attributes, &low, &bytes) == 0)
        bounds = (struct bounds){(uintptr_t)low, (uintptr_t)low + bytes};
    pthread_attr_destroy(&attributes);
    return bounds;
}

static struct mal_gc_thread *register_anew(void) {
    int cancel = mal_thread_forbid_cancel();
    int saved_errno = errno;
    struct bounds stack = own_stack();
    struct mal_gc_thread *thread = mal_gc_thread_take_record(stack.low, stack.high);
    if (thread)
        ask_for_exit(thread);
    errno = saved_errno;
    mal_thread_restore_cancel(cancel);
    return thread;
}

/* A record that adoption made has no bounds yet, or only those of a mapping: it is completed. */
struct mal_gc_thread *mal_gc_thread_register(void) {
    if (!completed || completed != mal_gc_self)
        completed = register_anew();
    return completed;
}

void mal_gc_thread_leave(void) {
    if (mal_gc_self)
        mal_gc_thread_drop(mal_gc_self);
    completed = NULL;
}

/* For libmallard-gc.so: see gclib/engine.h. */
MAL_PUBLIC void mallard_gc_thread_attach(void);
MAL_PUBLIC bool mallard_gc_thread_is_wanted(void);

void mallard_gc_thread_attach(void) {
    mal_gc_thread_register();
}

bool mallard_gc_thread_is_wanted(void) {
    return !mal_thread_is_starting_own();
}
