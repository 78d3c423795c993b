/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading profiles.
 *
 * A file is what its first bytes say, not what its name says: a gzipped profile or a box. A
 * process without a box is its newest stored profile.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/load.h"

#include "cli/cli.h"
#include "cli/when.h"

#include "view/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE_BYTES 65536
#define GZIP_MAGIC "\x1f\x8b"

int load_box(struct mal_box_reader *reader, struct view_symbols *symbols,
             struct view_profile *ret_profile) {
    struct mal_snapshot *snapshot;
    int error = mal_reader_snapshot(reader, &snapshot);
    if (error < 0)
        return error;
    error = heap_profile_build(ret_profile, snapshot, symbols);
    mal_snapshot_free(snapshot);
    return error;
}

/* All bytes of a file, at most a profile's. 0 or -errno. */
static int load_bytes(int fd, struct view_buffer *out) {
    char piece[PIECE_BYTES];
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : out->failed ? -ENOMEM : 0;
        if (out->bytes + (size_t)got > VIEW_PROFILE_READ_MAX_BYTES)
            return -EFBIG;
        view_buffer_append(out, piece, (size_t)got);
    }
}

static const char *problem_of(int error) {
    if (error == -EBADMSG)
        return "it is no profile in pprof's format";
    return error == -EFBIG ? "it is larger than a profile may be" : strerror(-error);
}

/* ---- files ---- */

static int decode(const char *text, const struct view_buffer *data,
                  struct view_profile *ret_profile) {
    int error = view_profile_read(data->data, data->bytes, ret_profile);
    if (error < 0)
        cli_say("%s cannot be read: %s", text, problem_of(error));
    return error;
}

static int load_box_file(const struct cli_keeps *keeps, const char *text,
                         struct mal_box_reader *reader, struct view_profile *ret_profile) {
    struct view_symbols *symbols;
    cli_progress("reading the heap of %s ...", text);
    int error = cli_keeps_symbols(keeps, &symbols);
    if (error == 0) {
        error = load_box(reader, symbols, ret_profile);
        view_symbols_destroy(symbols);
    }
    cli_progress_end();
    if (error < 0)
        cli_say("the profile of %s cannot be made: %s", text, cli_words(error));
    return error;
}

static bool is_profile(const struct view_buffer *data) {
    return data->bytes >= 2 && memcmp(data->data, GZIP_MAGIC, 2) == 0;
}

static int load_file(const struct cli_keeps *keeps, const char *text,
                     struct view_profile *ret_profile) {
    struct mal_box_reader *reader;
    struct view_buffer data = {0};
    int error = mal_reader_open(text, &reader);
    if (error == 0) {
        error = load_box_file(keeps, text, reader, ret_profile);
        mal_reader_close(reader);
        return error;
    }
    if (error == -EPROTO) {
        cli_say("%s cannot be read: %s", text, cli_words(error));
        return error;
    }
    int fd = open(text, O_RDONLY | O_CLOEXEC);
    error = fd < 0 ? -errno : load_bytes(fd, &data);
    if (fd >= 0)
        close(fd);
    if (error == 0 && !is_profile(&data))
        error = -EBADMSG;
    if (error < 0)
        cli_say("%s cannot be read: %s", text,
                error == -EBADMSG ? "it is neither a profile nor a box" : problem_of(error));
    else
        error = decode(text, &data, ret_profile);
    view_buffer_free(&data);
    return error;
}

/* ---- the past ---- */

static void complain_when(const char *text, uint64_t oldest_s) {
    char clock[CLI_CLOCK_BYTES];
    cli_clock_text(oldest_s, time(NULL), clock);
    if (oldest_s == 0)
        cli_say("no profile of %s was kept", text);
    else
        cli_say("no profile for %s: the oldest one kept is of %s", text, clock);
}

int load_stored_bytes(const char *folder, const char *text, uint64_t unix_s,
                      struct view_buffer *out) {
    uint64_t at_s = 0;
    uint64_t oldest_s = 0;
    int error = *folder != '\0' ? cli_profile_before(folder, unix_s, &at_s, &oldest_s) : -ENOENT;
    if (error == -ENOENT) {
        complain_when(text, oldest_s);
        return error;
    }
    int fd = error == 0 ? keep_profile_open(folder, at_s) : error;
    error = fd < 0 ? fd : load_bytes(fd, out);
    if (fd >= 0)
        close(fd);
    if (error < 0)
        cli_say("%s cannot be read: %s", text, problem_of(error));
    return error;
}

int load_split(const char *text, char ret_name[LOAD_NAME_BYTES], uint64_t *ret_unix_s) {
    const char *at = strchr(text, '/') == NULL ? strchr(text, '@') : NULL;
    if (at == NULL)
        return -ENOENT;
    snprintf(ret_name, LOAD_NAME_BYTES, "%.*s", (int)(at - text), text);
    if (at - text < LOAD_NAME_BYTES && cli_when(at + 1, time(NULL), ret_unix_s) == 0)
        return 0;
    cli_say("'%s' is no time: write 14:30, -10m or seconds since 1970 behind the @", at + 1);
    return -EINVAL;
}

/* A process now: its box, or what was stored last when no box is left. */
static int load_process(const struct cli_keeps *keeps, const char *text,
                        const struct cli_process *process, uint64_t unix_s,
                        struct view_profile *ret_profile) {
    struct view_buffer data = {0};
    if (unix_s == UINT64_MAX && process->reader != NULL)
        return load_box_file(keeps, text, process->reader, ret_profile);
    int error = load_stored_bytes(process->folder, text, unix_s, &data);
    if (error == 0)
        error = decode(text, &data, ret_profile);
    view_buffer_free(&data);
    return error;
}

int load_profile(const struct cli_keeps *keeps, const char *text,
                 struct view_profile *ret_profile) {
    char name[LOAD_NAME_BYTES];
    uint64_t unix_s = UINT64_MAX;
    struct cli_process process;
    struct http_key key;
    int split = load_split(text, name, &unix_s);
    if (split == -EINVAL)
        return split;
    if (split == -ENOENT && cli_parse_key(text, &key) < 0)
        return load_file(keeps, text, ret_profile);
    int error = cli_find(keeps, split == 0 ? name : text, &process);
    if (error < 0)
        return error;
    error = load_process(keeps, text, &process, unix_s, ret_profile);
    cli_process_close(&process);
    return error;
}
