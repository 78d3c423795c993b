/* SPDX-License-Identifier: Apache-2.0
 *
 * The locks of this library, in the order in which fork takes them: a child has them free.
 *
 * SYNCHRONIZATION: nobody takes one while holding another. They are taken outside the collector's
 * sections, so that a thread that waits for one can be stopped.
 */
#include "bdwgc/private.h"

static pthread_mutex_t lock[BDWGC_LOCKS] = {[0 ... BDWGC_LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER};

void bdwgc_lock(enum bdwgc_lock which) {
    pthread_mutex_lock(&lock[which]);
}

void bdwgc_unlock(enum bdwgc_lock which) {
    pthread_mutex_unlock(&lock[which]);
}

static void lock_all(void) {
    for (int which = 0; which < BDWGC_LOCKS; which++)
        bdwgc_lock((enum bdwgc_lock)which);
}

static void unlock_all(void) {
    for (int which = BDWGC_LOCKS; which-- > 0;)
        bdwgc_unlock((enum bdwgc_lock)which);
}

static void begin_child(void) {
    bdwgc_forget_collecting();
    unlock_all();
}

static __attribute__((constructor)) void set_up(void) {
    pthread_atfork(lock_all, unlock_all, begin_child);
}
