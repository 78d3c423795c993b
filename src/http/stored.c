/* SPDX-License-Identifier: Apache-2.0
 *
 * ?at=UNIX_S: a heap profile that the daemon stored, as it lies in its folder. It is a file that
 * the process's user can write, so it is only handed on, never looked into.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/routes.h"

#include "keep/keep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (64u << 20)
#define PIECE_BYTES 65536

static int read_file(int fd, struct view_buffer *out) {
    char piece[PIECE_BYTES];
    while (out->bytes <= FILE_BYTES_MAX) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : 0;
        view_buffer_append(out, piece, (size_t)got);
    }
    return -EFBIG;
}

static int read_stored(const struct http_request *request, int64_t unix_s,
                       struct view_buffer *out) {
    const char *folder = request->facts.folder;
    int fd = *folder != '\0' ? keep_profile_open(folder, (uint64_t)unix_s) : -ENOENT;
    if (fd < 0)
        return fd;
    int error = read_file(fd, out);
    close(fd);
    return error;
}

void http_stored_heap(struct http_request *request, struct http_reply *reply) {
    int64_t unix_s;
    if (http_parse_int(http_form_get(&request->form, "at"), &unix_s) < 0 || unix_s <= 0) {
        http_reply_pprof_error(reply, 400, "invalid value for \"at\" - must be seconds since 1970");
        return;
    }
    if (http_request_open(request, reply) < 0)
        return;
    reply->type = HTTP_TYPE_BINARY;
    snprintf(reply->disposition, sizeof reply->disposition,
             "attachment; filename=\"heap.%" PRId64 ".pb.gz\"", unix_s);
    int error = read_stored(request, unix_s, &reply->body);
    if (error == -ENOENT)
        http_reply_pprof_error(reply, 404, "no profile of that time is stored");
    else if (error < 0)
        http_reply_pprof_error(reply, 500, "the stored profile cannot be read");
}
