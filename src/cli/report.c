/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard report: one HTML file with everything that is known of one process, living or dead.
 *
 * The file is the page's own report template with four documents put in: those that the server
 * answers with under /api, made by the same providers, so that a report shows what the page would.
 * A source of one process stands where a server has all of them.
 *
 * The documents hold texts of the process (command line, names), so every '<' in them is written as
 * \u003c: nothing in them can end the script element they are in.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/processes.h"

#include "http/assets.h"
#include "http/request.h"
#include "http/routes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMPLATE "report.html"
#define PLACE "MALLARD_DATA"

struct report {
    const char *text, *path, *keep; /* as the user wrote them */
    struct cli_keeps keeps;
    struct cli_process process;
    struct http_source source;
    struct view_symbols *symbols;
};

static const struct {
    const char *name; /* in the report */
    const char *path;
} documents[] = {
    {"process", "/api/process"},
    {"history", "/api/history"},
    {"profile", "/api/profile"},
    {"trace", "/api/trace"},
};

/* ---- a source of one process ---- */

/* Whose the box is, is not asked: who could open it may see it. */
static int open_one(void *context, const struct http_ask *ask, http_process_visit *visit,
                    void *visit_context) {
    const struct report *report = context;
    struct mal_box_reader *opened = report->process.reader;
    struct mal_box_reader *reader;
    struct keep_facts kept = {.pid = 0};
    struct http_facts facts = {.folder = report->process.folder, .root = ""};
    int fd = fcntl(mal_reader_fd(opened), F_DUPFD_CLOEXEC, 0);
    int error = fd < 0 ? -errno : mal_reader_from_fd(fd, mal_reader_path(opened), &reader);
    (void)ask;
    if (error < 0)
        return error;
    if (*facts.folder != '\0' && keep_read_facts(facts.folder, &kept) == 0)
        facts.kept = &kept;
    facts.uid = mal_reader_owner(reader);
    error = http_source_visit(reader, &facts, visit, visit_context);
    keep_facts_free(&kept);
    return error == HTTP_UNREADABLE ? -EBADMSG : error;
}

static int each_one(void *context, uint32_t viewer_uid, http_process_visit *visit,
                    void *visit_context) {
    const struct http_ask ask = {.viewer_uid = viewer_uid};
    return open_one(context, &ask, visit, visit_context);
}

/* ---- documents ---- */

/* A document is good without a '<' in any form that HTML knows. */
static void put_json(const struct view_buffer *json, struct view_buffer *out) {
    const char *at = json->data;
    const char *end = at + json->bytes;
    while (json->bytes > 0 && at < end) {
        const char *sign = memchr(at, '<', (size_t)(end - at));
        const char *stop = sign != NULL ? sign : end;
        view_buffer_append(out, at, (size_t)(stop - at));
        if (sign != NULL)
            view_buffer_text(out, "\\u003c");
        at = stop + (sign != NULL);
    }
}

static int put_document(struct report *report, const char *path, struct view_buffer *out) {
    const struct http_context context = {.source = &report->source, .symbols = report->symbols};
    struct http_request request = {
        .context = &context, .method = HTTP_GET, .viewer_uid = HTTP_VIEWER_ALL};
    struct http_reply reply = {0};
    int error = http_route_find(&request, path, &reply);
    if (error == 0)
        error = http_route_parameters(&request, NULL, &reply);
    if (error == 0)
        http_route_run(&request, &reply);
    if (error == 0 && (reply.status == 0 || reply.status == 200))
        put_json(&reply.body, out);
    else
        cli_say("%s has no document %s: %.*s", report->text, path, (int)reply.body.bytes,
                reply.body.data != NULL ? reply.body.data : "");
    bool good = error == 0 && (reply.status == 0 || reply.status == 200);
    http_reply_free(&reply);
    http_request_free(&request);
    return good ? 0 : -EIO;
}

static int put_documents(struct report *report, struct view_buffer *out) {
    int error = 0;
    for (size_t i = 0; error == 0 && i < MAL_COUNT_OF(documents); i++) {
        cli_progress("reading %s: %s ...", report->text, documents[i].name);
        view_buffer_printf(out, "%s\"%s\":", i == 0 ? "{" : ",", documents[i].name);
        error = put_document(report, documents[i].path, out);
    }
    view_buffer_text(out, "}");
    cli_progress_end();
    return error;
}

/* The template with the documents where their place is. */
static int put_page(struct report *report, struct view_buffer *out) {
    struct view_buffer page = {0};
    const struct http_asset *template = http_asset_find(TEMPLATE);
    int error = template != NULL ? http_asset_inflate(template, &page) : -ENOENT;
    const char *place = error == 0 ? memmem(page.data, page.bytes, PLACE, strlen(PLACE)) : NULL;
    if (place == NULL) {
        cli_say("this mallard was built without the page that a report is made of");
        error = -ENOENT;
    } else {
        view_buffer_append(out, page.data, (size_t)(place - page.data));
        error = put_documents(report, out);
        place += strlen(PLACE);
        view_buffer_append(out, place, (size_t)(page.data + page.bytes - place));
    }
    view_buffer_free(&page);
    return error;
}

/* ---- the command ---- */

static int write_page(struct report *report) {
    struct view_buffer out = {0};
    bool to_stdout = strcmp(report->path, "-") == 0;
    int error = put_page(report, &out);
    if (error == 0 && out.failed) {
        cli_say("not enough memory for the report");
        error = -ENOMEM;
    }
    if (error == 0)
        error = cli_write(to_stdout ? NULL : report->path, out.data, out.bytes);
    view_buffer_free(&out);
    return error;
}

static int find_process(struct report *report) {
    int error = cli_keeps_open(report->keep, &report->keeps);
    if (error == 0)
        error = cli_find_box(&report->keeps, report->text, &report->process);
    if (error == 0)
        error = cli_keeps_symbols(&report->keeps, &report->symbols);
    return error;
}

static int make_report(struct report *report) {
    report->source = (struct http_source){.open = open_one, .each = each_one, .context = report};
    int error = find_process(report);
    if (error == 0)
        error = write_page(report);
    view_symbols_destroy(report->symbols);
    cli_process_close(&report->process);
    cli_keeps_close(&report->keeps);
    return error < 0 ? CLI_FAILED : CLI_OK;
}

static int run_report(const struct cli_command *command, int count, char **arguments) {
    struct report report = {.path = NULL};
    const struct cli_option known[] = {{"--output", "-o", &report.path, 0},
                                       {"--keep", NULL, &report.keep, 0}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int parsed = cli_parse_one(command, &options, count, arguments, &report.text);
    if (parsed < 0)
        return cli_parse_status(parsed);
    if (report.text == NULL)
        return cli_usage(command, "report needs a process id or the path of a box");
    if (report.path == NULL)
        return cli_usage(command, "report needs a file to write: -o report.html");
    return make_report(&report);
}

const struct cli_command cli_report = {
    .name = "report",
    .summary = "write one HTML file about one process, living or dead",
    .help =
        "usage: mallard report PID|BOX -o FILE [--keep DIR]\n\n"
        "Writes one file that shows, in any browser and without a network, where the process's\n"
        "memory was: its resident set taken apart, its history, its heap by call stack, its\n"
        "limits and how it died, and the end of its trace.\n\n"
        "  -o, --output FILE   the file; - is standard output\n"
        "  --keep DIR          look for dead processes in DIR; see 'mallard help ps'\n",
    .run = run_report,
};
