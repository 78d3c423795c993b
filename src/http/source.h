/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the processes come from that a server tells about: one's own box in memory (the plug-in),
 * or a folder of boxes (mallard run). Both functions may be called by several threads at once and
 * hand out reader handles that are the caller's own.
 */
#ifndef MAL_HTTP_SOURCE_H
#define MAL_HTTP_SOURCE_H

#include "box/reader.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* A process as a list shows it. */
struct http_process {
    struct mal_box_reader *reader; /* the visitor may use it, the source closes it */
    const struct mal_identity *identity;
    const struct mal_status *status;
};
/* Returns 0 to go on; any other value ends the walk. */
typedef int http_process_visit(const struct http_process *process, void *visit_context);

struct http_source {
    /* The box of that process, or of the default one for pid 0. -ENOENT when there is none. */
    int (*open)(void *context, uint32_t pid, struct mal_box_reader **ret_reader);
    /* Visits every process that has a readable box; returns what ended the walk, or 0. */
    int (*each)(void *context, http_process_visit *visit, void *visit_context);
    void *context;
};

/* The one box at `base`, which must stay mapped as long as the source is used. */
struct http_memory_source {
    const void *base;
    size_t bytes;
};
struct http_source http_memory_source(struct http_memory_source *memory);

/* All boxes in a folder and in the private folders `run.*` inside it when FOLDER_NESTED. */
enum http_folder_flags { HTTP_FOLDER_NESTED = 1u << 0 };
struct http_folder_source {
    const char *folder;
    unsigned flags;            /* enum http_folder_flags */
    _Atomic uint32_t main_pid; /* the default process; 0: the oldest living, else the oldest */
};
struct http_source http_folder_source(struct http_folder_source *folder);

#endif
