/* SPDX-License-Identifier: Apache-2.0
 *
 * /: the processes that this server knows, each with its links. Plain HTML, no script, so that it
 * works in any browser and under the strictest Content-Security-Policy.
 *
 * SYNCHRONIZATION  Runs on workers; reads identities only.
 */
#include "http/routes.h"

#include <inttypes.h>
#include <string.h>

static const char head[] = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
                           "<title>Mallard</title></head>\n<body>\n<h1>Mallard</h1>\n"
                           "<p><a href=\"/metrics\">metrics</a> of all processes</p>\n<ul>\n";

static const char *life_word(enum mal_life life) {
    static const char *const words[] = {
        [MAL_LIFE_ALIVE] = "running", [MAL_LIFE_EXITED] = "exited", [MAL_LIFE_GONE] = "gone"};
    return words[life];
}

static int list_process(struct http_process *process, void *visit_context) {
    static const char *const links[] = {"debug/pprof/", "debug/pprof/heap?debug=1",
                                        "debug/memstats", "debug/gctrace", "metrics"};
    struct view_buffer *out = visit_context;
    const struct mal_identity *identity = process->identity;
    view_buffer_printf(out, "<li>%" PRIu32 " %s <code>", identity->pid,
                       life_word(process->status->life));
    http_html_text(out, identity->cmdline, identity->cmdline_bytes);
    view_buffer_text(out, "</code>");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        view_buffer_printf(out, " <a href=\"/p/%s/%s\">%s</a>", process->facts->id, links[i],
                           links[i]);
    view_buffer_text(out, "</li>\n");
    return 0;
}

void http_root(struct http_request *request, struct http_reply *reply) {
    const struct http_source *source = request->context->source;
    reply->type = HTTP_TYPE_HTML;
    reply->flags |= HTTP_REPLY_PAGE;
    view_buffer_text(&reply->body, head);
    source->each(source->context, request->viewer_uid, list_process, &reply->body);
    view_buffer_text(&reply->body, "</ul>\n</body>\n</html>\n");
}
