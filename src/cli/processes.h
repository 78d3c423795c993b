/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding processes: by their boxes, and the dead by what a daemon kept of them.
 */
#ifndef MAL_CLI_PROCESSES_H
#define MAL_CLI_PROCESSES_H

#include "http/source.h"
#include "keep/keep.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* The keep folders of this environment: the one that the user named with --keep or
 * $MALLARD_KEEP_DIR, else those of /var/lib/mallard, $XDG_STATE_HOME/mallard and
 * ~/.local/state/mallard that exist. */
#define CLI_KEEPS_MAX 3
struct cli_keeps {
    struct keep_store *stores[CLI_KEEPS_MAX];
    size_t count;
};
/* `named` may be NULL. Complains about a folder that was named and cannot be opened. */
int cli_keeps_open(const char *named, struct cli_keeps *ret_keeps);
void cli_keeps_close(struct cli_keeps *keeps);

/* Visits what is kept of each process; returns what ended the walk, or 0. */
int cli_keeps_each(const struct cli_keeps *keeps,
                   int (*visit)(const struct keep_facts *facts, const char *folder, void *context),
                   void *context);

/* A symbol cache that also knows the names that were kept. */
int cli_keeps_symbols(const struct cli_keeps *keeps, struct view_symbols **ret_symbols);

/* Visits every process that has a box here, living or dead. Returns what ended the walk, or 0. */
int cli_each(http_process_visit *visit, void *visit_context);

/* One process, and what there is of it. */
struct cli_process {
    struct http_key key;
    struct mal_box_reader *reader; /* its box; NULL: only a folder is left */
    char folder[PATH_MAX];         /* what is kept of it; "" nothing */
};

/* Finds the process that `text` names, PID or PID.START, the living one before the dead, the
 * youngest of the dead; or the box at a path with a slash in it. Complains. */
int cli_find(const struct cli_keeps *keeps, const char *text, struct cli_process *ret_process);
/* The same, complaining also when no box of it is left. */
int cli_find_box(const struct cli_keeps *keeps, const char *text, struct cli_process *ret_process);
void cli_process_close(struct cli_process *process);

/* The same, for commands that need nothing else of what is kept; `keep` is what the user named, or
 * NULL. */
int cli_open(const char *keep, const char *text, struct cli_process *ret_process);

/* The whole id, nothing behind it. -EINVAL. */
int cli_parse_key(const char *text, struct http_key *ret_key);

/* Whether two times at which a process of one pid and one start time began can be one: start times
 * count from the boot, so another boot has them too. 0 is unknown and fits. */
bool cli_same_start(uint64_t a_unix_ns, uint64_t b_unix_ns);

/* The newest profile kept that is not younger than `unix_s`. -ENOENT when there is none;
 * `ret_oldest_s` then is the oldest one there is, 0 for none at all. */
int cli_profile_before(const char *folder, uint64_t unix_s, uint64_t *ret_unix_s,
                       uint64_t *ret_oldest_s);

#endif
