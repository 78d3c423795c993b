/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing what outlives processes, on threads of its own, so that neither a slow disk nor a large
 * binary's debug information holds up the loop.
 */
#ifndef MAL_DAEMON_KEEPER_H
#define MAL_DAEMON_KEEPER_H

#include "daemon/counters.h"
#include "daemon/table.h"
#include "keep/keep.h"
#include "view/view.h"

#include <stdint.h>

struct keeper;

struct keeper_options {
    struct table *table;
    struct keep_store *store;
    struct view_symbols *symbols;
    struct daemon_counters *counters;
    char boot[KEEP_BOOT_BYTES];
    uint64_t keep_bytes, keep_for_ns;
};

/* Loads the dead of earlier days into the table, then starts. */
int keeper_start(const struct keeper_options *options, struct keeper **ret_keeper);
/* Lets its threads finish what they are at, and joins. What is left undone is found again at the
 * next start. */
void keeper_stop(struct keeper *keeper);

void keeper_set_limits(struct keeper *keeper, uint64_t keep_bytes, uint64_t keep_for_ns);
uint64_t keeper_bytes(struct keeper *keeper);
uint64_t keeper_limit(struct keeper *keeper);

/* Orders; each takes a reference of its own. */
void keeper_profile(struct keeper *keeper, struct process *process);
/* The process has ended and process->loop.verdict says how. The answer comes by keeper_done. */
void keeper_bury(struct keeper *keeper, struct process *process);
/* Nothing of it is to be kept. */
void keeper_discard(struct keeper *keeper, struct process *process);
/* Closes the books on processes that are written down as living, and which nobody knows. */
void keeper_settle(struct keeper *keeper);

/* Readable (eventfd) when there are answers. */
int keeper_fd(const struct keeper *keeper);
/* The next answer: the process, with a reference for the caller, and 0 when it is kept and its
 * place in the table is another's, or -errno. NULL when there is none. */
struct process *keeper_done(struct keeper *keeper, int *ret_error);

#endif
