/* SPDX-License-Identifier: Apache-2.0
 *
 * Who wrote a box: ids, times and the texts that the process said of itself.
 *
 * Each text is copied out of the box, checked against what the header says is in use, and ended, so
 * what callers get is theirs and stays as it is.
 *
 * SYNCHRONIZATION. The header's lengths are read before the texts they cover (mal_reader_header's
 * fence). A handle belongs to one thread at a time.
 *
 * It must never believe a length, nor give out half of an identity.
 */
#include "box/reader.h"

#include "box/reader_private.h"

#include <errno.h>
#include <stdlib.h>

#define STRING_MAX_BYTES (128u << 10)

/* A private, terminated copy of one string of the box. */
static int string_copy(const struct mal_box_reader *reader, const struct mal_box_header *header,
                       struct mal_box_string string, char **ret_text) {
    if (string.bytes > STRING_MAX_BYTES || string.bytes > header->strings_used ||
        string.offset > header->strings_used - string.bytes)
        return -EBADMSG;
    char *text = malloc((size_t)string.bytes + 1);
    if (!text)
        return -ENOMEM;
    int error = mal_reader_section(reader, MAL_BOX_STRINGS, string.offset, text, string.bytes);
    if (error) {
        free(text);
        return error;
    }
    text[string.bytes] = 0;
    *ret_text = text;
    return 0;
}

int mal_reader_identity(struct mal_box_reader *reader, struct mal_identity *ret_identity) {
    struct mal_box_header header;
    int error = mal_reader_header(reader, &header);
    if (error)
        return error;
    struct mal_identity identity = {.pid = header.pid,
                                    .parent_pid = header.parent_pid,
                                    .uid = header.uid,
                                    .flags = header.flags,
                                    .cpus = header.cpus,
                                    .start_ticks = header.start_ticks,
                                    .started_unix_ns = header.started_unix_ns,
                                    .started_mono_ns = header.started_mono_ns,
                                    .cmdline_bytes = header.cmdline.bytes};
    error = string_copy(reader, &header, header.exe, &identity.exe);
    if (!error)
        error = string_copy(reader, &header, header.cmdline, &identity.cmdline);
    if (!error)
        error = string_copy(reader, &header, header.options, &identity.options);
    if (!error)
        error = string_copy(reader, &header, header.cgroup, &identity.cgroup);
    if (error) {
        mal_identity_free(&identity);
        return error;
    }
    *ret_identity = identity;
    return 0;
}

void mal_identity_free(struct mal_identity *identity) {
    free(identity->exe);
    free(identity->cmdline);
    free(identity->options);
    free(identity->cgroup);
    identity->exe = identity->cmdline = identity->options = identity->cgroup = NULL;
}
