/* SPDX-License-Identifier: Apache-2.0
 *
 * Following processes: from the first sight of a box to the decision how its process ended. The
 * loop's thread calls everything here.
 *
 *   follow.c          coming and going: boxes appear, are replaced, vanish
 *   follow_end.c      ends: how, and what is done with what is left
 *   follow_pending.c  boxes that are not finished yet
 *   follow_foreign.c  boxes that another version wrote
 */
#ifndef MAL_DAEMON_FOLLOW_H
#define MAL_DAEMON_FOLLOW_H

#include "daemon/counters.h"
#include "daemon/discover.h"
#include "daemon/keeper.h"
#include "daemon/kernel_log.h"
#include "daemon/table.h"

#include <stddef.h>
#include <stdint.h>

#define FOLLOW_IDLE UINT64_MAX

/* A file that was no box when it was looked at. */
struct pending {
    struct folder *folder; /* a reference */
    char name[FOLDER_NAME_BYTES];
    uint64_t next_ns;
    unsigned tries;
};

/* Whose box of another version was told of: a ring. */
#define FOLLOW_TOLD_MAX 64u
struct follow_told {
    uint32_t pid[FOLLOW_TOLD_MAX];
    uint64_t start_ticks[FOLLOW_TOLD_MAX];
    size_t count; /* ever entered */
};

struct follower {
    struct table *table;
    struct keeper *keeper;
    struct daemon_counters *counters;
    int epoll_fd; /* where pidfds are added; their events carry the descriptor */
    uint64_t keep_every_ns;
    struct kernel_log log;

    struct discoverer discoverer;
    struct process **items; /* LIVING, ENDED and DOUBTFUL ones, a reference each */
    size_t count, capacity;
    struct pending *pending;
    size_t pending_count, pending_capacity;
    struct follow_told told;
};

/* Callbacks of struct folders_listener; `context` is the follower. */
void follower_appeared(void *context, struct folder *folder, const char *name);
void follower_vanished(void *context, struct folder *folder, const char *name);

/* The process of that descriptor may have ended. */
void follower_exit(struct follower *follower, int pidfd);
/* The keeper has answers. */
void follower_kept(struct follower *follower);
/* After each scan: what is not told by events. */
void follower_after_scan(struct follower *follower);
/* How often profiles are kept, from now on. */
void follower_set_period(struct follower *follower, uint64_t every_ns);
/* Does what is due. Returns when (CLOCK_MONOTONIC) something will be, or FOLLOW_IDLE. */
uint64_t follower_turn(struct follower *follower, uint64_t now_ns);
/* Drops everything. */
void follower_close(struct follower *follower);

/* ---- between the files ---- */

enum follow_why {
    FOLLOW_EXITED,   /* a clean exit */
    FOLLOW_REPLACED, /* by another image of the same process, or its box is no more */
    FOLLOW_KEPT,     /* its place in the table is another's already */
    FOLLOW_LOST
};
/* Stops following; nothing of it stays but what is kept. */
void follow_forget(struct follower *follower, struct process *process, enum follow_why why);
/* Its end was seen now, or before we came (`ended_unix_ns` 0). */
void follow_ended(struct follower *follower, struct process *process, uint64_t ended_unix_ns);
/* Decides if that is possible by now. Returns when to try again, or FOLLOW_IDLE. */
uint64_t follow_decide(struct follower *follower, struct process *process, uint64_t now_ns);
/* Takes the box out of its folder, when it still is what is there under its name. */
void follow_unlink(const struct process *process);

void follow_pend(struct follower *follower, struct folder *folder, const char *name);
void follow_pending_drop(struct follower *follower, size_t i);
uint64_t follow_pending_turn(struct follower *follower, uint64_t now_ns);
/* Says of a file which process it is of, and that it cannot be read. */
void follow_foreign(struct follower *follower, struct folder *folder, const char *name);
/* Looks at one file, unless that is followed already or gone, and follows what it finds. False
 * when it is unfinished. */
bool follow_look(struct follower *follower, struct folder *folder, const char *name);

uint64_t follow_now_ns(void);

#endif
