/* SPDX-License-Identifier: Apache-2.0
 *
 * clone, where what it makes is a process.
 *
 * libc runs a function on a stack of the caller's, and what that returns becomes the status of the
 * new process, by a call that ends one thread: there is no other, as a rule. Two things differ
 * here.
 *
 * Memory of its own: a fork that knows no handlers. Ours are run, since our background thread may
 * hold a lock where the program has no second thread. Such a thread may have begun in the child,
 * too: the process would not end before that finds itself alone, and with another status. So our
 * threads end first, and the box with them. With CLONE_VFORK the parent sleeps meanwhile, and
 * others would wait for its locks: no handlers then.
 *
 * CLONE_VM with CLONE_VFORK: the child runs on its parent's thread pointer while that sleeps, as
 * one of vfork does: "no CPU" for as long as it does (os/vfork.c).
 *
 * Threads, children with a thread pointer of their own, and those that share memory with a parent
 * which goes on beside them, are libc's affair alone.
 *
 * SYNCHRONIZATION. `struct child` lies on the parent's stack. It is read before the program's
 * function runs: by a child that has a copy, or whose parent sleeps.
 */
#include "front/alone.h"
#include "front/init.h"
#include "os/alias.h"
#include "os/percpu.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
int mallard_clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

struct child {
    int (*function)(void *);
    void *argument;
    bool has_locks; /* and so has the parent */
};

static int run_process(void *argument) {
    struct child child = *(struct child *)argument;
    if (child.has_locks)
        mal_init_after_fork_in_child();
    int status = child.function(child.argument);
    if (mal_alone_at_end())
        mal_init_end(status & 0xff);
    return status;
}

/* The kernel may have renewed the number since the parent hid it. */
static int run_in_parent(void *argument) {
    struct child child = *(struct child *)argument;
    mal_percpu_hide();
    return child.function(child.argument);
}

static bool is_asleep_meanwhile(int flags) {
    int of_vfork = CLONE_VM | CLONE_VFORK;
    return (flags & (of_vfork | CLONE_SETTLS | CLONE_THREAD)) == of_vfork;
}

/* What a thread is told of itself; libc takes them in the same way. */
struct places {
    pid_t *parent_tid;
    void *thread_pointer;
    pid_t *child_tid;
};

static int clone_as_is(int (*function)(void *), void *stack, int flags, void *argument,
                       const struct places *places) {
    return __clone(function, stack, flags, argument, places->parent_tid, places->thread_pointer,
                   places->child_tid);
}

static int clone_asleep(struct child *child, void *stack, int flags, const struct places *places) {
    int32_t number = mal_percpu_hide();
    int result = clone_as_is(run_in_parent, stack, flags, child, places);
    mal_percpu_show(number);
    return result;
}

static int clone_process(struct child *child, void *stack, int flags, const struct places *places) {
    child->has_locks = !(flags & CLONE_VFORK) && mal_is_initialised();
    if (child->has_locks)
        mal_init_before_fork();
    int result = clone_as_is(run_process, stack, flags, child, places);
    int saved_errno = errno;
    if (child->has_locks)
        mal_init_after_fork_in_parent();
    errno = saved_errno;
    return result;
}

MAL_PUBLIC int mallard_clone(int (*function)(void *), void *stack, int flags, void *argument, ...) {
    struct child child = {function, argument, false};
    struct places places;
    va_list list;
    va_start(list, argument);
    places.parent_tid = va_arg(list, pid_t *);
    places.thread_pointer = va_arg(list, void *);
    places.child_tid = va_arg(list, pid_t *);
    va_end(list);
    if (function && stack && is_asleep_meanwhile(flags))
        return clone_asleep(&child, stack, flags, &places);
    if (function && stack && !(flags & CLONE_VM))
        return clone_process(&child, stack, flags, &places);
    return clone_as_is(function, stack, flags, argument, &places);
}

MAL_ALIAS(clone, mallard_clone);
