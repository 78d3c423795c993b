/* SPDX-License-Identifier: Apache-2.0
 *
 * All processes that the daemon knows, for its own threads and for those of the servers.
 *
 * One lock, held for as long as it takes to walk over pointers and never while anything is read or
 * written. Whoever takes a process out of the table holds a reference and lets go of it with
 * table_unref.
 */
#ifndef MAL_DAEMON_TABLE_H
#define MAL_DAEMON_TABLE_H

#include "daemon/process.h"

#include <pthread.h>
#include <stddef.h>

/* What the table holds at most: others are counted and left alone. */
#define TABLE_LIVING_MAX 4096u
#define TABLE_DOUBTFUL_MAX 64u
#define TABLE_DEAD_MAX 8192u

struct table {
    pthread_mutex_t lock;
    struct process **items; /* lock, like all below */
    size_t count, capacity;
    size_t in_state[PROCESS_STATES];
};

void table_init(struct table *table);
void table_destroy(struct table *table);

/* Adds; the table takes a reference of its own. -ENOSPC when there are enough of that state,
 * -ENOMEM. */
int table_add(struct table *table, struct process *process, enum process_state state);
/* Takes out, if it is in there, and drops the table's reference. */
void table_remove(struct table *table, struct process *process);
/* Puts `after` in the place of `before`, in that state. */
void table_replace(struct table *table, struct process *before, struct process *after,
                   enum process_state state);

void table_set_state(struct table *table, struct process *process, enum process_state state);
/* Takes the text over; a folder that is known already stays. */
void table_set_folder(struct table *table, struct process *process, char *folder);

struct process *table_ref(struct table *table, struct process *process);
void table_unref(struct table *table, struct process *process);

/* A copy of the list as it is now, with a reference and the state of each. */
struct table_item {
    struct process *process;
    enum process_state state;
    const char *folder; /* "" none */
};
struct table_list {
    struct table_item *items;
    size_t count;
};
/* Those that `wanted` likes; NULL: all. */
typedef bool table_filter(const struct process *process, enum process_state state,
                          const void *context);
int table_list(struct table *table, table_filter *wanted, const void *context,
               struct table_list *ret_list);
void table_list_free(struct table *table, struct table_list *list);

void table_counts(struct table *table, size_t ret_in_state[PROCESS_STATES]);

#endif
