/* SPDX-License-Identifier: Apache-2.0
 *
 * Watching the folder of boxes, and the private folders run.PID of `mallard run` inside it, for
 * files that come and go. Knows names only; what is in a file is not its matter.
 */
#ifndef MAL_DAEMON_FOLDERS_H
#define MAL_DAEMON_FOLDERS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define FOLDER_NAME_BYTES 64

/* One folder, open: what happens to its path does not matter any more. Loop's thread only, except
 * that the reference may be dropped by any thread once the loop has let go of it. */
struct folder {
    int fd;
    int watch; /* of inotify */
    unsigned references;
    char name[FOLDER_NAME_BYTES]; /* "run.123", "" the folder of boxes itself */
};

struct folder *folder_ref(struct folder *folder);
void folder_unref(struct folder *folder); /* accepts NULL */

/* What the owner wants to hear. `name` is named like a box. */
struct folders_listener {
    void (*appeared)(void *context, struct folder *folder, const char *name);
    void (*vanished)(void *context, struct folder *folder, const char *name);
    void *context;
};

struct folders {
    char path[PATH_MAX];
    int inotify_fd; /* for poll: readable when there are events */
    int parent_watch;
    struct folder **items; /* [0] is the folder of boxes while that exists */
    size_t count, capacity;
    struct timespec scanned; /* when the last whole scan began, as files' times tell; 0 never */
    struct folders_listener listener;
};

int folders_open(struct folders *folders, const char *path,
                 const struct folders_listener *listener);
void folders_close(struct folders *folders);

/* Takes events in. Returns 1 when some were lost or the folder itself came or went, and a scan is
 * needed; else 0. */
int folders_read_events(struct folders *folders);

/* Looks at everything: calls `appeared` for files that are new since the scan before (all, when
 * there was none). Returns 0, or -errno when the folder cannot be read. */
int folders_scan(struct folders *folders);

#endif
