/* SPDX-License-Identifier: Apache-2.0
 *
 * /sd: the living processes as Prometheus' http_sd wants them, for Prometheus, Parca and Alloy.
 *
 * All processes are behind one port, so what tells them apart is the query parameter proc, which
 * all three take from the label __param_proc. Labels that would replace the path are never given:
 * that would be one path for all kinds of profile.
 *
 * The target is the name by which the client asked, whatever stands between us: where it reached
 * this page it will reach the others. A client that gave no usable name gets our address.
 *
 * `instance` is NAME-PID.START@TARGET: one process has it as long as it lives, and no other has
 * it, neither after its pid is used again nor on another machine.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/routes.h"

#include "keep/keep.h"
#include "view/symbols.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct listing {
    struct view_buffer *out;
    const char *target;
    const char *scheme;
    bool begun;
};

static void put_label(struct listing *listing, const char *name, const char *value) {
    if (value == NULL || *value == '\0')
        return;
    view_buffer_printf(listing->out, ",\"%s\":\"", name);
    view_buffer_json(listing->out, value, strlen(value));
    view_buffer_text(listing->out, "\"");
}

/* The first that says something. */
static const char *first_of(const char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (texts[i] != NULL && *texts[i] != '\0')
            return texts[i];
    return "unknown";
}

static const char *program_of(const struct http_process *process) {
    const char *texts[] = {view_base_name(process->identity->exe),
                           view_base_name(process->identity->cmdline)};
    return first_of(texts, sizeof texts / sizeof texts[0]);
}

static const char *service_of(const struct http_process *process) {
    const struct keep_facts *kept = process->facts->kept;
    if (kept == NULL)
        return program_of(process);
    const char *texts[] = {kept->service, kept->container, kept->pod, kept->unit,
                           program_of(process)};
    return first_of(texts, sizeof texts / sizeof texts[0]);
}

static void put_instance(struct listing *listing, const struct http_process *process) {
    const char *program = program_of(process);
    view_buffer_text(listing->out, ",\"instance\":\"");
    view_buffer_json(listing->out, program, strlen(program));
    view_buffer_printf(listing->out, "-%s@%s\"", process->facts->id, listing->target);
}

static void put_kept(struct listing *listing, const struct keep_facts *kept) {
    if (kept == NULL)
        return;
    put_label(listing, "unit", kept->unit);
    put_label(listing, "container", kept->container);
    put_label(listing, "pod", kept->pod);
}

static int list_target(struct http_process *process, void *visit_context) {
    struct listing *listing = visit_context;
    char pid[16];
    if (process->status->life != MAL_LIFE_ALIVE)
        return 0;
    snprintf(pid, sizeof pid, "%" PRIu32, process->identity->pid);
    view_buffer_printf(listing->out,
                       "%s\n{\"targets\":[\"%s\"],\"labels\":{\"__param_proc\":\"%s\"",
                       listing->begun ? "," : "", listing->target, process->facts->id);
    listing->begun = true;
    put_label(listing, "__scheme__", strcmp(listing->scheme, "https") == 0 ? "https" : "");
    put_instance(listing, process);
    put_label(listing, "service_name", service_of(process));
    put_label(listing, "pid", pid);
    put_label(listing, "exe", process->identity->exe);
    put_kept(listing, process->facts->kept);
    view_buffer_text(listing->out, "}}");
    return 0;
}

/* What a name and a port are made of; anything else is no address. */
static bool is_address(const char *host) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789.-_:[]%";
    return host != NULL && *host != '\0' && host[strspn(host, allowed)] == '\0';
}

void http_discovery(struct http_request *request, struct http_reply *reply) {
    const struct http_context *context = request->context;
    struct listing listing = {.out = &reply->body, .scheme = context->scheme};
    listing.target = is_address(request->host) ? request->host : context->address;
    reply->type = HTTP_TYPE_JSON;
    view_buffer_text(&reply->body, "[");
    int error =
        context->source->each(context->source->context, request->viewer_uid, list_target, &listing);
    view_buffer_text(&reply->body, listing.begun ? "\n]\n" : "]\n");
    if (http_is_shortage(error))
        http_reply_error(reply, 503, "out of descriptors or memory: not every process can be read");
}
