/* SPDX-License-Identifier: Apache-2.0
 *
 * Making room: one walk that lists everything with its weight, then removals in the order that
 * keep.h states, until what is left fits.
 *
 * Only names are trusted here: the time of a profile is the one in its name, and a process died
 * when its newest profile was made or, without one, when its folder last changed. A user who owns
 * the files could otherwise make their own outlive everybody else's.
 *
 * It must never: remove what has no name of the keep folder, nor the newest profile of an entry
 * that has begun.
 *
 * SYNCHRONIZATION: holds the lock of the store from the walk to the end, so that no entry begins on
 * a folder that is being removed.
 */
#include "base/attr.h"
#include "keep/keep_private.h"
#include "view/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_SHARE 8 /* names may take one part in so many */
#define NS_PER_S 1000000000u

struct kept_folder {
    char name[KEEP_FOLDER_NAME_BYTES];
    bool begun, removed;
    uint64_t newest_s;  /* time of its newest profile; 0 none */
    uint64_t changed_s; /* of the folder itself */
    uint64_t bytes;     /* of itself and of what is left in it */
};

enum kept_kind { KEPT_PROFILE, KEPT_NAMES, KEPT_OUTGROWN };

struct kept_file {
    enum kept_kind kind;
    bool removed;
    size_t folder;   /* index */
    uint64_t unix_s; /* of a profile: in its name; else when it last changed */
    uint64_t bytes;
    char *name; /* NULL for a profile */
};

struct walk {
    struct keep_store *store;
    struct kept_folder *folders;
    size_t folder_count, folder_capacity;
    struct kept_file *files; /* those that may be removed alone */
    size_t file_count, file_capacity;
    uint64_t bytes;
    struct keep_trimmed trimmed;
};

/* -------------------------------------------------------------------------------- the walk */

