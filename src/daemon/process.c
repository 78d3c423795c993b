/* SPDX-License-Identifier: Apache-2.0
 *
 * Making, ending and reading of one process's object. See process.h for its life.
 *
 * A living process's box is opened anew for each reader through /proc/self/fd: the file may have
 * been unlinked, and readers exclude each other at the mailbox by locks that belong to an open
 * file, so a duplicated descriptor would exclude nobody.
 *
 * SYNCHRONIZATION  See process.h. process_open_box only reads what is constant.
 */
#include "daemon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct process *process_new(void) {
    struct process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return NULL;
    process->references = 1;
    process->loop.pidfd = -1;
    process->loop.verdict_ns = PROCESS_NEVER;
    process->loop.keep_ns = PROCESS_NEVER;
    return process;
}

void process_free(struct process *process) {
    if (process->loop.pidfd >= 0)
        close(process->loop.pidfd);
    folder_unref(process->loop.folder);
    cgroup_free(&process->loop.cgroup);
    keep_entry_end(process->keep.entry);
    keep_facts_free(&process->facts);
    keep_facts_free(&process->loop.verdict);
    mal_reader_close(process->reader);
    free(process->folder);
    free(process);
}

static int open_again(int fd) {
    char path[32];
    int flags = fcntl(fd, F_GETFL);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, (flags & O_ACCMODE) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return again >= 0 ? again : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int process_open_box(const struct process *process, struct mal_box_reader **ret_reader) {
    if (process->reader == NULL)
        return process->folder != NULL ? keep_box_open(process->folder, ret_reader) : -ENOENT;
    int fd = open_again(mal_reader_fd(process->reader));
    if (fd < 0)
        return -errno;
    return mal_reader_from_fd(fd, mal_reader_path(process->reader), ret_reader);
}

/* ---- facts ---- */

static char *copy_text(const char *text, size_t bytes) {
    char *copy = malloc(bytes + 1);
    if (copy == NULL)
        return NULL;
    if (bytes > 0)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

int process_copy_facts(const struct keep_facts *facts, struct keep_facts *ret_facts) {
    struct keep_facts copy = *facts;
    const struct {
        char **to;
        const char *from;
        size_t bytes;
    } texts[] = {
        {&copy.exe, facts->exe, 0},       {&copy.cmdline, facts->cmdline, facts->cmdline_bytes},
        {&copy.unit, facts->unit, 0},     {&copy.container, facts->container, 0},
        {&copy.pod, facts->pod, 0},       {&copy.service, facts->service, 0},
        {&copy.cgroup, facts->cgroup, 0}, {&copy.sentence, facts->sentence, 0},
    };
    bool complete = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *from = texts[i].from != NULL ? texts[i].from : "";
        size_t bytes = texts[i].bytes > 0 ? texts[i].bytes : strlen(from);
        *texts[i].to = copy_text(from, bytes);
        complete = complete && *texts[i].to != NULL;
    }
    if (!complete) {
        keep_facts_free(&copy);
        return -ENOMEM;
    }
    *ret_facts = copy;
    return 0;
}
