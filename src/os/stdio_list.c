/* SPDX-License-Identifier: Apache-2.0
 *
 * The lock of libc's list of open files, taken before a fork takes ours.
 *
 * fork calls the registered handlers and then waits for this lock. fflush(NULL) holds it while it
 * waits for a file that another thread reads with getline, and that one waits inside realloc for a
 * lock that our handler has taken: none of the three would ever go on. So the handler takes the
 * lock of the list before those, in the order in which libc takes it and the locks of its own
 * malloc. The lock counts how often its owner took it, so that libc's fork gets it once more.
 *
 * In the child libc makes it anew, but only if the parent had several threads; unlocking what is
 * new would leave it locked by nobody. Making it anew is right in both cases: the child has one
 * thread.
 *
 * The names are exported by glibc (2.2.5 on x86-64, 2.17 on aarch64); elsewhere they are NULL, and
 * nothing is done. One lock of the kind is left that fork takes after the handlers: the resolver of
 * names' (nsswitch.conf is being read), which nobody outside of libc can take.
 *
 * SYNCHRONIZATION: the lock ranks before all of malloc's and behind the collector's gate: a step of
 * the collector may wait for the loader's lock, under which a callback of dl_iterate_phdr may open
 * a file. Who holds a lock of ours calls nothing of stdio.
 *
 * Must never be taken but around a fork.
 */
#include "os/stdio_list.h"

void _IO_list_lock(void) __attribute__((weak));
void _IO_list_unlock(void) __attribute__((weak));
void _IO_list_resetlock(void) __attribute__((weak));

void mal_stdio_list_before_fork(void) {
    if (_IO_list_lock)
        _IO_list_lock();
}

void mal_stdio_list_after_fork_in_parent(void) {
    if (_IO_list_unlock)
        _IO_list_unlock();
}

void mal_stdio_list_after_fork_in_child(void) {
    if (_IO_list_resetlock)
        _IO_list_resetlock();
}
