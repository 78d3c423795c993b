/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding processes.
 *
 * A process may be in two places: its box lies in the folder of boxes as long as nobody removed it,
 * and a keep folder holds what the daemon stored, from the time it first saw the process. Both
 * are read anew for each command; a pid names the living process, else the youngest dead one, of
 * whichever place. Two finds are one process when pid and start time agree, and started at the
 * same second: start times count from the boot, and folders outlive that.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/processes.h"

#include "cli/cli.h"
#include "cli/foreign.h"
#include "cli/when.h"

#include "box/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROFILES_MAX 4096
#define SAME_START_NS 1500000000ull

/* ---- keep folders ---- */

static int open_named(const char *path, struct cli_keeps *keeps) {
    char problem[KEEP_PROBLEM_BYTES];
    int error = keep_store_open(path, 0, &keeps->stores[0], problem);
    if (error < 0)
        cli_say("%s", problem);
    else
        keeps->count = 1;
    return error;
}

/* Two of the places may be one folder. */
static bool is_open(const struct cli_keeps *keeps, const char *path) {
    struct stat info;
    struct stat other;
    if (stat(path, &info) < 0)
        return false;
    for (size_t i = 0; i < keeps->count; i++)
        if (stat(keep_store_path(keeps->stores[i]), &other) == 0 && other.st_dev == info.st_dev &&
            other.st_ino == info.st_ino)
            return true;
    return false;
}

/* Folders that are not there, or not ours to read, are no problem: nobody asked for them. */
static void open_default(const char *parent, const char *below, struct cli_keeps *keeps) {
    char path[PATH_MAX];
    if (parent == NULL || *parent != '/')
        return;
    int bytes = snprintf(path, sizeof path, "%s%s", parent, below);
    if (bytes < (int)sizeof path && !is_open(keeps, path) &&
        keep_store_open(path, 0, &keeps->stores[keeps->count], NULL) == 0)
        keeps->count++;
}

int cli_keeps_open(const char *named, struct cli_keeps *ret_keeps) {
    const char *from_environment = getenv("MALLARD_KEEP_DIR");
    *ret_keeps = (struct cli_keeps){.count = 0};
    if (named == NULL && from_environment != NULL && *from_environment != '\0')
        named = from_environment;
    if (named != NULL)
        return open_named(named, ret_keeps);
    open_default("/var/lib/mallard", "", ret_keeps);
    open_default(getenv("XDG_STATE_HOME"), "/mallard", ret_keeps);
    open_default(getenv("HOME"), "/.local/state/mallard", ret_keeps);
    return 0;
}

void cli_keeps_close(struct cli_keeps *keeps) {
    while (keeps->count > 0)
        keep_store_close(keeps->stores[--keeps->count]);
}

int cli_keeps_each(const struct cli_keeps *keeps,
                   int (*visit)(const struct keep_facts *facts, const char *folder, void *context),
                   void *context) {
    int result = 0;
    for (size_t i = 0; result == 0 && i < keeps->count; i++)
        result = keep_each(keeps->stores[i], visit, context);
    return result;
}

int cli_keeps_symbols(const struct cli_keeps *keeps, struct view_symbols **ret_symbols) {
    int error = view_symbols_create(ret_symbols);
    if (error == 0 && keeps->count > 0)
        keep_symbols_attach(keeps->stores[0], *ret_symbols);
    return error;
}

/* ---- boxes ---- */

int cli_each(http_process_visit *visit, void *visit_context) {
    struct cli_boxes boxes;
    if (cli_boxes_find(&boxes) < 0)
        return 0;
    struct http_source source = http_folder_source(&boxes.source);
    return source.each(source.context, HTTP_VIEWER_ALL, visit, visit_context);
}

int cli_parse_key(const char *text, struct http_key *ret_key) {
    const char *end = http_key_parse(text, ret_key);
    return end != NULL && *end == '\0' ? 0 : -EINVAL;
}

/* ---- one process ---- */

struct search {
    struct http_key wanted;
    struct cli_process best;
    bool found, alive;
    uint64_t started_unix_ns;
};

static bool wanted(const struct search *search, uint32_t pid, uint64_t start_ticks) {
    return search->wanted.pid == pid && (search->wanted.start_ticks == 0 || start_ticks == 0 ||
                                         search->wanted.start_ticks == start_ticks);
}

static bool better(const struct search *search, bool alive, uint64_t started_unix_ns) {
    if (!search->found || alive != search->alive)
        return !search->found || alive;
    return started_unix_ns > search->started_unix_ns;
}

bool cli_same_start(uint64_t a_unix_ns, uint64_t b_unix_ns) {
    uint64_t apart = a_unix_ns > b_unix_ns ? a_unix_ns - b_unix_ns : b_unix_ns - a_unix_ns;
    return a_unix_ns == 0 || b_unix_ns == 0 || apart < SAME_START_NS;
}

