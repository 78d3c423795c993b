/* SPDX-License-Identifier: Apache-2.0
 *
 * A process as the daemon knows it, from the moment its box was found until nothing is left of it.
 *
 *   LIVING ---- its end was seen ----> ENDED ---- kept ----> DEAD ---- no room ----> forgotten
 *      \--- clean exit ---> forgotten  \--- it cannot be kept: it stays, its box is still open
 *   DOUBTFUL: a box that says it is of a process that cannot have made it. Only root sees it.
 *
 * An object never goes from ENDED to DEAD: a new one takes its place in the table, so that what a
 * reader has seen of it stays as it was.
 *
 * WHO MAY TOUCH WHAT. The first group is constant once the object is in the table. `state`,
 * `folder` and `references` belong to the table's lock, `loop` to the loop's thread, `keep` to one
 * of the keeper's.
 */
#ifndef MAL_DAEMON_PROCESS_H
#define MAL_DAEMON_PROCESS_H

#include "box/reader.h"
#include "daemon/cgroup.h"
#include "daemon/folders.h"
#include "daemon/kill_count.h"
#include "keep/keep.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum process_state { PROCESS_LIVING, PROCESS_ENDED, PROCESS_DEAD, PROCESS_DOUBTFUL };
#define PROCESS_STATES 4

#define PROCESS_ROOT_BYTES 32
#define PROCESS_NEVER UINT64_MAX

/* The loop's part. Times are CLOCK_MONOTONIC. */
struct process_watch {
    struct folder *folder; /* where its box was found; a reference */
    char name[FOLDER_NAME_BYTES];
    dev_t device;
    ino_t inode;
    int pidfd; /* -1: life is told from what it publishes */
    struct cgroup cgroup;
    struct cgroup_memory memory; /* as last looked at while it lived */
    struct kill_count kills;     /* its count of OOM kills */
    struct cgroup_memory at_end; /* as its end was seen */
    uint64_t ended_unix_ns;      /* when that was; 0 it was not seen */
    uint64_t keep_ns;            /* when to keep its next profile, or to try again */
    uint64_t verdict_ns;         /* ENDED: until when to wait for how; PROCESS_NEVER decided */
    uint64_t published_ns;       /* without pidfd: what it had published when last looked at */
    bool spread;                 /* its first profile is kept: the next comes at its own time */
    struct keep_facts verdict;   /* ENDED and decided; the keeper reads it */
};

/* The keeper's part. */
struct process_kept {
    struct keep_entry *entry; /* NULL: nothing is kept yet */
    uint64_t samples, live;   /* samples of the profile kept last */
    uint64_t mallocs, frees;  /* of the row kept last */
    bool has_profile;
};

struct process {
    struct keep_facts facts;       /* pid: as we see it, where we see it */
    struct mal_box_reader *reader; /* its box, open; NULL when DEAD */
    uint32_t host_pid;             /* in our pid namespace; 0 unknown */
    uint32_t box_pid;              /* in its own; 0 unknown */
    char root[PROCESS_ROOT_BYTES]; /* where its files are; "" here */

    enum process_state state; /* table lock */
    char *folder;             /* table lock; what is kept of it; NULL nothing; set once */
    unsigned references;      /* table lock */

    struct process_watch loop;
    struct process_kept keep;
    atomic_bool queued; /* the keeper has been asked for a profile and has not made it yet */
};

/* An object with nothing in it, one reference. NULL when there is no memory. */
struct process *process_new(void);
/* For the one who drops the last reference. */
void process_free(struct process *process);

/* Opens the box anew: a handle of one's own. 0 or -errno. */
int process_open_box(const struct process *process, struct mal_box_reader **ret_reader);

/* A copy with strings of its own. 0 or -ENOMEM. */
int process_copy_facts(const struct keep_facts *facts, struct keep_facts *ret_facts);

#endif
