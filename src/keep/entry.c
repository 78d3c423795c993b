/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing one process's folder.
 *
 * Holds: a descriptor of the folder. The entry is listed in its store from begin to end, so that
 * trimming knows which processes are still being written.
 *
 * An entry may begin on a folder that an earlier daemon left: the process lived on, and so does its
 * folder.
 */
#include "keep/keep_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ----------------------------------------------------------------------------- begin and end */

/* The folder for this name, made where it is missing: a descriptor or -errno. */
static int make_folder(struct keep_store *store, const char *name) {
    bool made = mkdirat(store->fd, name, keep_folder_mode()) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    int fd = keep_open_folder(store->fd, name);
    if (fd >= 0 && made)
        fchmod(fd, keep_folder_mode()); /* whatever the umask */
    return fd;
}

static void entry_free(struct keep_entry *entry) {
    if (entry->fd >= 0)
        close(entry->fd);
    free(entry->path);
    free(entry);
}

static int entry_new(struct keep_store *store, const struct keep_facts *facts,
                     struct keep_entry **ret_entry) {
    struct keep_entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    entry->store = store;
    entry->fd = -1;
    entry->key = (struct keep_facts){
        .pid = facts->pid, .uid = facts->uid, .start_ticks = facts->start_ticks};
    memcpy(entry->key.boot, facts->boot, sizeof(entry->key.boot));
    keep_folder_name(facts, entry->name);
    if (asprintf(&entry->path, "%s/%s", store->path, entry->name) < 0) {
        entry->path = NULL;
        entry_free(entry);
        return -ENOMEM;
    }
    *ret_entry = entry;
    return 0;
}

static int entry_list(struct keep_entry *entry) {
    struct keep_store *store = entry->store;
    int error = 0;
    pthread_mutex_lock(&store->lock);
    for (const struct keep_entry *other = store->entries; other; other = other->next) {
        if (strcmp(other->name, entry->name) == 0)
            error = -EBUSY;
    }
    if (!error) {
        entry->next = store->entries;
        store->entries = entry;
    }
    pthread_mutex_unlock(&store->lock);
    return error;
}

static void entry_unlist(struct keep_entry *entry) {
    struct keep_store *store = entry->store;
    pthread_mutex_lock(&store->lock);
    struct keep_entry **link = &store->entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    pthread_mutex_unlock(&store->lock);
}

int keep_entry_begin(struct keep_store *store, const struct keep_facts *facts,
                     struct keep_entry **ret_entry) {
    struct keep_facts named;
    struct keep_entry *entry;
    if (!store->writable)
        return -EROFS;
    int error = entry_new(store, facts, &entry);
    if (error)
        return error;
    error = keep_folder_parse(entry->name, &named) ? entry_list(entry) : -EINVAL;
    if (error) {
        entry_free(entry);
        return error;
    }
    entry->fd = make_folder(store, entry->name);
    error = entry->fd < 0 ? entry->fd : keep_entry_set_facts(entry, facts);
    if (error) {
        keep_entry_end(entry);
        return error;
    }
    *ret_entry = entry;
    return 0;
}

void keep_entry_end(struct keep_entry *entry) {
    if (!entry)
        return;
    entry_unlist(entry);
    entry_free(entry);
}

int keep_entry_discard(struct keep_entry *entry) {
    if (!entry)
        return 0;
    int error = keep_folder_remove(entry->store->fd, entry->name);
    keep_entry_end(entry);
    return error;
}

const char *keep_entry_path(const struct keep_entry *entry) {
    return entry->path;
}

/* ------------------------------------------------------------------------------------- files */

static int put_file(struct keep_entry *entry, const char *name, const void *data, size_t bytes) {
    int fd = keep_new_open(entry->fd, name);
    if (fd < 0)
        return fd;
    int error = keep_write_all(fd, data, bytes);
    if (error) {
        keep_new_abandon(entry->fd, name, fd);
        return error;
    }
    return keep_new_commit(entry->fd, name, fd, entry->key.uid);
}

int keep_entry_set_facts(struct keep_entry *entry, const struct keep_facts *facts) {
    struct view_buffer text = {0};
    struct keep_facts named = *facts;
    named.pid = entry->key.pid;
    named.uid = entry->key.uid;
    named.start_ticks = entry->key.start_ticks;
    memcpy(named.boot, entry->key.boot, sizeof(named.boot));
    int error = keep_facts_format(&named, &text);
    if (!error)
        error = put_file(entry, KEEP_FACTS, text.data, text.bytes);
    view_buffer_free(&text);
    return error;
}

int keep_entry_add_profile(struct keep_entry *entry, uint64_t unix_ns, const void *data,
                           size_t bytes) {
    char name[KEEP_FILE_NAME_BYTES];
    if (bytes > KEEP_PROFILE_MAX_BYTES)
        return -EFBIG;
    keep_profile_name(unix_ns / 1000000000u, name);
    return put_file(entry, name, data, bytes);
}