static bool same_process(const struct search *search, const struct keep_facts *facts) {
    return search->found && search->best.key.start_ticks == facts->start_ticks &&
           cli_same_start(search->started_unix_ns, facts->started_unix_ns);
}

static int consider_box(struct http_process *process, void *visit_context) {
    struct search *search = visit_context;
    const struct mal_identity *identity = process->identity;
    bool alive = process->status->life == MAL_LIFE_ALIVE;
    if (!wanted(search, identity->pid, identity->start_ticks) ||
        !better(search, alive, identity->started_unix_ns))
        return 0;
    mal_reader_close(search->best.reader);
    search->best.reader = process->reader;
    search->best.key = (struct http_key){identity->pid, identity->start_ticks};
    search->found = true;
    search->alive = alive;
    search->started_unix_ns = identity->started_unix_ns;
    process->taken = true;
    return 0;
}

/* After the boxes: a folder is of the process found so far, or of a younger dead one. */
static int consider_folder(const struct keep_facts *facts, const char *folder, void *context) {
    struct search *search = context;
    if (!wanted(search, facts->pid, facts->start_ticks) || strlen(folder) >= PATH_MAX)
        return 0;
    if (!same_process(search, facts)) {
        if (!better(search, false, facts->started_unix_ns))
            return 0;
        mal_reader_close(search->best.reader);
        search->best.reader = NULL;
        search->best.key = (struct http_key){facts->pid, facts->start_ticks};
        search->found = true;
        search->started_unix_ns = facts->started_unix_ns;
    }
    snprintf(search->best.folder, sizeof search->best.folder, "%s", folder);
    return 0;
}

static void complain_absent(const char *text, const struct search *search) {
    uint32_t pid = search->wanted.pid;
    uint64_t start_ticks = search->wanted.start_ticks;
    bool runs = start_ticks == 0 ? kill((pid_t)pid, 0) == 0 || errno != ESRCH
                                 : mal_reader_process_is_alive(pid, start_ticks);
    struct foreign_box foreign;
    if (foreign_find(&search->wanted, &foreign))
        foreign_say(&foreign);
    else if (!runs)
        cli_say("there is no process %s, and nothing of one was kept", text);
    else
        cli_say("process %s has no box here; 'mallard check %" PRIu32 "' tells why", text, pid);
}

static int find_by_key(const struct cli_keeps *keeps, const char *text,
                       struct cli_process *ret_process) {
    struct search search = {.found = false};
    if (cli_parse_key(text, &search.wanted) < 0) {
        cli_say("'%s' is no process id, nor the path of a box", text);
        return -EINVAL;
    }
    cli_each(consider_box, &search);
    cli_keeps_each(keeps, consider_folder, &search);
    if (!search.found) {
        complain_absent(text, &search);
        return -ENOENT;
    }
    if (search.best.reader == NULL)
        keep_box_open(search.best.folder, &search.best.reader);
    *ret_process = search.best;
    return 0;
}

int cli_find(const struct cli_keeps *keeps, const char *text, struct cli_process *ret_process) {
    struct cli_process process = {.reader = NULL};
    if (strchr(text, '/') == NULL)
        return find_by_key(keeps, text, ret_process);
    int error = mal_reader_open(text, &process.reader);
    if (error < 0) {
        cli_say("%s cannot be read as a box: %s", text, cli_words(error));
        return error;
    }
    *ret_process = process;
    return 0;
}

void cli_process_close(struct cli_process *process) {
    mal_reader_close(process->reader);
    process->reader = NULL;
}

int cli_find_box(const struct cli_keeps *keeps, const char *text, struct cli_process *ret_process) {
    int error = cli_find(keeps, text, ret_process);
    if (error == 0 && ret_process->reader == NULL) {
        cli_say("of process %s only profiles are left; 'mallard heap %s' writes the last one", text,
                text);
        error = -ENOENT;
    }
    return error;
}

int cli_open(const char *keep, const char *text, struct cli_process *ret_process) {
    struct cli_keeps keeps;
    int error = cli_keeps_open(keep, &keeps);
    if (error < 0)
        return error;
    error = cli_find_box(&keeps, text, ret_process);
    cli_keeps_close(&keeps);
    return error;
}

/* ---- profiles of the past ---- */

int cli_profile_before(const char *folder, uint64_t unix_s, uint64_t *ret_unix_s,
                       uint64_t *ret_oldest_s) {
    struct keep_profile *profiles = calloc(PROFILES_MAX, sizeof *profiles);
    if (profiles == NULL)
        return -ENOMEM;
    long count = keep_profiles(folder, profiles, PROFILES_MAX);
    long at = count;
    while (at > 0 && profiles[at - 1].unix_s > unix_s)
        at--;
    *ret_oldest_s = count > 0 ? profiles[0].unix_s : 0;
    if (at > 0)
        *ret_unix_s = profiles[at - 1].unix_s;
    free(profiles);
    return at > 0 ? 0 : -ENOENT;
}
