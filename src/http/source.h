/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the processes come from that a server tells about: one's own box in memory (the plug-in),
 * a folder of boxes (mallard run, the command), or all that a daemon knows, the dead included.
 * Both functions may be called by several threads at once and hand out reader handles that are
 * the caller's own.
 *
 * Every call says for whom it asks. A source tells a viewer nothing about what the viewer may not
 * see: `open` answers as if there were no such process, `each` leaves it out.
 */
#ifndef MAL_HTTP_SOURCE_H
#define MAL_HTTP_SOURCE_H

#include "box/reader.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keep_facts;

/* A process as people name it: "PID" or "PID.START", START being the start time in clock ticks.
 * A number that is 0 stands for any; without a pid the default process is meant. A pid alone
 * means the living process, else the youngest dead one. */
struct http_key {
    uint32_t pid;
    uint64_t start_ticks;
};
#define HTTP_ID_BYTES 48

/* Reads an id at the front of `text`; its end, or NULL when there is none. */
const char *http_key_parse(const char *text, struct http_key *ret_key);
void http_key_text(const struct http_key *key, char ret_text[HTTP_ID_BYTES]);
bool http_key_matches(const struct http_key *key, const struct mal_identity *identity);

/* Who looks: the uid of a user, or one of these. */
#define HTTP_VIEWER_ALL 0u            /* root, or the holder of the token: sees every process */
#define HTTP_VIEWER_NOBODY UINT32_MAX /* cannot be told who it is: sees none */

/* True when that viewer may see a process of user `uid`. */
bool http_viewer_sees(uint32_t viewer_uid, uint32_t uid);

struct http_ask {
    struct http_key key;
    uint32_t viewer_uid;
};

/* What a source knows of a process beyond its box. Texts live as long as the visit. */
struct http_facts {
    char id[HTTP_ID_BYTES];
    uint32_t host_pid;             /* its pid in our pid namespace; 0: not running, or unknown */
    uint32_t uid;                  /* whose it is: the owner of the box's file */
    const char *folder;            /* what is kept of it, "" none */
    const char *root;              /* before its paths: "" or "/proc/PID/root" */
    const struct keep_facts *kept; /* NULL: nothing known beyond the box */
};

/* A process as a visitor sees it. */
struct http_process {
    struct mal_box_reader *reader; /* the visitor may use it, the source closes it unless taken */
    const struct mal_identity *identity;
    const struct mal_status *status; /* as the source judges it */
    const struct http_facts *facts;
    bool taken; /* set by a visitor that keeps the reader and will close it */
};
/* Returns 0 to go on; any other value ends the walk. */
typedef int http_process_visit(struct http_process *process, void *visit_context);

struct http_source {
    /* Visits the process that was asked for, once, and returns what the visit returned. -ENOENT
     * when there is none, or none that the viewer may see. */
    int (*open)(void *context, const struct http_ask *ask, http_process_visit *visit,
                void *visit_context);
    /* Visits every process that has a readable box and that the viewer may see; returns what
     * ended the walk, or 0. An error that http_is_shortage: some may be missing. */
    int (*each)(void *context, uint32_t viewer_uid, http_process_visit *visit, void *visit_context);
    void *context;
};

/* True when the error says nothing of the process or its box, but that we are out of descriptors or
 * memory. Such a process is not gone, and whoever asks must not be told so. */
bool http_is_shortage(int error);

/* Opens the box of a process and nothing more; the reader is the caller's. */
int http_source_take(const struct http_source *source, const struct http_ask *ask,
                     struct mal_box_reader **ret_reader);

/* For sources: reads what a box says, and lets `visit` see it with the given facts; of those, id
 * and host_pid are filled in by what the box tells where they are empty. Closes the reader unless
 * it was taken. Returns what the visit returned, or HTTP_UNREADABLE, which no visit returns. */
#define HTTP_UNREADABLE INT_MIN
int http_source_visit(struct mal_box_reader *reader, struct http_facts *facts,
                      http_process_visit *visit, void *visit_context);

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

/* Visits the boxes there that cannot be read because another version of the library wrote them.
 * Returns what ended the walk, or 0. */
typedef int http_foreign_visit(const char *path, uint32_t version, void *visit_context);
int http_folder_foreign(const struct http_folder_source *folder, http_foreign_visit *visit,
                        void *visit_context);

#endif