static bool has_begun(const struct keep_store *store, const char *name) {
    const struct keep_entry *entry = store->entries;
    while (entry && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry != NULL;
}

static int add_folder(struct walk *walk, const char *name, const struct stat *status) {
    struct kept_folder *folders = view_array_grow(walk->folders, walk->folder_count,
                                                  &walk->folder_capacity, sizeof(*folders));
    if (!folders)
        return -ENOMEM;
    walk->folders = folders;
    struct kept_folder *folder = &folders[walk->folder_count++];
    *folder = (struct kept_folder){.begun = has_begun(walk->store, name),
                                   .changed_s = (uint64_t)status->st_mtim.tv_sec,
                                   .bytes = (uint64_t)status->st_blocks * 512};
    memcpy(folder->name, name, strlen(name) + 1);
    walk->bytes += folder->bytes;
    return 0;
}

static int add_file(struct walk *walk, const struct kept_file *file, const char *name) {
    struct kept_file *files =
        view_array_grow(walk->files, walk->file_count, &walk->file_capacity, sizeof(*files));
    if (!files)
        return -ENOMEM;
    walk->files = files;
    files[walk->file_count] = *file;
    if (file->kind != KEPT_PROFILE) {
        char *copy = strdup(name);
        if (!copy)
            return -ENOMEM;
        files[walk->file_count].name = copy;
    }
    walk->file_count++;
    return 0;
}

/* How long a file of this name may be. */
static uint64_t most_bytes(const char *name) {
    static const struct {
        const char *name;
        uint64_t bytes;
    } bounds[] = {{KEEP_FACTS, KEEP_FACTS_MAX_BYTES},
                  {KEEP_BOX, KEEP_BOX_MAX_BYTES},
                  {KEEP_HISTORY, KEEP_HISTORY_MAX_BYTES}};
    for (size_t i = 0; i < MAL_COUNT_OF(bounds); i++) {
        if (strcmp(name, bounds[i].name) == 0)
            return bounds[i].bytes;
    }
    return KEEP_PROFILE_MAX_BYTES;
}

/* A file in the folder that was added last. */
static int visit_file(int at, const char *name, void *context) {
    struct walk *walk = context;
    struct kept_folder *folder = &walk->folders[walk->folder_count - 1];
    struct kept_file file = {.folder = walk->folder_count - 1};
    struct stat status;
    if (fstatat(at, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    file.bytes = (uint64_t)status.st_blocks * 512;
    file.unix_s = (uint64_t)status.st_mtim.tv_sec;
    folder->bytes += file.bytes;
    walk->bytes += file.bytes;
    if (strcmp(folder->name, KEEP_NAMES) == 0) {
        file.kind = KEPT_NAMES;
    } else if ((uint64_t)status.st_size > most_bytes(name)) {
        file.kind = KEPT_OUTGROWN;
    } else if (keep_profile_parse(name, &file.unix_s)) {
        file.kind = KEPT_PROFILE;
        if (file.unix_s > folder->newest_s)
            folder->newest_s = file.unix_s;
    } else {
        return 0;
    }
    return add_file(walk, &file, name);
}

static int visit_folder(int store, const char *name, void *context) {
    struct keep_facts key;
    struct stat status;
    if (!keep_folder_parse(name, &key) && strcmp(name, KEEP_NAMES) != 0)
        return 0;
    int fd = keep_open_folder(store, name);
    if (fd < 0)
        return 0;
    int error = fstat(fd, &status) == 0 ? add_folder(context, name, &status) : 0;
    if (!error)
        error = keep_names(fd, visit_file, context);
    close(fd);
    return error;
}

static void walk_free(struct walk *walk) {
    for (size_t i = 0; i < walk->file_count; i++)
        free(walk->files[i].name);
    free(walk->files);
    free(walk->folders);
}

/* ----------------------------------------------------------------------------- removing */

static void account(struct walk *walk, uint64_t bytes, uint64_t *counter) {
    walk->bytes -= bytes;
    walk->trimmed.bytes += bytes;
    ++*counter;
}

static void remove_file(struct walk *walk, struct kept_file *file) {
    struct kept_folder *folder = &walk->folders[file->folder];
    char made[KEEP_FILE_NAME_BYTES];
    const char *name = file->name;
    if (!name) {
        keep_profile_name(file->unix_s, made);
        name = made;
    }
    int fd = keep_open_folder(walk->store->fd, folder->name);
    if (fd < 0)
        return;
    if (unlinkat(fd, name, 0) == 0) {
        file->removed = true;
        folder->bytes -= file->bytes;
        account(walk, file->bytes,
                file->kind == KEPT_PROFILE ? &walk->trimmed.profiles : &walk->trimmed.others);
    }
    close(fd);
}

/* Removes files of one kind, oldest first, until the store takes at most `most` bytes. Age takes
 * those before `older_than_s` regardless. The newest profile of a process stays. */
static void remove_files(struct walk *walk, enum kept_kind kind, uint64_t most,
                         uint64_t older_than_s) {
    for (size_t i = 0; i < walk->file_count; i++) {
        struct kept_file *file = &walk->files[i];
        if (file->kind != kind || file->removed)
            continue;
        if (walk->bytes <= most && file->unix_s >= older_than_s)
            return;
        if (kind != KEPT_PROFILE || file->unix_s != walk->folders[file->folder].newest_s)
            remove_file(walk, file);
    }
}

static uint64_t died_s(const struct kept_folder *folder) {
    return folder->newest_s ? folder->newest_s : folder->changed_s;
}

static bool is_dead(const struct kept_folder *folder) {
    return !folder->begun && !folder->removed && strcmp(folder->name, KEEP_NAMES) != 0;
}

static struct kept_folder *oldest_dead(struct walk *walk) {
    struct kept_folder *oldest = NULL;
    for (size_t i = 0; i < walk->folder_count; i++) {
        struct kept_folder *folder = &walk->folders[i];
        if (is_dead(folder) && (!oldest || died_s(folder) < died_s(oldest)))
            oldest = folder;
    }
    return oldest;
}

static void remove_dead(struct walk *walk, uint64_t most) {
    struct kept_folder *folder;
    while (walk->bytes > most && (folder = oldest_dead(walk)) != NULL) {
        folder->removed = true;
        if (keep_folder_remove(walk->store->fd, folder->name) == 0)
            account(walk, folder->bytes, &walk->trimmed.folders);
    }
}

static uint64_t names_bytes(const struct walk *walk) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < walk->file_count; i++) {
        const struct kept_file *file = &walk->files[i];
        if (file->kind == KEPT_NAMES && !file->removed)
            bytes += file->bytes;
    }
    return bytes;
}

/* ------------------------------------------------------------------------------- trimming */

static int compare_files(const void *left, const void *right) {
    const struct kept_file *a = left, *b = right;
    return (a->unix_s > b->unix_s) - (a->unix_s < b->unix_s);
}

static void trim(struct walk *walk, uint64_t keep_bytes, uint64_t older_than_unix_ns) {
    uint64_t names_most = keep_bytes / NAMES_SHARE, names = names_bytes(walk);
    remove_files(walk, KEPT_PROFILE, UINT64_MAX, older_than_unix_ns / NS_PER_S);
    if (names > names_most)
        remove_files(walk, KEPT_NAMES, walk->bytes - (names - names_most), 0);
    remove_files(walk, KEPT_OUTGROWN, keep_bytes, 0);
    remove_files(walk, KEPT_PROFILE, keep_bytes, 0);
    remove_dead(walk, keep_bytes);
    remove_files(walk, KEPT_NAMES, keep_bytes, 0);
}

int keep_store_trim(struct keep_store *store, uint64_t keep_bytes, uint64_t older_than_unix_ns,
                    struct keep_trimmed *ret_trimmed) {
    struct walk walk = {.store = store};
    if (!store->writable)
        return -EROFS;
    pthread_mutex_lock(&store->lock);
    int error = keep_names(store->fd, visit_folder, &walk);
    if (walk.file_count > 1)
        qsort(walk.files, walk.file_count, sizeof(*walk.files), compare_files);
    if (!error)
        trim(&walk, keep_bytes, older_than_unix_ns);
    pthread_mutex_unlock(&store->lock);
    walk.trimmed.left_bytes = walk.bytes;
    walk_free(&walk);
    if (!error)
        *ret_trimmed = walk.trimmed;
    return error;
}
