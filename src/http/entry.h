/* SPDX-License-Identifier: Apache-2.0
 *
 * A process as lists and headings show it, put together from its box, from what the source knows
 * and from what is kept of it.
 */
#ifndef MAL_HTTP_ENTRY_H
#define MAL_HTTP_ENTRY_H

#include "http/source.h"
#include "keep/keep.h"
#include "view/json.h"

#include <stdbool.h>
#include <stdint.h>

struct http_entry {
    char id[HTTP_ID_BYTES];
    uint32_t pid, uid;
    bool alive;
    const char *life;           /* "running", "exited", "gone" */
    char *name, *cmdline, *exe; /* never NULL; for people: no NULs inside */
    char *user;                 /* the name, else the number */
    char *unit, *container, *pod;
    uint64_t started_unix_ns,
        ended_unix_ns; /* ended: 0 while alive, else at least when last seen */
    uint64_t rate_bytes;
    uint64_t rss_bytes, live_bytes, samples;
    bool has_growth;
    int64_t growth_bytes_per_hour;
    enum keep_death death; /* NONE while alive */
    int signal, exit_code;
    char *sentence; /* how it ended, "" while alive */
    uint64_t memory_max_bytes, memory_peak_bytes, memory_current_bytes,
        oom_kills; /* KEEP_UNKNOWN */
};

/* Room that filling needs, shared by the entries of one walk. */
struct http_entry_room {
    struct mal_box_stats stats; /* of the process filled in last */
    struct mal_box_history_row rows[MAL_BOX_HISTORY_ROWS];
};

/* Returns 0 or -ENOMEM. What cannot be read of a box is 0. Free after success. */
int http_entry_fill(const struct http_process *process, struct http_entry_room *room,
                    struct http_entry *ret_entry);
/* A visit that fills in the struct http_entry of its context. */
int http_entry_of(struct http_process *process, void *entry);
void http_entry_free(struct http_entry *entry);

/* The members of the entry's object. */
void http_entry_json(const struct http_entry *entry, struct view_json *json);

#endif
