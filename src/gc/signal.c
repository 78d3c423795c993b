/* SPDX-License-Identifier: Apache-2.0
 *
 * The one signal that stops threads.
 *
 * A real-time signal, whose default action nobody wants; one that the program has not taken. The
 * search begins at SIGRTMIN + 6, beyond what libc and common tools use, and goes on upwards; or the
 * knob says which.
 *
 * libmallard-gc.so refuses handlers for it. A program that gets past that, by a system call of its
 * own or because it is not linked so, would take stops for its own signals: a stop would never end,
 * or the process would. So each stop first looks whether the handler is ours, and takes the signal
 * back if not: the collector cannot do without it, and does not change to another, since a thread
 * may have that one blocked.
 *
 * SYNCHRONIZATION: `chosen` goes from 0 to a number by compare-and-swap; it changes once more if
 * the program has taken that signal before the collector came up, or the knob names another.
 * `installed` is constant once the collector is up.
 */
#include "base/atomic.h"
#include "gc/cycle_private.h"
#include "gc/world.h"
#include "gc/world_private.h"
#include "os/say.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#define FIRST_OFFSET 6

static uint32_t chosen;            /* signal number; 0: none yet; atomic */
static MAL_THREAD bool installing; /* our own calls are let through to libc */
static void (*installed)(int);

/* Only while `installing`, or before a number is chosen. */
static bool is_free(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) &&
           action.sa_handler == SIG_DFL;
}

static int first_free(void) {
    int wanted = (int)mal_gc_config.signal;
    if (wanted != 0 && is_free(wanted))
        return wanted;
    int count = SIGRTMAX - SIGRTMIN + 1;
    for (int i = 0; i < count; i++) {
        int number = SIGRTMIN + (FIRST_OFFSET + i) % count;
        if (is_free(number))
            return number;
    }
    return 0;
}

int mal_gc_signal(void) {
    uint32_t number = mal_load_acquire(&chosen);
    if (number == 0) {
        uint32_t mine = (uint32_t)first_free();
        if (mal_cas_acquire(&chosen, &number, mine))
            number = mine;
    }
    return (int)number;
}

/* Synchronous faults stay deliverable: a fault of ours must look like one. */
static sigset_t all_but_faults(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < MAL_COUNT_OF(faults); i++)
        sigdelset(&set, faults[i]);
    return set;
}

/* Not SA_ONSTACK: the frame with the registers has to lie on the stack that is scanned. */
static int take(int number) {
    struct sigaction action = {.sa_handler = installed, .sa_flags = SA_RESTART};
    action.sa_mask = all_but_faults();
    return sigaction(number, &action, NULL) == 0 ? 0 : -errno;
}

/* It may have been chosen before the knob was known, and taken since. */
static bool is_good_choice(int number) {
    int wanted = (int)mal_gc_config.signal;
    return is_free(number) && (wanted == 0 || wanted == number);
}

static int choose_and_take(void) {
    int wanted = (int)mal_gc_config.signal;
    if (mal_gc_signal() != 0 && !is_good_choice(mal_gc_signal()))
        mal_store_release(&chosen, 0u);
    int number = mal_gc_signal();
    if (number == 0)
        return -EAGAIN;
    if (wanted != 0 && number != wanted)
        mal_warn("MALLARD_DEBUG=gcsignal=%d: the program has taken this signal, using %d", wanted,
                 number);
    return take(number);
}

int mal_gc_signal_install(void (*handler)(int)) {
    installed = handler;
    installing = true;
    int error = choose_and_take();
    installing = false;
    return error;
}

static bool is_ours(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) != 0 ||
           (!(action.sa_flags & SA_SIGINFO) && action.sa_handler == installed);
}

void mal_gc_signal_defend(void) {
    int number = mal_gc_signal();
    installing = true;
    bool was_taken = installed && !is_ours(number);
    if (was_taken)
        take(number);
    installing = false;
    if (was_taken)
        mal_warn("signal %d, which stops threads, was given another handler: taken back "
                 "(MALLARD_DEBUG=gcsignal=N: another signal)",
                 number);
}

void mal_gc_signal_unblock(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, mal_gc_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* For libmallard-gc.so, which stands before libc's functions: see gclib/engine.h. */
MAL_PUBLIC int mallard_gc_signal(void);
MAL_PUBLIC bool mallard_gc_signal_is_taken(int number);

int mallard_gc_signal(void) {
    return mal_gc_signal();
}

bool mallard_gc_signal_is_taken(int number) {
    return number > 0 && number == (int)mal_load_acquire(&chosen) && !installing;
}
