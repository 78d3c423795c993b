/* SPDX-License-Identifier: Apache-2.0
 *
 * What all sources share: ids, viewers, and showing one box to a visitor.
 *
 * An id is digits, or digits, a dot and digits; nothing else is read as one, and a number that
 * does not fit is no number. A viewer sees its own user's processes, and HTTP_VIEWER_ALL sees
 * all; HTTP_VIEWER_NOBODY is no user's uid and so needs no rule of its own, except that a box
 * whose owner is not known must not be taken for its own.
 *
 * SYNCHRONIZATION  None; everything is the caller's.
 */
#include "http/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits as a number of at most `max`. The end of it, or NULL. */
static const char *parse_number(const char *text, uint64_t max, uint64_t *ret_value) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 20)
        return NULL;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0 || value > max)
        return NULL;
    *ret_value = value;
    return text + digits;
}

const char *http_key_parse(const char *text, struct http_key *ret_key) {
    uint64_t pid;
    uint64_t start_ticks = 0;
    const char *end = parse_number(text, UINT32_MAX, &pid);
    if (end == NULL || pid == 0)
        return NULL;
    if (*end == '.')
        end = parse_number(end + 1, UINT64_MAX, &start_ticks);
    if (end == NULL)
        return NULL;
    *ret_key = (struct http_key){(uint32_t)pid, start_ticks};
    return end;
}

void http_key_text(const struct http_key *key, char ret_text[HTTP_ID_BYTES]) {
    if (key->start_ticks != 0)
        snprintf(ret_text, HTTP_ID_BYTES, "%" PRIu32 ".%" PRIu64, key->pid, key->start_ticks);
    else
        snprintf(ret_text, HTTP_ID_BYTES, "%" PRIu32, key->pid);
}

bool http_key_matches(const struct http_key *key, const struct mal_identity *identity) {
    return (key->pid == 0 || key->pid == identity->pid) &&
           (key->start_ticks == 0 || key->start_ticks == identity->start_ticks);
}

bool http_viewer_sees(uint32_t viewer_uid, uint32_t uid) {
    return viewer_uid == HTTP_VIEWER_ALL || (viewer_uid == uid && viewer_uid != HTTP_VIEWER_NOBODY);
}

bool http_is_shortage(int error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

static void complete(struct http_facts *facts, const struct mal_identity *identity,
                     const struct mal_status *status) {
    if (*facts->id == '\0')
        http_key_text(&(struct http_key){identity->pid, identity->start_ticks}, facts->id);
    if (facts->host_pid == 0 && status->life == MAL_LIFE_ALIVE)
        facts->host_pid = identity->pid;
}

int http_source_visit(struct mal_box_reader *reader, struct http_facts *facts,
                      http_process_visit *visit, void *visit_context) {
    struct mal_identity identity;
    struct mal_status status;
    struct http_process process = {reader, &identity, &status, facts, false};
    int result = HTTP_UNREADABLE;
    if (mal_reader_identity(reader, &identity) < 0)
        goto out;
    if (*facts->root != '\0')
        mal_reader_set_root(reader, facts->root);
    if (mal_reader_status(reader, &status) == 0) {
        complete(facts, &identity, &status);
        result = visit(&process, visit_context);
    }
    mal_identity_free(&identity);
out:
    if (!process.taken)
        mal_reader_close(reader);
    return result;
}

static int take(struct http_process *process, void *visit_context) {
    *(struct mal_box_reader **)visit_context = process->reader;
    process->taken = true;
    return 0;
}

int http_source_take(const struct http_source *source, const struct http_ask *ask,
                     struct mal_box_reader **ret_reader) {
    return source->open(source->context, ask, take, ret_reader);
}
