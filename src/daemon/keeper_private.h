/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the keeper share. See keeper.c.
 */
#ifndef MAL_DAEMON_KEEPER_PRIVATE_H
#define MAL_DAEMON_KEEPER_PRIVATE_H

#include "daemon/keeper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define KEEPER_THREADS 3

enum order { ORDER_PROFILE, ORDER_BURY, ORDER_DISCARD, ORDER_SETTLE };

struct job {
    struct job *next;
    enum order order;
    struct process *process; /* a reference; NULL for ORDER_SETTLE */
    int error;               /* as an answer */
};

struct queue {
    struct job *first, **end;
};

/* One of the threads and what it has to do. */
struct keeper_hand {
    struct keeper *keeper;
    pthread_t thread;
    pthread_cond_t changed;
    struct queue orders; /* lock */
};

struct keeper {
    struct keeper_options options; /* keep_bytes and keep_for_ns: lock */
    pthread_mutex_t lock;
    struct keeper_hand hand[KEEPER_THREADS];
    struct queue answers; /* lock */
    bool stopping;        /* lock */
    int answer_fd;

    pthread_mutex_t room_lock; /* held while the store is trimmed */
    _Atomic uint64_t weight;
    _Atomic uint64_t trimmed_ns;
};

/* keeper_room.c: what the store weighs */
void keeper_weigh(struct keeper *keeper, uint64_t bytes); /* a file of that length was written */
/* Before as many bytes are written. */
void keeper_make_room(struct keeper *keeper, uint64_t bytes);
/* Leaves room for as many more bytes, in any case. */
void keeper_trim(struct keeper *keeper, uint64_t room_bytes);

/* keeper_write.c: what the orders do */
void keeper_do_profile(struct keeper *keeper, struct process *process);
int keeper_do_bury(struct keeper *keeper, struct process *process);
void keeper_do_discard(struct process *process);
/* True for an error of the folder or its disk; says so, once. */
bool keeper_note(struct keeper *keeper, int error);

/* keeper_settle.c */
void keeper_do_settle(struct keeper *keeper);

#endif
