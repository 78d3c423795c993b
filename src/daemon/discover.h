/* SPDX-License-Identifier: Apache-2.0
 *
 * From a file named like a box to a process: is it a box, whose is it, does the process run.
 */
#ifndef MAL_DAEMON_DISCOVER_H
#define MAL_DAEMON_DISCOVER_H

#include "daemon/proc.h"
#include "daemon/process.h"

#include <stdbool.h>
#include <time.h>

/* What serves many discoveries. */
struct discoverer {
    struct cgroup_mounts mounts;
    char boot[KEEP_BOOT_BYTES];
    bool sees_all;          /* of the machine's processes: none is hidden in another namespace */
    struct proc_list list;  /* for boxes from other pid namespaces, as of this batch */
    struct timespec listed; /* when it was read, by the clock of files; 0 it was not */
};
void discoverer_init(struct discoverer *discoverer);
/* Ends a batch: what was read of /proc is old by the next. */
void discoverer_end_batch(struct discoverer *discoverer);

enum discovery {
    DISCOVERED_LIVING,
    DISCOVERED_ENDED,      /* not by a clean exit */
    DISCOVERED_DOUBTFUL,   /* facts.sentence says why */
    DISCOVERED_FOREIGN,    /* a box of another version */
    DISCOVERED_UNFINISHED, /* no box, or none yet */
    DISCOVERED_NOTHING     /* gone, another's, or of a process that ended cleanly */
};

/* Opens the file and judges. A process is given for the first three only; it has one reference,
 * and its pidfd when it lives and was found. */
enum discovery discover(struct discoverer *discoverer, struct folder *folder, const char *name,
                        struct process **ret_process);

/* What is known of a box that another version wrote: by its name and how it begins. */
struct discovered_foreign {
    uint32_t pid; /* here */
    uint32_t version;
    uint64_t start_ticks;
};
/* False unless its process runs, and is one that may have made it. */
bool discover_foreign(struct discoverer *discoverer, const struct folder *folder, const char *name,
                      struct discovered_foreign *ret_foreign);

/* Whether nobody can be writing the file any more although it is no box: its name says a process
 * that is gone. */
bool discover_is_wreck(const struct discoverer *discoverer, const struct folder *folder,
                       const char *name);

/* When it published last, wall clock; PROCESS_NEVER when that cannot be read. */
uint64_t discover_published_ns(struct mal_box_reader *reader);

/* Of a process that cannot be seen: whether it lives, by its box. */
bool discover_still_lives(struct process *process);

#endif
