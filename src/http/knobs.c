/* SPDX-License-Identifier: Apache-2.0
 *
 * Knobs: POST /debug/mallard/<knob> sends one command through the mailbox of the process and
 * answers with its result as JSON. What a knob is called, its parameter, its command and the name
 * of its result are one row of a table.
 *
 * Routes have already refused requests that another site's page sent. Where the process cannot be
 * asked, the status says which of the reasons it was: 409 it is gone or does not listen, 403 this
 * user may only read its box, 504 it did not answer in time.
 *
 * SYNCHRONIZATION  Runs on workers: a command may take as long as a collection.
 */
#include "http/routes.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMAND_TIMEOUT_MS 10000

struct knob {
    const char *name;
    const char *parameter; /* NULL: takes none */
    enum mal_box_command command;
    const char *result; /* the member of the answer */
};

static const struct knob knobs[] = {
    {"rate", "bytes", MAL_BOX_CMD_SET_RATE, "previous"},
    {"gogc", "percent", MAL_BOX_CMD_SET_GOGC, "previous"},
    {"memory-limit", "bytes", MAL_BOX_CMD_SET_MEM_LIMIT, "previous"},
    {"free-os-memory", NULL, MAL_BOX_CMD_FREE_OS_MEMORY, "returned_bytes"},
    {"gc", NULL, MAL_BOX_CMD_COLLECT, "gc_cycles_total"},
};

static const struct knob *knob_find(const char *name) {
    for (size_t i = 0; i < sizeof knobs / sizeof knobs[0]; i++)
        if (strcmp(knobs[i].name, name) == 0)
            return &knobs[i];
    return NULL;
}

struct failure {
    int error;
    unsigned status;
    const char *text;
};

static void reply_failure(struct http_reply *reply, int error) {
    static const struct failure failures[] = {
        {-ESRCH, 409, "the process is gone or does not answer commands"},
        {-EROFS, 403, "this user may read the process's box but not send it commands"},
        {-ETIMEDOUT, 504, "the process did not answer in time"},
        {-EINVAL, 400, "the process refused the value"},
        {-ENOSYS, 501, "this process has no such knob"},
    };
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        if (failures[i].error == error) {
            http_reply_error(reply, failures[i].status, failures[i].text);
            return;
        }
    http_reply_error(reply, 500, "the command failed");
}

/* The number that the knob takes; on failure the reply is the error. */
static int knob_argument(const struct knob *knob, const struct http_request *request,
                         struct http_reply *reply, int64_t *ret_argument) {
    char text[96];
    *ret_argument = 0;
    if (knob->parameter == NULL ||
        http_parse_int(http_form_get(&request->form, knob->parameter), ret_argument) == 0)
        return 0;
    snprintf(text, sizeof text, "invalid value for \"%s\" - must be an integer", knob->parameter);
    http_reply_error(reply, 400, text);
    return -EINVAL;
}

/* A collection has no result of its own; the number of cycles shows that it ran. */
static int64_t knob_result(const struct knob *knob, struct mal_box_reader *reader, int64_t result) {
    struct mal_box_stats *stats = malloc(sizeof *stats);
    if (knob->command == MAL_BOX_CMD_COLLECT && stats != NULL &&
        mal_reader_stats(reader, stats) == 0)
        result = (int64_t)stats->value[MAL_STAT_NUM_GC];
    free(stats);
    return result;
}

void http_knob(struct http_request *request, struct http_reply *reply) {
    const struct knob *knob = knob_find(request->route->argument);
    int64_t argument;
    int64_t result;
    if (knob == NULL || knob_argument(knob, request, reply, &argument) < 0 ||
        http_request_open(request, reply) < 0)
        return;
    int error =
        mal_reader_command(request->reader, knob->command, argument, COMMAND_TIMEOUT_MS, &result);
    if (error < 0) {
        reply_failure(reply, error);
        return;
    }
    reply->type = HTTP_TYPE_JSON;
    view_buffer_printf(&reply->body, "{\"%s\":%" PRId64 "}\n", knob->result,
                       knob_result(knob, request->reader, result));
}
