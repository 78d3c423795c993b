/* SPDX-License-Identifier: Apache-2.0
 *
 * Around a program under `mallard run`: library, environment, folder.
 *
 * Each run has a folder of its own, so that its server shows its own processes. The whole tree of
 * processes inherits MALLARD_DIR and so appears there. A folder is removed at the end unless
 * descendants still live; those keep their boxes, `mallard ps` keeps seeing them, and the next run
 * that finds the folder without living processes removes it.
 *
 * SYNCHRONIZATION  One thread: all of this happens before the server and the program start, or
 * after they ended.
 */
#include "cli/run_place.h"

#include "os/machine.h"

#include "box/place.h"
#include "box/reader.h"
#include "cli/cli.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARY "libmallard.so.0"
#define FOLDER_PREFIX "run."

void run_library_find(char ret_path[PATH_MAX]) {
    static const char *const places[] = {"/", "/../lib/", "/../lib/" MAL_MACHINE_FOLDER "/"};
    char own[PATH_MAX];
    char candidate[PATH_MAX + 64];
    ssize_t bytes = readlink("/proc/self/exe", own, sizeof own - 1);
    own[bytes > 0 ? bytes : 0] = '\0';
    char *slash = strrchr(own, '/');
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; slash != NULL && i < MAL_COUNT_OF(places); i++) {
        snprintf(candidate, sizeof candidate, "%s%s" LIBRARY, own, places[i]);
        if (access(candidate, R_OK) == 0 && realpath(candidate, ret_path) != NULL)
            return;
    }
    snprintf(ret_path, PATH_MAX, LIBRARY);
}

static int set_preload(const char *library) {
    const char *before = getenv("LD_PRELOAD");
    char *preload;
    bool others = before != NULL && *before != '\0';
    if (asprintf(&preload, "%s%s%s", library, others ? ":" : "", others ? before : "") < 0)
        return -ENOMEM;
    int failed = setenv("LD_PRELOAD", preload, 1);
    free(preload);
    return failed;
}

int run_environment_set(const char *library, const char *folder) {
    int failed = library != NULL ? set_preload(library) : 0;
    failed |= setenv("MALLARD_DIR", folder, 1);
    failed |= setenv("MALLARD_EAGER", "1", 0);
    unsetenv("MALLARD_HTTP");
    return failed != 0 ? -ENOMEM : 0;
}

void run_folder_remove(const char *path) {
    mal_box_collect_stale(path, 0);
    rmdir(path);
}

/* The pid in "run.<pid>", or 0. */
static uint32_t runner_of(const char *name) {
    uint32_t pid;
    size_t prefix = strlen(FOLDER_PREFIX);
    if (strncmp(name, FOLDER_PREFIX, prefix) != 0 || cli_parse_pid(name + prefix, &pid) < 0)
        return 0;
    return pid;
}

/* Removes the folders of runs that have ended. Those of other users cannot be, and stay. */
static void sweep(const char *parent) {
    char path[PATH_MAX];
    struct stat info;
    DIR *dir = opendir(parent);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        uint32_t runner = runner_of(entry->d_name);
        bool ended = runner == (uint32_t)getpid() || (kill((pid_t)runner, 0) < 0 && errno == ESRCH);
        if (runner == 0 || !ended)
            continue;
        int bytes = snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        if (bytes < (int)sizeof path && lstat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
            info.st_uid == geteuid())
            run_folder_remove(path);
    }
    closedir(dir);
}

int run_folder_make(char ret_path[PATH_MAX]) {
    char parent[MAL_BOX_FOLDER_BYTES];
    struct mal_box_place place;
    mal_box_place_read(&place);
    int error = mal_box_folder_make(&place, parent, sizeof parent);
    if (error < 0) {
        cli_say("there is no folder for boxes (%s); name one with --keep", strerror(-error));
        return error;
    }
    sweep(parent);
    int bytes = snprintf(ret_path, PATH_MAX, "%s/" FOLDER_PREFIX "%d", parent, (int)getpid());
    error = bytes >= (int)MAL_BOX_FOLDER_BYTES ? -ENAMETOOLONG
            : mkdir(ret_path, S_IRWXU) < 0     ? -errno
                                               : 0;
    if (error < 0)
        cli_say("cannot make the folder %s: %s", ret_path, strerror(-error));
    return error;
}

int run_folder_keep(const char *folder, char ret_path[PATH_MAX]) {
    int error = 0;
    if (mkdir(folder, S_IRWXU) < 0 && errno != EEXIST)
        error = -errno;
    else if (realpath(folder, ret_path) == NULL)
        error = -errno;
    else if (strlen(ret_path) >= MAL_BOX_FOLDER_BYTES)
        error = -ENAMETOOLONG;
    else if (access(ret_path, W_OK | X_OK) < 0)
        error = -errno;
    if (error < 0)
        cli_say("cannot keep boxes in %s: %s", folder, strerror(-error));
    return error;
}
