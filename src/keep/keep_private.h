/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the keep folder share. See keep.h.
 */
#ifndef MAL_KEEP_PRIVATE_H
#define MAL_KEEP_PRIVATE_H

#include "base/attr.h"
#include "keep/keep.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* No writer makes a larger file. A larger one was grown by its owner: it is not read, and is the
 * first to go. */
#define KEEP_FACTS_MAX_BYTES (1u << 20)
#define KEEP_PROFILE_MAX_BYTES (64u << 20)
#define KEEP_NAMES_MAX_BYTES (4u << 20)
#define KEEP_BOX_MAX_BYTES (2 * MAL_BOX_BYTES)
#define KEEP_HISTORY_MAX_BYTES (3 * KEEP_ROWS_MAX * sizeof(struct mal_box_history_row))

#define KEEP_FOLDER_NAME_BYTES 48 /* PID.START.BOOT: 10 + 1 + 20 + 1 + 8 and the end, rounded */
#define KEEP_FILE_NAME_BYTES 128

#define KEEP_FACTS "facts"
#define KEEP_BOX "box"
#define KEEP_HISTORY "history"
#define KEEP_NAMES "symbols"
#define KEEP_NEW ".new." /* begins the name of a file that is still being written */

struct keep_store {
    int fd;
    int lock_fd; /* held while writing; -1 otherwise */
    bool writable;
    char *path;
    pthread_mutex_t lock;       /* over what follows, and over appending to names */
    struct keep_entry *entries; /* that have begun and not ended */
};

struct keep_entry {
    struct keep_store *store;
    struct keep_entry *next;
    int fd;
    uint32_t uid;
    struct keep_facts key; /* pid, start_ticks, boot and uid; no strings */
    char name[KEEP_FOLDER_NAME_BYTES];
    char *path;
};

/* ---- names (names.c) */

void keep_folder_name(const struct keep_facts *facts, char ret_name[KEEP_FOLDER_NAME_BYTES]);
/* Fills in pid, start_ticks and boot. */
bool keep_folder_parse(const char *name, struct keep_facts *facts);
void keep_profile_name(uint64_t unix_s, char ret_name[KEEP_FILE_NAME_BYTES]);
bool keep_profile_parse(const char *name, uint64_t *ret_unix_s);
bool keep_is_new(const char *name);
/* A decimal number as printf writes it, followed by the byte `end`. Returns what follows that, NULL
 * when there is none. */
const char *keep_parse_number(const char *text, char end, uint64_t *ret_value);

/* ---- files (files.c) */

/* A folder that belongs to root or the effective user and that nobody else writes to: a descriptor
 * or -errno. */
int keep_open_folder(int at, const char *name);
/* A plain file of at most `max_bytes`, for reading: a descriptor or -errno. */
int keep_open_file(int at, const char *name, uint64_t max_bytes, struct stat *ret_status);
/* The whole file with a NUL behind it, to be freed. */
int keep_load(int at, const char *name, uint64_t max_bytes, char **ret_data,
              struct stat *ret_status);
/* Calls `visit` with the name of each entry of the folder, in no order. Stops and returns what
 * `visit` returned once that is not 0. */
int keep_names(int folder, int (*visit)(int folder, const char *name, void *context),
               void *context);

/* Removes one process's folder and all that is in it. */
int keep_folder_remove(int store, const char *name);

/* A file under its temporary name. */
int keep_new_open(int at, const char *name);
/* Brings it to the disk, gives it to its user, and puts it in the place of `name`. Closes `fd`. */
int keep_new_commit(int at, const char *name, int fd, uint32_t uid);
/* Removes it. Closes `fd`. */
void keep_new_abandon(int at, const char *name, int fd);
/* Hands a file over to its user: theirs to read. */
int keep_hand_over(int fd, uint32_t uid);
int keep_write_all(int fd, const void *data, size_t bytes);
/* The mode of folders. */
mode_t keep_folder_mode(void);

/* ---- facts (facts.c) */

int keep_facts_format(const struct keep_facts *facts, struct view_buffer *out);
/* Reads `bytes` of text, which may hold anything. Leaves pid, start_ticks, boot and uid alone. */
int keep_facts_parse(const char *text, size_t bytes, struct keep_facts *facts);
/* The facts in an open folder of this name. */
int keep_facts_of(int folder, const char *name, struct keep_facts *ret_facts);

/* ---- text (escape.c) */

/* Appends `bytes` of text, with \xHH for what would end a line or a field. */
void keep_escape(const char *text, size_t bytes, struct view_buffer *out);
/* The other way, in place. Returns the length, or -1 for what keep_escape never writes. */
long keep_unescape(char *text, size_t bytes);

/* ---- symbols (symbols.c) */

struct view_symbol_sink;
/* Reads `bytes` of kept names, which may hold anything. */
int keep_symbols_parse(char *text, size_t bytes, struct view_symbol_sink *sink);

#endif
