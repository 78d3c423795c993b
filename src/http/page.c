/* SPDX-License-Identifier: Apache-2.0
 *
 * "/": all processes that the viewer may see, the living first. "/p/ID/" is page_process.c's.
 *
 * This is the page that works without JavaScript, and the shell in which the page with JavaScript
 * starts; the numbers are the same as those of /api/processes.
 *
 * SYNCHRONIZATION  Runs on workers; everything is the request's own.
 */
#include "http/page.h"

#include "http/entry.h"
#include "http/html.h"
#include "http/routes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct listing {
    struct http_entry_room *room;
    struct view_buffer *out;
    bool alive; /* list the living, else the dead */
    size_t count;
};

void http_page_growth(struct view_buffer *out, const struct http_entry *entry) {
    int64_t growth = entry->growth_bytes_per_hour;
    if (!entry->has_growth) {
        view_buffer_text(out, "not known yet");
        return;
    }
    view_buffer_text(out, growth < 0 ? "−" : "+");
    http_html_size(out, growth < 0 ? -(uint64_t)growth : (uint64_t)growth);
}

static void put_links(struct view_buffer *out, const char *id) {
    static const struct {
        const char *path, *text;
    } links[] = {{"debug/pprof/", "profiles"},
                 {"debug/pprof/heap?debug=1", "heap"},
                 {"debug/memstats", "memstats"},
                 {"debug/gctrace", "gctrace"},
                 {"metrics", "metrics"}};
    view_buffer_text(out, "<td>");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
        view_buffer_printf(out, "%s<a href=\"/p/%s/%s\">%s</a>", i > 0 ? " " : "", id,
                           links[i].path, links[i].text);
    view_buffer_text(out, "</td>");
}

static void put_row(struct view_buffer *out, const struct http_entry *entry) {
    view_buffer_printf(out, "<tr><th scope=\"row\"><a href=\"/p/%s/\">", entry->id);
    http_html_escaped(out, entry->name);
    view_buffer_printf(out, "</a> %" PRIu32 "</th><td>%s</td>", entry->pid, entry->life);
    http_html_size_cell(out, entry->rss_bytes);
    http_html_size_cell(out, entry->live_bytes);
    view_buffer_text(out, "<td class=\"number\">");
    http_page_growth(out, entry);
    view_buffer_text(out, "</td><td>");
    http_html_escaped(out, entry->sentence);
    view_buffer_text(out, "</td><td>");
    http_html_escaped(out, entry->user);
    view_buffer_text(out, "</td><td><code>");
    http_html_escaped(out, entry->cmdline);
    view_buffer_text(out, "</code></td>");
    put_links(out, entry->id);
    view_buffer_text(out, "</tr>\n");
}

static int list_process(struct http_process *process, void *visit_context) {
    struct listing *listing = visit_context;
    struct http_entry entry;
    if ((process->status->life == MAL_LIFE_ALIVE) != listing->alive)
        return 0;
    if (http_entry_fill(process, listing->room, &entry) < 0)
        return -ENOMEM;
    put_row(listing->out, &entry);
    listing->count++;
    http_entry_free(&entry);
    return 0;
}

static int put_processes(const struct http_request *request, struct view_buffer *out) {
    static const char *const columns[] = {
        "Process",      "State", "Resident", "Live heap", "Growth per hour",
        "How it ended", "User",  "Command",  "Numbers",   NULL};
    const struct http_source *source = request->context->source;
    struct listing listing = {.room = malloc(sizeof *listing.room), .out = out};
    int error = listing.room != NULL ? 0 : -ENOMEM;
    http_html_table(out, "Processes that run on Mallard, and those that did", columns);
    for (int pass = 0; error == 0 && pass < 2; pass++) {
        listing.alive = pass == 0;
        error = source->each(source->context, request->viewer_uid, list_process, &listing);
    }
    if (listing.count == 0)
        view_buffer_text(out, "<tr><td colspan=\"9\">no process that you may see</td></tr>\n");
    http_html_table_end(out);
    free(listing.room);
    return error == -ENOMEM ? error : 0;
}

static void page_index(struct http_request *request, struct http_reply *reply) {
    struct view_buffer *out = &reply->body;
    http_html_begin(out, &(struct http_html_page){"Mallard", ""});
    view_buffer_text(out, "<h1>Mallard</h1>\n<h2>Processes</h2>\n");
    int error = put_processes(request, out);
    view_buffer_text(out, "<p><a href=\"/metrics\">Metrics</a> of all processes for Prometheus, "
                          "the same table <a href=\"/api/processes\">as JSON</a>.</p>\n");
    http_html_end(out);
    if (error < 0)
        http_reply_error(reply, 500, "not enough memory for the answer");
}

void http_page(struct http_request *request, struct http_reply *reply) {
    reply->type = HTTP_TYPE_HTML;
    reply->flags |= HTTP_REPLY_PAGE | HTTP_REPLY_APP;
    reply->cache = "no-store";
    if (request->key.pid != 0)
        http_page_process(request, reply);
    else
        page_index(request, reply);
}
