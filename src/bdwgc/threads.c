/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads. The collector finds them by itself, so registering does nothing; what programs call
 * instead of libc's functions leads to libc's, which libmallard-gc.so wraps.
 */
#include "bdwgc/engine.h"
#include "bdwgc/private.h"

#include "mallard/gc.h"

#include <dlfcn.h>

extern void *__libc_stack_end; /* the loader's */

static __thread int registered;

BDWGC_PUBLIC int GC_get_stack_base(struct GC_stack_base *ret_base) {
    pthread_attr_t attributes;
    void *low;
    size_t bytes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return GC_UNIMPLEMENTED;
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
    ret_base->mem_base = (char *)low + bytes;
    return GC_SUCCESS;
}

/* A thread whose stack pointer has left its own stack is on a coroutine's, which is looked at from
 * end to end: where it begins need not be told. */
BDWGC_PUBLIC char *GC_stackbottom;

BDWGC_PUBLIC void *GC_get_my_stackbottom(struct GC_stack_base *ret_base) {
    GC_get_stack_base(ret_base);
    return (void *)pthread_self();
}

BDWGC_PUBLIC void GC_set_stackbottom(void *thread, const struct GC_stack_base *base) {
    (void)thread;
    (void)base;
}

/* Of the first thread: programs with coroutines read it, and set it, without effect. */
static __attribute__((constructor)) void set_up(void) {
    GC_stackbottom = __libc_stack_end;
}

BDWGC_PUBLIC int GC_register_my_thread(const struct GC_stack_base *base) {
    (void)base;
    int before = registered;
    registered = 1;
    return before ? GC_DUPLICATE : GC_SUCCESS;
}

BDWGC_PUBLIC int GC_unregister_my_thread(void) {
    registered = 0;
    return GC_SUCCESS;
}

BDWGC_PUBLIC int GC_thread_is_registered(void) {
    return 1;
}

BDWGC_PUBLIC void GC_allow_register_threads(void) {}

BDWGC_PUBLIC void GC_start_mark_threads(void) {}

BDWGC_PUBLIC int GC_get_parallel(void) {
    return 1;
}

BDWGC_PUBLIC void GC_set_markers_count(unsigned count) {
    (void)count;
}

BDWGC_PUBLIC int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                   void *(*start)(void *), void *argument) {
    return pthread_create(thread, attributes, start, argument);
}

BDWGC_PUBLIC int GC_pthread_join(pthread_t thread, void **ret_value) {
    return pthread_join(thread, ret_value);
}

BDWGC_PUBLIC int GC_pthread_detach(pthread_t thread) {
    return pthread_detach(thread);
}

BDWGC_PUBLIC int GC_pthread_cancel(pthread_t thread) {
    return pthread_cancel(thread);
}

BDWGC_PUBLIC void GC_pthread_exit(void *value) {
    pthread_exit(value);
}

/* The signal that stops threads stays out of it: ECL's threads are born with all others blocked,
 * and wait so for the one that made them. */
BDWGC_PUBLIC int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    if (!set || how == SIG_UNBLOCK)
        return pthread_sigmask(how, set, old);
    sigset_t without = *set;
    sigdelset(&without, mallard_gc_signal());
    return pthread_sigmask(how, &without, old);
}

BDWGC_PUBLIC void *GC_dlopen(const char *path, int mode) {
    return dlopen(path, mode);
}

struct locked_call {
    GC_fn_type function;
    void *data;
};

static void *call_and_unlock(void *data) {
    const struct locked_call *call = data;
    void *result = call->function(call->data);
    bdwgc_unlock(BDWGC_ALLOCATION);
    return result;
}

/* Nothing that takes time stands between the function's end and the caller: whoever was told there
 * that something has moved writes it down before it can be stopped (see gc/links.c). */
BDWGC_PUBLIC void *GC_call_with_alloc_lock(GC_fn_type function, void *data) {
    struct locked_call call = {function, data};
    bdwgc_lock(BDWGC_ALLOCATION);
    return mallard_gc_link_call(call_and_unlock, &call);
}

BDWGC_PUBLIC void *GC_do_blocking(GC_fn_type function, void *data) {
    mallard_gc_blocking_begin();
    void *result = function(data);
    mallard_gc_blocking_end();
    return result;
}

BDWGC_PUBLIC void *GC_call_with_gc_active(GC_fn_type function, void *data) {
    mallard_gc_blocking_end();
    void *result = function(data);
    mallard_gc_blocking_begin();
    return result;
}

BDWGC_PUBLIC void *GC_call_with_stack_base(GC_stack_base_func function, void *data) {
    struct GC_stack_base base = {&base};
    return function(&base, data);
}

BDWGC_PUBLIC void GC_set_handle_fork(int value) {
    (void)value;
}

BDWGC_PUBLIC void GC_atfork_prepare(void) {}

BDWGC_PUBLIC void GC_atfork_parent(void) {}

BDWGC_PUBLIC void GC_atfork_child(void) {}
